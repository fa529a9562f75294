"""The tasks of ``train``: from the feature table to a registered version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from include.problem import PROBLEM
from include.services import champions, samples, storage
from include.services.assets import FEATURES, MODEL_TRAINED, is_by_hand, pin_event, scratch_uri
from include.services.failures import fail_without_retry
from include.services.lineage import note_model
from include.settings import MLFLOW_CONN_ID

if TYPE_CHECKING:
    from include.model.interval_regressor import IntervalRegressor


def fetch_feature_df(dag_run: Any, run_id: str, inlet_events: Mapping[Any, Any]) -> str:
    """Return the URI of the newest feature table.

    :return: empty if an event started this run, and there are versions from this table, all made by other runs
    """
    uri = pin_event(FEATURES, FEATURES, run_id, inlet_events, ["uri"])["uri"]
    tags = [champions.read_tags(version) for version in champions.trained()]
    makers = {found.get(champions.DAG_RUN_ID) for found in tags if found[champions.FEATURES_URI] == uri}
    return uri if is_by_hand(dag_run) or not makers or run_id in makers else ""


def create_scratch(features_uri: str, experiment_id: str, run_id: str) -> dict[str, str]:
    """Create the run's scratch folder with the rows to choose by, and start the tuning in MLflow.

    :return: ``uri`` of the folder and ``tuning_id``, the MLflow run
    """
    from include.model import tuning
    from include.services import tuning_runs

    uri = scratch_uri(run_id)
    columns = [*PROBLEM.inputs, PROBLEM.target.name]
    rows = samples.read_sample(features_uri, PROBLEM, training=tuning.BUDGET, columns=columns)
    storage.write_table(rows, f"{uri}/rows.parquet")
    try:
        return {"uri": uri, "tuning_id": tuning_runs.start_tuning(experiment_id)}
    except Exception:
        storage.delete_folder(uri)  # the teardown does not run after a failed setup
        raise


def list_candidates(features_uri: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the form's candidates, else all that suit the number of rows and, with new rows, the champion's settings.

    :raises AirflowFailException: a candidate or hyper-parameter does not exist, or is not for so many rows
    """
    from include.model import candidates
    from include.tasks.warm_start import champion_candidate

    chosen, counts = params["candidates"], samples.count_rows(features_uri, PROBLEM)
    rows = min(counts.training, PROBLEM.limits.max_training_rows)
    with fail_without_retry(candidates.UnknownCandidateError):
        listed = candidates.list_candidates(chosen, rows)
    champion = [] if chosen else champion_candidate(features_uri)
    return listed + [candidate for candidate in champion if candidates.can_fit(candidate["estimator"], rows)]


def tune_candidate(candidate: Mapping[str, Any], scratch: Mapping[str, str]) -> None:
    """Score all settings of a candidate, in an MLflow run, and write the scores to the scratch folder.

    :raises AirflowFailException: a setting cannot be fitted
    """
    from include.model import tuning
    from include.services import tuning_runs

    rows = storage.read_table(f"{scratch['uri']}/rows.parquet")
    with fail_without_retry(tuning.CandidateError), tuning_runs.candidate_run(candidate, scratch["tuning_id"]):
        scores = tuning.score_candidate(candidate, rows, PROBLEM)
        tuning_runs.log_candidate(tuning.summarize(scores))
    storage.write_table(scores, f"{scratch['uri']}/scores/{candidate['name']}.parquet")


def select_candidate(listed: Sequence[Mapping[str, Any]] | None, ti: Any) -> dict[str, Any]:
    """Choose among the candidates that have scores, and log the choice to the tuning's run.

    :param listed: all candidates; None if listing them failed
    :return: ``name``, ``estimator``, ``hyper_parameters`` and ``scores`` of the winner, ``reason`` of the choice
    :raises AirflowFailException: there is nothing to choose from
    """
    from include.model import tuning
    from include.services import tuning_runs

    # Not an argument: Airflow does not let a task with another trigger rule follow a setup directly.
    scratch = ti.xcom_pull("tune.create_scratch")
    if not (listed and scratch):
        raise AirflowFailException("There are no candidates to choose from: a task before this one failed")
    scored = storage.list_objects(f"{scratch['uri']}/scores")
    with fail_without_retry(tuning.CandidateError):
        summary = tuning.summarize_all([storage.read_table(uri) for uri in scored], listed)
    selected = tuning.choose(summary, PROBLEM.unit)
    tuning_runs.log_choice(summary, selected, scratch["tuning_id"])
    return selected


