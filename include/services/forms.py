"""Parameters of DAGs, with the problem's limits as defaults."""

from typing import Any

from airflow.sdk import Param

from include.model import candidates
from include.problem import PROBLEM

_IN_UNIT = f", in {PROBLEM.unit}" if PROBLEM.unit else ""


def number(default: float, description: str, **limits: Any) -> Param:
    """Return a parameter for a number that is not negative, unless `limits` say otherwise."""
    return Param(default, type="number", description=description, **{"minimum": 0, **limits})


def version(description: str) -> Param:
    """Return a parameter for the number of a version, which may be left empty."""
    return Param(None, type=["null", "string"], pattern=r"^\d+$", description=description)


TRAINING = {
    "candidates": Param(
        {},
        type="object",
        additionalProperties={"type": "object"},
        description_md='Candidates with their grids, such as `{"RidgeCV": {}, "ElasticNet": {"alpha": [0.1, 1]}}`; '
        f"an empty grid is the candidate's default. If empty, all of these:\n\n{candidates.describe()}",
    )
}
CHALLENGER = {
    "version": version(
        "Version to judge, such as 3. Leave empty for the oldest one without a verdict, or else the newest one"
    )
}
GATE = {
    "margin": number(
        PROBLEM.gate.margin, "Share by which the challenger's RMSE may exceed the champion's: 0.2 is 20 %"
    ),
    "confidence": number(
        PROBLEM.gate.confidence,
        "Confidence that no worse challenger is promoted, over all evaluations on the same holdout rows",
        exclusiveMinimum=0.5,
        exclusiveMaximum=1,
    ),
    "max_rmse": number(
        PROBLEM.gate.max_rmse, f"Largest RMSE on the holdout, as upper confidence limit{_IN_UNIT}", exclusiveMinimum=0
    ),
    "subgroup_max_rmse": Param(
        dict(PROBLEM.gate.subgroup_max_rmse),
        type="object",
        propertyNames={"enum": PROBLEM.categories},
        additionalProperties={"type": "number", "exclusiveMinimum": 0},
        description=f"Largest RMSE of each group of a category{_IN_UNIT}; small groups may exceed it by chance",
    ),
}
APPROVAL = {
    "approval": Param(
        False,
        type="boolean",
        description="Require a person's approval. The Airflow variable ask_before_promotion requires it in every run",
    ),
    "approval_minutes": number(1440, "Minutes to respond; after that the challenger is rejected", exclusiveMinimum=0),
}
MONITORING = {
    "days": number(30, "Compare predictions and targets of this many days"),
    "min_samples": number(50, "Fewer new rows than this are not compared", minimum=2),
    "alpha": number(0.02, "Rate of false alarms if no input has changed", maximum=1),
    "min_psi": number(0.25, "Smallest population stability index (PSI), above that by chance, that counts as drift"),
    "degradation_margin": number(0.1, "Share by which the RMSE may grow"),
    "degradation_confidence": number(
        0.95, "Confidence that the RMSE has grown by more", exclusiveMinimum=0.5, exclusiveMaximum=1
    ),
    "cool_down_days": number(7, "Minimum days between two retraining requests"),
}
RELEASE = {
    "source": Param(
        "staging",
        type="string",
        pattern=r"^\w+$",
        description="Environment to release from: connections mlflow_<source> and aws_<source>; default is this one",
    ),
    "model_uri": Param(
        f"models:/{PROBLEM.registered_model}@champion",
        type="string",
        pattern="^models:/",
        description="Version to release, such as models:/name/3 or models:/name@alias",
    ),
    "approval": Param(True, type="boolean", description="Require a person's approval, as where it enters production"),
    "approval_minutes": APPROVAL["approval_minutes"],
}
ROLLBACK = {
    "version": version("Version number, such as 3. Leave empty to return to the previous champion"),
    "reason": Param(type="string", minLength=3, maxLength=1000, description="Stored with the version in MLflow"),
}
