"""A tuning in MLflow: one run, and below it one run for each candidate."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import mlflow
import pandas as pd
from mlflow.tracking import MlflowClient

from include.services.tracking import connected, run_tags


def start_tuning(experiment_id: str) -> str:
    """Start the run ``Tuning`` and return its id; it is RUNNING until ``end_tuning``."""
    with connected():
        return MlflowClient().create_run(experiment_id, tags=run_tags(), run_name="Tuning").info.run_id


@contextmanager
def candidate_run(candidate: Mapping[str, Any], tuning_id: str) -> Iterator[None]:
    """Run the block inside the run of a candidate, a child of the tuning's run; an error makes it FAILED."""
    with connected():
        experiment_id = MlflowClient().get_run(tuning_id).info.experiment_id
        settings = {"experiment_id": experiment_id, "run_name": candidate["name"], "parent_run_id": tuning_id}
        with mlflow.start_run(**settings, nested=True, tags=run_tags()):
            mlflow.log_params({"estimator": candidate["estimator"], "grid": json.dumps(candidate["grid"])})
            yield


def log_candidate(summary: pd.DataFrame) -> None:
    """Log the best setting of :func:`include.model.tuning.summarize`, inside of ``candidate_run``."""
    best = summary.iloc[0]
    mlflow.log_params({"hyper_parameters": best["hyper_parameters"], "settings": len(summary)})
    mlflow.log_metrics({name: best[name] for name in summary if name.startswith("cv_")})


def log_choice(summary: pd.DataFrame, selected: Mapping[str, Any], tuning_id: str) -> None:
    """Log the scores of all settings as table ``candidates.json`` to the tuning's run, with the choice."""
    with connected():
        client = MlflowClient()
        client.log_table(tuning_id, summary, "candidates.json")
        client.set_tag(tuning_id, "candidate", selected["name"])
        client.set_tag(tuning_id, "selection", selected["reason"])
        client.set_terminated(tuning_id)


def end_tuning(tuning_id: str) -> None:
    """Set the tuning's run and its children to KILLED if a killed task left them RUNNING."""
    with connected():
        client = MlflowClient()
        tuning = client.get_run(tuning_id)
        below = client.search_runs([tuning.info.experiment_id], f"tags.`mlflow.parentRunId` = '{tuning_id}'")
        for run in [*below, tuning]:
            if run.info.status == "RUNNING":
                client.set_terminated(run.info.run_id, "KILLED")
