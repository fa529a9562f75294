"""What the catalogue shows beyond MLflow's content: owner, source table and predictions, derived from the problem."""

from pathlib import PurePosixPath
from typing import Any

from include.services.assets import PREDICTIONS
from include.services.champions import CHAMPION_ALIAS
from include.services.dag_defaults import OWNER
from include.spec import Number, Problem


def describe_completion(problem: Problem) -> dict[str, Any]:
    """Return the arguments of the task ``complete``, fit for JSON."""
    return {"alias": CHAMPION_ALIAS, "owner": OWNER, "lineage": describe_lineage(problem)}


def describe_lineage(problem: Problem) -> dict[str, Any]:
    """Return the lineage of the problem's model, as :func:`include.openmetadata.lineage.add_lineage` takes it."""
    row_id, target = {problem.id: ("string", "identifies the row")}, ("double", problem.target.label)
    columns = {
        column.name: ("double" if isinstance(column, Number) else "string", column.label)
        for column in (*problem.features, problem.target)
    }
    ends = {name: ("double", f"{name} end of the prediction interval") for name in ("lower", "upper")}
    return {
        "service": f"{problem.name}_objects",
        "model": problem.registered_model,
        "table": {
            "name": PurePosixPath(problem.table).name,
            "uri": problem.table,
            "description": f"Source table; the target is {problem.target.label}",
            "columns": (row_id if problem.row_id else {}) | columns,
        },
        "predictions": {
            "name": PREDICTIONS.name,
            "uri": PREDICTIONS.uri,
            "description": f"Predictions of {problem.target.label}, one folder for each run of the DAG predict",
            "columns": row_id | {"true": target, "predicted": target, **ends, "split": ("string", "train or holdout")},
        },
        "edges": [
            ("table", "features", "feature_eng"),
            ("features", "model", "train"),
            ("model", "predictions", "predict"),
        ],
    }
