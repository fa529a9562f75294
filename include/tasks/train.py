"""From the feature table to a model in MLflow, a function for each task; what they hand each other lies in S3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from include.data.table import select_training
from include.model import candidates, tuning
from include.model import training as model
from include.platform import storage, tracking, tuning_runs
from include.platform.assets import scratch_uri
from include.platform.failures import no_other_try
from include.tasks import warm_start


def create_scratch(features_uri: str, experiment_id: str, run_id: str) -> dict[str, str]:
    """Make the run's scratch folder, with the folds in it, and start the tuning in MLflow.

    :return: ``uri`` of the folder and ``tuning_id``, the MLflow run
    """
    uri = scratch_uri(run_id)
    training = select_training(storage.read_table(features_uri))
    storage.write_table(tuning.make_folds(training), f"{uri}/folds.parquet")
    try:
        return {"uri": uri, "tuning_id": tuning_runs.start_tuning(experiment_id)}
    except Exception:
        storage.delete_folder(uri)  # the teardown does not run after a setup that failed
        raise


def list_candidates(features_uri: str, chosen: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the candidates that somebody chose, or all there are and, with new animals, the champion once more.

    :param chosen: grids by the candidates' names
    :raises AirflowFailException: there is no such candidate, or it has no such hyper-parameter
    """
    with no_other_try(candidates.UnknownCandidateError):
        listed = candidates.list_candidates(chosen)
    if chosen:
        return listed
    return listed + warm_start.champion_candidate(storage.read_table(features_uri))


def tune_candidate(candidate: Mapping[str, Any], scratch: Mapping[str, str]) -> None:
    """Score all settings of a candidate on the folds, as an MLflow run of its own, into the scratch folder.

    :raises AirflowFailException: a setting cannot be fitted
    """
    folds = storage.read_table(f"{scratch['uri']}/folds.parquet")
    with no_other_try(tuning.CandidateError), tuning_runs.candidate_run(candidate, scratch["tuning_id"]):
        scores = tuning.score_candidate(candidate, folds)
        tuning_runs.log_candidate(tuning.summarise(scores))
    storage.write_table(scores, f"{scratch['uri']}/scores/{candidate['name']}.parquet")


def select_candidate(listed: Sequence[Mapping[str, Any]] | None, scratch: Mapping[str, str] | None) -> dict[str, Any]:
    """Choose among the candidates that were scored, and log the choice to the tuning's run.

    :param listed: all candidates; nothing if the task that lists them failed
    :param scratch: as :func:`create_scratch` returns it; nothing if it failed
    :return: ``name``, ``estimator``, ``hyper_parameters`` and ``scores`` of the winner, ``reason`` of the choice
    :raises AirflowFailException: there is nothing to choose from
    """
    if not (listed and scratch):
        raise AirflowFailException("There are no candidates to choose from: a task before this one failed")
    scored = storage.list_objects(f"{scratch['uri']}/scores")
    with no_other_try(tuning.CandidateError):
        summary = tuning.summarise_all([storage.read_table(uri) for uri in scored], listed)
    selected = tuning.choose(summary)
    tuning_runs.log_choice(summary, selected, scratch["tuning_id"])
    return selected


def delete_scratch(scratch: Mapping[str, str]) -> None:
    """Delete the scratch folder, and end the runs that a killed task left open."""
    storage.delete_folder(scratch["uri"])
    tuning_runs.end_tuning(scratch["tuning_id"])


def train_model(features_uri: str, experiment_id: str, selected: Mapping[str, Any]) -> dict[str, str]:
    """Fit the chosen candidate on all training animals, and log it with its scores.

    :return: ``run_id``, ``model_uri`` and ``artifact_sha256`` of the model, and the ``features_uri``
    """
    table = storage.read_table(features_uri)
    fitted, scores = model.train_model(table, selected["hyper_parameters"], selected["estimator"])
    logged = tracking.log_training(
        fitted,
        table,
        scores | selected["scores"],
        selected=selected,
        experiment_id=experiment_id,
        source=features_uri,
    )
    return {**logged, "features_uri": features_uri}
