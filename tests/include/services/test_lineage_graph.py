import json
from pathlib import Path
from typing import Any

import pytest

from include.services.lineage import Dataset
from include.services.lineage_graph import LineageError, build_graph, find_predictions, read_events

CSV = Dataset("file", "/houses.csv")
MODEL = Dataset("mlflow://localhost:5000", "houses/1")


def s3(name: str) -> Dataset:
    return Dataset("s3://data", name)


def event(
    job: str, inputs: list[Dataset], outputs: list[Dataset], run: str = "", state: str = "COMPLETE"
) -> dict[str, Any]:
    return {
        "eventType": state,
        "eventTime": "2026-11-21T12:00:00+00:00",
        "run": {
            "runId": run or f"run of {job}",
            "facets": {"mlflow_run": {"runId": "8e3f"}} if job == "train.train_model" else {},
        },
        "job": {"name": job},
        "inputs": [dataset._asdict() for dataset in inputs],
        "outputs": [dataset._asdict() for dataset in outputs],
    }


EVENTS = [
    event("feature_eng.start", [], []),
    event("feature_eng.extract_data", [], [], state="START"),
    event("feature_eng.extract_data", [CSV], [s3("raw")]),
    event("train.train_model", [s3("raw")], [MODEL, s3("scratch")]),
    event("predict.run_prediction", [s3("raw"), MODEL], [s3("predictions/1/predicted.csv")]),
    event("monitor.measure_drift", [s3("raw")], [s3("drift")]),
]


def test_predictions_lead_back_to_the_table() -> None:
    graph = build_graph(EVENTS)
    found = graph.upstream(find_predictions(graph))
    jobs = [step.job for step in found.steps]
    assert jobs == ["feature_eng.extract_data", "train.train_model", "predict.run_prediction"]
    assert found.steps[0].inputs == (CSV,)
    assert found.steps[1].mlflow_run_id == "8e3f"
    assert found.steps[1].outputs == (MODEL,), "an output that the predictions did not need is left out"


def test_a_dataset_comes_from_the_last_task_that_wrote_it_before_it_was_read() -> None:
    second = event("feature_eng.extract_data", [s3("other")], [s3("raw")], run="second")
    late = event("feature_eng.extract_data", [s3("other")], [s3("raw")], run="late")
    found = build_graph([*EVENTS[:3], second, *EVENTS[3:], late]).upstream(MODEL)
    assert [step.run_id for step in found.steps] == ["second", "run of train.train_model"]


def test_tasks_that_failed_wrote_nothing() -> None:
    graph = build_graph([event("feature_eng.extract_data", [CSV], [s3("raw")], state="FAIL")])
    with pytest.raises(LineageError, match="trigger feature_eng"):
        graph.upstream(s3("raw"))


def test_missing_predictions_are_an_error_with_the_remedy() -> None:
    with pytest.raises(LineageError, match="trigger feature_eng"):
        find_predictions(build_graph(EVENTS[:-2]))


def test_facets_of_all_events_are_combined() -> None:
    facets = {
        "schema": {"fields": [{"name": "age", "type": "float64"}]},
        "dataQualityMetrics": {"rowCount": 104},
    }
    written, read = event("a.write", [], [s3("raw")]), event("a.check", [s3("raw")], [])
    written["outputs"][0]["facets"] = facets
    read["inputs"][0]["inputFacets"] = {"dataQualityAssertions": {"assertions": [{"success": True}]}}
    graph = build_graph([written, read])
    assert graph.columns(s3("raw")) == {"age": "float64"}
    assert graph.rows(s3("raw")) == 104
    assert graph.checks(s3("raw")) == [{"success": True}]
    assert graph.describe(s3("raw")) == "104 rows · 1 columns · 1 of 1 checks"


def test_events_are_read_in_the_order_of_their_time(tmp_path: Path) -> None:
    late, early = event("a.late", [], []), event("a.early", [], []) | {"eventTime": "2026-11-21T11:59:59.5+00:00"}
    (file := tmp_path / "events.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in (late, early)))
    assert [found["job"]["name"] for found in read_events(file)] == ["a.early", "a.late"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LineageError, match=r"events\.jsonl does not exist: run the DAGs"):
        read_events(tmp_path / "events.jsonl")
