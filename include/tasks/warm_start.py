"""The champion as a candidate: its hyper-parameters, fitted again once there are new rows to learn from."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from include.platform import champions, storage
from include.problem import PROBLEM

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
    added = count_new_rows(table, read_training(version))
    if not added or "hyper_parameters" not in params:
        log.info("No candidate %s: version %s, %s new training rows", NAME, version["version"], added)
        return []
    log.info("Candidate %s is version %s, fitted on %s more rows", NAME, version["version"], added)
    grid = {name: [value] for name, value in json.loads(params["hyper_parameters"]).items()}
    return [{"name": NAME, "estimator": params["estimator"], "grid": grid}]


def read_training(version: dict[str, Any]) -> pd.DataFrame | None:
    """Return the training rows that a version was fitted on, or None if their table is gone."""
    from include.data.table import select_training

    uri = champions.read_tags(version).get("features_uri", "")
    return select_training(storage.read_table(uri), PROBLEM) if uri and storage.exists(uri) else None


def count_new_rows(table: pd.DataFrame, before: pd.DataFrame | None) -> int:
    """Return how many training rows a table has that were not there before.

    :param before: the earlier training rows; None if they are not known
    :return: 0 if `before` is not known, or not all of it is in `table` unchanged
    """
    from include.data.table import select_training

    if before is None:
        return 0
    columns = [*PROBLEM.inputs, PROBLEM.target.name]
    now = select_training(table, PROBLEM).set_index(PROBLEM.id)
    then = before.set_index(PROBLEM.id)
    if not set(columns) <= set(then):
        return 0
    kept = now[columns].reindex(then.index).astype(object)
    return len(now) - len(then) if kept.equals(then[columns].astype(object)) else 0
