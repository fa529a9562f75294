from __future__ import annotations

import math
import time

import pytest

from include.mlflow_provider.exceptions import MLflowAPIError
from include.mlflow_provider.hooks.client import MLflowClientHook


@pytest.fixture
def run_id(hook, experiment_id):
    return hook.create_run(experiment_id)["info"]["run_id"]


def values(run, kind):
    return {item["key"]: item["value"] for item in run["data"][kind]}


def test_a_run_starts_now_and_runs(hook, experiment_id):
    before = time.time()
    run = hook.create_run(experiment_id, tags={"data": "possum"}, run_name="ridge")
    info = run["info"]
    assert (info["status"], info["run_name"], info["experiment_id"]) == ("RUNNING", "ridge", experiment_id)
    assert before - 1 <= info["start_time"] / 1000 <= time.time() + 1
    assert values(run, "tags")["data"] == "possum"


def test_a_run_can_have_started_at_another_time(hook, experiment_id):
    assert hook.create_run(experiment_id, start_time=1000)["info"]["start_time"] == 1000


def test_a_run_is_read(hook, run_id):
    assert hook.get_run(run_id)["info"]["run_id"] == run_id


def test_an_unknown_run_is_an_error(hook):
    with pytest.raises(MLflowAPIError, match="RESOURCE_DOES_NOT_EXIST"):
        hook.get_run("0" * 32)


def test_a_run_ends_now_by_default(hook, run_id):
    info = hook.set_terminated(run_id)
    assert info["status"] == "FINISHED"
    assert abs(info["end_time"] / 1000 - time.time()) < 5
    assert hook.set_terminated(run_id, "KILLED", end_time=1000)["end_time"] == 1000


def test_metrics_parameters_and_tags_are_logged_together(hook, run_id):
    metrics = [{"key": "rmse", "value": 1.26}, {"key": "r2", "value": 0.52, "step": 3, "timestamp": 1000}]
    hook.log_batch(run_id, metrics, {"alpha": 10}, {"checked": True})
    run = hook.get_run(run_id)
    assert values(run, "metrics") == {"rmse": 1.26, "r2": 0.52}
    assert values(run, "params") == {"alpha": "10"}
    assert values(run, "tags")["checked"] == "True"
    assert next(hook.get_metric_history(run_id, "r2")).items() >= {"step": 3, "timestamp": 1000}.items()


def test_a_parameter_with_another_value_is_refused(hook, run_id):
    hook.log_batch(run_id, params={"alpha": 10})
    with pytest.raises(MLflowAPIError, match="alpha"):
        hook.log_batch(run_id, params={"alpha": 11})


def test_the_history_of_a_metric_comes_through_all_pages(hook, run_id, monkeypatch):
    hook.log_batch(run_id, [{"key": "loss", "value": 1 / (1 + step), "step": step} for step in range(5)])
    monkeypatch.setattr(MLflowClientHook, "page_size", 2)
    history = list(hook.get_metric_history(run_id, "loss"))
    assert [(item["step"], item["value"]) for item in history] == [(step, 1 / (1 + step)) for step in range(5)]


def test_a_metric_that_was_never_logged_has_no_history(hook, run_id):
    assert list(hook.get_metric_history(run_id, "nothing")) == []


def test_metrics_that_json_has_no_number_for_are_kept(hook, run_id):
    logged = [math.inf, -math.inf, math.nan]
    hook.log_batch(run_id, [{"key": "loss", "value": value, "step": step} for step, value in enumerate(logged)])
    found = [item["value"] for item in hook.get_metric_history(run_id, "loss")]
    assert math.isnan(found[2])
    assert found[0] > 1e300
    assert found[1] < -1e300


def test_runs_are_searched_through_all_pages_in_order(hook, name, monkeypatch):
    experiment_id = hook.create_experiment(name)
    for rmse in (1.3, 1.1, 1.2, 1.5):
        run_id = hook.create_run(experiment_id)["info"]["run_id"]
        hook.log_batch(run_id, [{"key": "rmse", "value": rmse}])
    monkeypatch.setattr(MLflowClientHook, "page_size", 2)
    found = hook.search_runs([experiment_id], "metrics.rmse < 1.4", order_by=["metrics.rmse ASC"])
    assert [values(run, "metrics")["rmse"] for run in found] == [1.1, 1.2, 1.3]


def test_deleted_runs_are_found_if_asked_for(hook, name):
    experiment_id = hook.create_experiment(name)
    run_id = hook.create_run(experiment_id)["info"]["run_id"]
    hook.call("POST", "api/2.0/mlflow/runs/delete", {"run_id": run_id})
    assert list(hook.search_runs([experiment_id])) == []
    assert [run["info"]["run_id"] for run in hook.search_runs([experiment_id], run_view_type="DELETED_ONLY")] == [
        run_id
    ]


def test_a_filter_that_mlflow_cannot_read_is_an_error(hook, experiment_id):
    with pytest.raises(MLflowAPIError, match="INVALID_PARAMETER_VALUE"):
        list(hook.search_runs([experiment_id], "rmse is small"))
