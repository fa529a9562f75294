"""A look at the champion, a function for each task: what it met lately, how it did, and the report of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from airflow.sdk.exceptions import AirflowSkipException

from include import config
from include.data.table import select_holdout, select_training
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.monitoring import drift
from include.platform import champions, storage, tracking
from include.platform.assets import MONITORING, object_uri
from include.tasks import recent
from include.tasks.look import Look, cool_down_until


def find_champion() -> dict[str, str]:
    """Return ``version``, ``run_id`` and ``features_uri`` of the champion.

    :raises AirflowSkipException: there is none yet, or it does not say what it was trained from
    """
    version = champions.find_champion(MLflowClientHook("GET", config.MLFLOW_CONN_ID))
    if version is None:
        raise AirflowSkipException(f"{config.REGISTERED_MODEL} has no champion yet: nothing to look after")
    features_uri = champions.read_tags(version).get("features_uri")
    if not features_uri:
        raise AirflowSkipException(
            f"{config.REGISTERED_MODEL} version {version['version']} is champion but has no tag features_uri, which "
            "train sets: there is no table to compare with"
        )
    return {"version": version["version"], "run_id": version["run_id"], "features_uri": features_uri}


def measure_drift(champion: Mapping[str, str], params: Mapping[str, Any], run_id: str) -> dict[str, str]:
    """Compare the animals that were predicted lately with those that the champion was trained on.

    :return: URIs of the tables ``recent`` (raw rows) and ``drift`` (as :func:`drift.measure_drift` returns it)
    :raises AirflowSkipException: there are too few new animals
    """
    features = storage.read_table(champion["features_uri"])
    animals = recent.read_recent_inputs(features, params["days"])
    recent.check_enough(animals, params["least_animals"])
    training = select_training(features)
    drifted = drift.measure_drift(training, animals, alpha=params["alpha"], least_psi=params["least_psi"])
    return {
        "recent": storage.write_table(animals, object_uri(MONITORING, run_id, "recent.parquet")),
        "drift": storage.write_table(drifted, object_uri(MONITORING, run_id, "drift.parquet"), index=True),
    }


def measure_decay(champion: Mapping[str, str], params: Mapping[str, Any], run_id: str) -> dict[str, Any]:
    """Compare the champion's error on the animals measured lately with its error on the holdout animals.

    :return: ``errors``, the URI of the table that :func:`measure_errors` returns, and ``decay``, as
        :func:`drift.measure_decay` returns it
    :raises AirflowSkipException: there are too few new animals
    """
    features = storage.read_table(champion["features_uri"])
    labelled = recent.read_labelled(features, params["days"])
    recent.check_enough(labelled, params["least_animals"])
    errors = measure_errors(tracking.load_version(champion["version"]), features, labelled)
    sides = (errors.loc[errors["animals"] == animals, "error"] for animals in ("holdout", "recent"))
    decay = drift.measure_decay(*sides, confidence=params["decay_confidence"], margin=params["decay_margin"])
    return {
        "errors": storage.write_table(errors, object_uri(MONITORING, run_id, "errors.parquet")),
        "decay": decay,
    }


def publish_report(
    champion: Mapping[str, str],
    drifted: Mapping[str, str] | None,
    decayed: Mapping[str, Any] | None,
    params: Mapping[str, Any],
    run_id: str,
    retrainings: Sequence[Any],
) -> dict[str, Any]:
    """Log all numbers and a picture to MLflow, and save the picture.

    :param drifted: as :func:`measure_drift` returns it; nothing if it was skipped
    :param decayed: as :func:`measure_decay` returns it; nothing if it was skipped
    :param retrainings: the events of the asset ``retraining``
    :return: ``version``, ``findings`` (sentences), ``picture`` (its URI), ``cool_down_until`` (UTC, or nothing), and
        ``run_id`` and ``url`` of the MLflow run
    :raises AirflowSkipException: nothing was measured
    """
    if not (drifted or decayed):
        raise AirflowSkipException("neither drift nor decay was measured: there is nothing to report")
    look = Look.gather(champion["features_uri"], drifted, decayed)
    picture = look.draw(champion["version"], params["least_psi"])
    files = {"monitoring.png": picture, "drift.csv": look.drift.to_csv().encode()}
    return {
        "version": champion["version"],
        "findings": look.findings(),
        "picture": storage.write_bytes(picture, object_uri(MONITORING, run_id, "monitoring.png")),
        "cool_down_until": cool_down_until(retrainings, params["cool_down_days"]),
        **tracking.log_monitoring(champion["run_id"], champion["version"], look.metrics(), params, files),
    }


def measure_errors(model: Any, features: pd.DataFrame, labelled: pd.DataFrame) -> pd.DataFrame:
    """Let a model predict its holdout animals and the labelled ones.

    :return: columns ``error`` (predicted minus true length, cm) and ``animals`` ("holdout" or "recent")
    """
    sides = [select_holdout(features).assign(animals="holdout"), labelled.assign(animals="recent")]
    rows = pd.concat(sides, ignore_index=True)
    predicted = model.predict(rows[config.RAW])
    lengths = predicted["prediction"] if isinstance(predicted, pd.DataFrame) else predicted
    return pd.DataFrame({"error": np.asarray(lengths) - rows[config.TARGET], "animals": rows["animals"]})