def delete_scratch(scratch: Mapping[str, str]) -> None:
    """Delete the scratch folder, and end the runs that a killed task left open."""
    from include.services import tuning_runs

    storage.delete_folder(scratch["uri"])
    tuning_runs.end_tuning(scratch["tuning_id"])


def train_model(features_uri: str, experiment_id: str, selected: Mapping[str, Any]) -> dict[str, str]:
    """Fit the chosen candidate on the training rows, or on as many as the limit allows, and log it with its scores.

    :return: ``run_id``, ``model_uri`` and ``artifact_sha256`` of the model, and the ``features_uri``
    """
    from include.evaluation.holdout import MAX_ROWS
    from include.model import training

    most = PROBLEM.limits.max_training_rows
    rows = samples.read_sample(features_uri, PROBLEM, training=most, holdout=MAX_ROWS)
    model, scores = training.train_model(rows, PROBLEM, selected["estimator"], selected["hyper_parameters"])
    logged = _log_training(model, scores | selected["scores"], selected, experiment_id, features_uri)
    return {**logged, "features_uri": features_uri}


def check_if_model_already_registered() -> str:
    """Return the task to continue with: create the registered model only if it is missing."""
    found = champions.connect().get_registered_model(champions.MODEL)
    return f"register_model.{'model_already_registered' if found else 'create_registered_model'}"


def end(registered: Mapping[str, Any], outlet_events: Mapping[Any, Any]) -> None:
    """Announce the version: the event of ``model_trained`` has its ``version``, ``run_id`` and ``features_uri``."""
    outlet_events[MODEL_TRAINED].extra = champions.describe(registered["model_version"])


def _log_training(
    model: IntervalRegressor,
    metrics: Mapping[str, float],
    selected: Mapping[str, Any],
    experiment_id: str,
    features_uri: str,
) -> dict[str, str]:
    """Log a model as a run of the candidate's name: parameters, scores, data, code version and the model.

    The parameters ``estimator`` and ``hyper_parameters`` (JSON) are all that fitting such a model again takes.
    """
    from include.mlflow_provider.hooks.pyfunc import HASH_TAG, MLflowPyfuncHook
    from include.model.training import describe_model, sample_errors
    from include.services import tracking

    counts = samples.count_rows(features_uri, PROBLEM)
    rows = {f"{split}_rows": count for split, count in counts.splits.items()}
    if counts.training > PROBLEM.limits.max_training_rows:
        rows["fitted_rows"] = PROBLEM.limits.max_training_rows
    data = tracking.TableDataset(features_uri, PROBLEM.target.name, FEATURES.name)
    tags = {"candidate": selected["name"], "selection": selected["reason"]}
    with tracking.start_run(selected["name"], experiment_id, tags) as run:
        tracking.mlflow.log_input(data, context="training")
        tracking.mlflow.log_params(describe_model(model.model, selected))
        tracking.mlflow.log_params(rows)
        tracking.mlflow.log_text(sample_errors(model).to_csv(index=False), tracking.OUT_OF_FOLD_ERRORS)
        logged = tracking.log_model(model, data.df[PROBLEM.inputs])
        # After the model, because log_model looks up the history of each metric that is there before.
        tracking.mlflow.log_metrics(dict(metrics), model_id=logged.model_id)
    model_uri = f"models:/{logged.model_id}"
    hook = MLflowPyfuncHook(MLFLOW_CONN_ID)
    note_model(model_uri, hook.server.base_url)
    return {"run_id": run.info.run_id, "model_uri": model_uri, HASH_TAG: hook.hash_model(model_uri)}
