"""The OpenLineage events of the pipeline's first run, and the graph that they form."""

import time
from typing import Any

import pytest
from rich.console import Console

from include.data.checks import inspect
from include.problem import PROBLEM
from include.services.champions import model_uri
from include.services.lineage import Dataset, locate, locate_model
from include.services.lineage_graph import Graph, read_events
from include.settings import XCOM_BUCKET
from local.airflow import POLL
from local.lineage import show_lineage
from local.stack import Stack
from tests.end_to_end.conftest import TARGET, Pipeline, read_raw, read_rows
from tests.published import rebuild


@pytest.fixture(scope="module")
def events(stack: Stack, first: Pipeline) -> list[dict[str, Any]]:
    """All events of the first run, including that of the task that ended last."""
    runs = {f"{dag_id}/{run_id}" for dag_id, run_id in first.runs.items()}
    deadline = time.monotonic() + 10
    while True:
        found = [event for event in read_events(stack.settings.lineage) if _run(event) in runs]
        if _ids(found, "START") == _ids(found, "COMPLETE") or time.monotonic() > deadline:
            return found
        time.sleep(POLL)


@pytest.fixture(scope="module")
def graph(stack: Stack, first: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    picture = tmp_path_factory.mktemp("lineage") / "lineage.png"
    graph = show_lineage(stack.settings.lineage, picture, Console(quiet=True), first.events["predict"]["uri"])
    assert picture.stat().st_size > 10_000
    return graph


def test_every_event_fits_the_published_classes(events: list[dict[str, Any]]) -> None:
    assert len(events) > 60
    for event in events:
        rebuilt = rebuild(event)
        assert rebuilt.job.namespace == "airflow"
    assert _ids(events, "START") == _ids(events, "COMPLETE")


def test_the_events_form_one_graph_from_table_to_predictions(graph: Graph, stack: Stack, first: Pipeline) -> None:
    trained = first.events["train"]
    table = stack.settings.project / PROBLEM.table
    server = f"http://127.0.0.1:{stack.settings.ports['MLFLOW_PORT']}"
    version = locate_model(model_uri(trained["version"]), server)
    made = {step.job: step for step in graph.steps}
    jobs = list(made)
    assert made["feature_eng.extract_data"].inputs == (Dataset("file", str(table)),)
    assert made["feature_eng.save_data_to_s3"].outputs == (locate(trained["features_uri"]),)
    assert made["train.train_model"].inputs == (locate(trained["features_uri"]),)
    assert made["train.train_model"].outputs == made["train.register_model.create_model_version"].inputs
    assert made["train.register_model.create_model_version"].outputs == (version,)
    assert version in made["predict.run_prediction"].inputs
    assert made["predict.save_predictions"].outputs == (locate(first.events["predict"]["uri"]),)
    assert (
        jobs.index("feature_eng.extract_data") < jobs.index("train.train_model") < jobs.index("predict.run_prediction")
    )


def test_the_data_has_schema_counts_and_checks(graph: Graph, first: Pipeline) -> None:
    features, predictions = locate(first.events["train"]["features_uri"]), locate(first.events["predict"]["uri"])
    raw = next(step for step in graph.steps if step.job == "feature_eng.check_data").inputs[0]
    assert graph.columns(features)[TARGET] == "float64"
    assert set(graph.columns(predictions)) == {PROBLEM.id, "true", "predicted", "lower", "upper", "split", "warnings"}
    assert graph.rows(features) == graph.rows(predictions) == len(read_rows())
    assert graph.rows(raw) == len(read_raw())
    assert len(graph.checks(raw)) == len(inspect(read_raw(), PROBLEM).results)
    assert {check["severity"] for check in graph.checks(raw) if check["success"]} == {"error", "warn"}


def test_the_mlflow_runs_are_in_the_graph(graph: Graph, first: Pipeline) -> None:
    runs = {step.job: step.mlflow_run_id for step in graph.steps}
    trained = first.events["train"]["run_id"]
    assert runs["train.train_model"] == runs["train.register_model.create_model_version"] == trained
    assert runs["feature_eng.check_data"]
    assert runs["feature_eng.build_features"]


def test_no_code_and_no_secret_is_in_the_events(stack: Stack, events: list[dict[str, Any]]) -> None:
    facets = {name for event in events for part in ("run", "job") for name in event[part]["facets"]}
    assert not facets & {"sourceCode", "environmentVariables"}
    text = stack.settings.lineage.read_text()
    assert f"{XCOM_BUCKET}/" not in text
    for name, secret in stack.settings.secrets().items():
        assert secret not in text, name


def _ids(events: list[dict[str, Any]], state: str) -> set[str]:
    return {event["run"]["runId"] for event in events if event["eventType"] == state}


def _run(event: dict[str, Any]) -> str:
    airflow = event["run"]["facets"]["airflow"]
    return f"{airflow['dag']['dag_id']}/{airflow['dagRun']['run_id']}"
