"""The champion as a candidate: its hyper-parameters, fitted again once there are more animals to learn from."""

from __future__ import annotations

import json
import logging
from typing import Any

import pandas as pd

from include import config
from include.data.table import select_training
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.platform import champions, storage

log = logging.getLogger(__name__)
NAME = "Champion"


def champion_candidate(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the champion's hyper-parameters as one candidate more, or none.

    None if there is no champion, if its run does not say how it was fitted, or if the table differs from the one
    that it was trained from in anything but new training animals.

    :param table: the feature table to train from now
    :return: ``name``, ``estimator`` and ``grid`` (of one setting), in a list of one
    """
    version = champions.find_champion(MLflowClientHook("GET", config.MLFLOW_CONN_ID))
    if version is None:
        log.info("No candidate %s: no version has the alias %s", NAME, config.CHAMPION_ALIAS)
        return []
    params = read_params(version)
    arrived = count_new_animals(table, read_training(version))
    if not arrived or "hyper_parameters" not in params:
        log.info("No candidate %s: version %s, %s new training animals", NAME, version["version"], arrived)
        return []
    log.info("%s is version %s, fitted on %s animals more", NAME, version["version"], arrived)
    grid = {name: [value] for name, value in json.loads(params["hyper_parameters"]).items()}
    return [{"name": NAME, "estimator": params["estimator"], "grid": grid}]


def read_params(version: dict[str, Any]) -> dict[str, str]:
    """Return the parameters of the run that made a version."""
    run = MLflowClientHook("GET", config.MLFLOW_CONN_ID).get_run(version["run_id"])
    return {param["key"]: param["value"] for param in run["data"].get("params", [])}


def read_training(version: dict[str, Any]) -> pd.DataFrame | None:
    """Return the training animals that a version was fitted on, or None if their table is gone."""
    uri = champions.read_tags(version).get("features_uri", "")
    return select_training(storage.read_table(uri)) if uri and storage.exists(uri) else None


def count_new_animals(table: pd.DataFrame, before: pd.DataFrame | None) -> int:
    """Return how many training animals a table has besides those that were there before, as they were then.

    :param before: the training animals of then; None if they are not known
    :return: 0 if ``before`` is not known, or not all of it is in ``table`` unchanged
    """
    columns = [config.CASE, *config.RAW, config.TARGET]
    now = select_training(table)[columns].set_index(config.CASE)
    if before is None:
        return 0
    then = before[columns].set_index(config.CASE)
    kept = now.reindex(then.index)
    return len(now) - len(then) if kept.astype(object).equals(then.astype(object)) else 0
