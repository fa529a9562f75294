"""The champion as a candidate: its hyper-parameters, fitted again once there are new rows to learn from."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from include.problem import PROBLEM
from include.services import champions, samples
from include.spec import SPLIT

if TYPE_CHECKING:
    import numpy as np

NAME = "Champion"

log = logging.getLogger(__name__)


def champion_candidate(features_uri: str) -> list[dict[str, Any]]:
    """Return the champion's hyper-parameters as one more candidate, or an empty list.

    Empty if there is no champion, if its run does not have its hyper-parameters, or if the table differs from the one
    that it was trained from by anything else than new training rows.

    :param features_uri: of the feature table to train from
    :return: ``name``, ``estimator`` and ``grid`` (of one setting), in a list
    """
    version = champions.find_champion()
    if version is None:
        log.info("No candidate %s: there is no champion", NAME)
        return []
    params = champions.read_params(champions.connect().get_run(version["run_id"]))
    added = count_new_rows(features_uri, champions.find_features(version))
    if not added or "hyper_parameters" not in params:
        log.info("No candidate %s: version %s, %s new training rows", NAME, version["version"], added)
        return []
    log.info("Candidate %s is version %s, fitted on %s more rows", NAME, version["version"], added)
    grid = {name: [value] for name, value in json.loads(params["hyper_parameters"]).items()}
    return [{"name": NAME, "estimator": params["estimator"], "grid": grid}]


def count_new_rows(features_uri: str, before_uri: str) -> int:
    """Return how many training rows a feature table has that an earlier one did not have.

    :param before_uri: of the earlier table; empty if it is not known
    :return: 0 if the earlier table is not known or has other columns, or not all of it is in the other one unchanged
    """
    import numpy as np

    if not before_uri or not {SPLIT, *PROBLEM.columns} <= set(samples.list_columns(before_uri)):
        return 0
    now, then = _hash_training(features_uri), _hash_training(before_uri)
    return len(now) - len(then) if np.isin(then, now).all() else 0


def _hash_training(uri: str) -> np.ndarray:
    """Return a hash of 64 bits of each training row: of its id, inputs and target."""
    import numpy as np
    import pandas as pd

    numbers = dict.fromkeys([*PROBLEM.numbers, PROBLEM.target.name], float)
    texts = dict.fromkeys([PROBLEM.id, *PROBLEM.categories], object)
    batches = samples.read_training(uri, PROBLEM, [*PROBLEM.columns, SPLIT])
    rows = (batch[PROBLEM.columns].astype(texts | numbers) for batch in batches)
    return np.concatenate([pd.util.hash_pandas_object(some, index=False) for some in rows])
