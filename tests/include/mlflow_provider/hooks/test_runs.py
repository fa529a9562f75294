import math
import time


def test_a_run_starts_now_and_runs(hook, experiment_id):
    before = time.time()
    run = hook.create_run(experiment_id, tags={"data": "possum"}, run_name="ridge")
    info = run["info"]
    assert (info["status"], info["run_name"], info["experiment_id"]) == ("RUNNING", "ridge", experiment_id)
    assert before - 1 <= info["start_time"] / 1000 <= time.time() + 1
    assert {"key": "data", "value": "possum"} in run["data"]["tags"]
    assert hook.create_run(experiment_id, start_time=1000)["info"]["start_time"] == 1000


def test_a_run_ends_now_by_default(hook, run_id):
    info = hook.set_terminated(run_id)
    assert info["status"] == "FINISHED"
    assert abs(info["end_time"] / 1000 - time.time()) < 5
    assert hook.set_terminated(run_id, "KILLED", end_time=1000)["end_time"] == 1000


def test_metrics_that_json_has_no_number_for_are_kept(hook, run_id):
    logged = [math.inf, -math.inf, math.nan]
    hook.log_batch(run_id, [{"key": "loss", "value": value, "step": step} for step, value in enumerate(logged)])
    found = [item["value"] for item in hook.get_metric_history(run_id, "loss")]
    assert math.isnan(found[2])
    assert found[0] > 1e300
    assert found[1] < -1e300


def test_deleted_runs_are_found_if_asked_for(hook, name):
    experiment_id = hook.create_experiment(name)
    run_id = hook.create_run(experiment_id)["info"]["run_id"]
    hook.call("POST", "api/2.0/mlflow/runs/delete", {"run_id": run_id})
    assert list(hook.search_runs([experiment_id])) == []
    assert [run["info"]["run_id"] for run in hook.search_runs([experiment_id], run_view_type="DELETED_ONLY")] == [
        run_id
    ]
