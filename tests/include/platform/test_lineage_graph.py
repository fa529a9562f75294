from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from include.platform.lineage import Dataset
from include.platform.lineage_graph import LineageError, build_graph, find_predictions, read_events

CSV = Dataset("file", "/possum.csv")
MODEL = Dataset("mlflow://localhost:5000", "possums/1")


def s3(name: str) -> Dataset:
    return Dataset("s3://data", name)


def event(
    job: str, inputs: list[Dataset], outputs: list[Dataset], run: str = "", state: str = "COMPLETE"
) -> dict[str, Any]:
    described = [[{"namespace": d.namespace, "name": d.name, "facets": {}} for d in side] for side in (inputs, outputs)]
    facets = {"mlflow_run": {"runId": "8e3f"}} if job == "train.train_model" else {}
    run_id = run or f"run of {job}"
    return {
        "eventType": state,
        "run": {"runId": run_id, "facets": facets},
        "job": {"name": job},
        "inputs": described[0],
        "outputs": described[1],
    }


EVENTS = [
    event("feature_eng.start", [], []),
    event("feature_eng.extract_data", [], [], state="START"),
    event("feature_eng.extract_data", [CSV], [s3("raw")]),
    event("train.train_model", [s3("raw")], [MODEL, s3("scratch")]),
    event("predict.run_prediction", [s3("raw"), MODEL], [s3("predictions/1/predicted.csv")]),
    event("monitor.measure_drift", [s3("raw")], [s3("drift")]),
]


def test_the_predictions_lead_back_to_the_table() -> None:
    graph = build_graph(EVENTS)
    found = graph.upstream(find_predictions(graph))
    assert [step.job for step in found.steps] == [
        "feature_eng.extract_data",
        "train.train_model",
        "predict.run_prediction",
    ]
    assert found.steps[0].inputs == (CSV,)
    assert found.steps[1].mlflow_run_id == "8e3f"
    assert found.steps[1].outputs == (MODEL,), "what nobody needed for the predictions is left out"


def test_a_dataset_written_again_comes_from_the_last_task_that_wrote_it() -> None:
    again = event("feature_eng.extract_data", [s3("other")], [s3("raw")], run="second")
    found = build_graph([*EVENTS, again]).upstream(MODEL)
    assert [step.run_id for step in found.steps] == ["second", "run of train.train_model"]


def test_tasks_that_failed_made_nothing() -> None:
    graph = build_graph([event("feature_eng.extract_data", [CSV], [s3("raw")], state="FAIL")])
    with pytest.raises(LineageError, match="trigger feature_eng"):
        graph.upstream(s3("raw"))


def test_without_predictions_an_error_says_what_to_do() -> None:
    with pytest.raises(LineageError, match="trigger feature_eng"):
        find_predictions(build_graph(EVENTS[:-2]))


def test_facets_of_all_events_are_put_together(tmp_path: Path) -> None:
    described = {"namespace": "s3://data", "name": "raw"}
    fields = {"schema": {"fields": [{"name": "age", "type": "float64"}]}, "dataQualityMetrics": {"rowCount": 104}}
    written, read = event("a.write", [], [s3("raw")]), event("a.check", [s3("raw")], [])
    written["outputs"] = [described | {"facets": fields}]
    read["inputs"] = [described | {"inputFacets": {"dataQualityAssertions": {"assertions": [{"success": True}]}}}]
    (file := tmp_path / "events.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in (written, read)))
    graph = build_graph(read_events(file))
    assert graph.columns(s3("raw")) == {"age": "float64"}
    assert graph.rows(s3("raw")) == 104
    assert graph.checks(s3("raw")) == [{"success": True}]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LineageError, match=r"events\.jsonl is not there: run the DAGs"):
        read_events(tmp_path / "events.jsonl")
