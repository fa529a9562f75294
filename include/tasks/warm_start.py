"""The champion as a candidate: its hyper-parameters, fitted again once there are new rows to learn from."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from include.problem import PROBLEM
from include.services import champions

if TYPE_CHECKING:
    import pandas as pd

NAME = "Champion"

log = logging.getLogger(__name__)


def champion_candidate(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the champion's hyper-parameters as one more candidate, or an empty list.

    Empty if there is no champion, if its run does not have its hyper-parameters, or if the table differs from the one
    that it was trained from by anything else than new training rows.

    :param table: the feature table to train from
    :return: ``name``, ``estimator`` and ``grid`` (of one setting), in a list
    """
    version = champions.find_champion()
    if version is None:
        log.info("No candidate %s: there is no champion", NAME)
        return []
    params = champions.read_params(champions.connect().get_run(version["run_id"]))
    added = count_new_rows(table, champions.read_features(version))
    if not added or "hyper_parameters" not in params:
        log.info("No candidate %s: version %s, %s new training rows", NAME, version["version"], added)
        return []
    log.info("Candidate %s is version %s, fitted on %s more rows", NAME, version["version"], added)
    grid = {name: [value] for name, value in json.loads(params["hyper_parameters"]).items()}
    return [{"name": NAME, "estimator": params["estimator"], "grid": grid}]


def count_new_rows(table: pd.DataFrame, before: pd.DataFrame | None) -> int:
    """Return how many training rows a feature table has that an earlier one did not have.

    :param before: the earlier table; None if it is not known
    :return: 0 if `before` is not known or has other columns, or not all of it is in `table` unchanged
    """
    from include.data.split import select_training
    from include.spec import SPLIT

    columns = [*PROBLEM.inputs, PROBLEM.target.name]
    if before is None or not {PROBLEM.id, SPLIT, *columns} <= set(before):
        return 0
    now, then = (select_training(rows, PROBLEM).set_index(PROBLEM.id)[columns] for rows in (table, before))
    kept = now.reindex(then.index).astype(object)
    return len(now) - len(then) if kept.equals(then.astype(object)) else 0
