"""What the catalogue says about the possum model beyond MLflow: owner, and the table and predictions around it."""

from __future__ import annotations

from typing import Any

from include import config
from include.platform.assets import PREDICTIONS

# Types are MLflow's.
_NUMBERS = dict.fromkeys((config.CASE, "site"), "long")  # a site is a number, although its order says nothing
_COLUMNS = dict.fromkeys(config.CATEGORICAL, "string") | dict.fromkeys(config.NUMERIC, "double") | _NUMBERS
_PREDICTED = {config.CASE: "long"} | dict.fromkeys(("true", "predicted", "lower", "upper"), "double")

LINEAGE: dict[str, Any] = {
    "service": "possums_objects",
    "model": config.REGISTERED_MODEL,
    "table": {
        "name": config.POSSUM_CSV.name,
        "uri": f"include/{config.POSSUM_CSV.name}",
        "description": "104 mountain brushtail possums; lengths in mm, except total length, tail, chest and belly (cm)",
        "columns": {**_COLUMNS, config.TARGET: "double"},
    },
    "predictions": {
        "name": PREDICTIONS.name,
        "uri": PREDICTIONS.uri,
        "description": "Predicted and true tail lengths (cm), a folder for each run of the DAG predict",
        "columns": {**_PREDICTED, config.SPLIT: "string"},
    },
    "features_by": "feature_eng",
    "trained_by": "train",
    "predicted_by": "predict",
}

COMPLETION: dict[str, Any] = {
    "alias": config.CHAMPION_ALIAS,
    "owner": config.DAG_DEFAULTS["default_args"]["owner"],
    "lineage": LINEAGE,
}
