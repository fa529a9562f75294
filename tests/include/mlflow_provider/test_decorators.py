import os
from types import SimpleNamespace

import mlflow
import pytest
from airflow.sdk.exceptions import AirflowSkipException

from include.mlflow_provider.decorators import RUN_ID, _MLflowDecoratedOperator


@pytest.fixture
def run_task(hook, name):
    """Run a function as a task; return its result, its run in MLflow and its operator."""

    def run(function, raises=None, **arguments):
        pushed = {}
        ti = SimpleNamespace(dag_id="d", run_id="r", task_id="t", try_number=1)
        ti.xcom_push = lambda key, value: pushed.update({key: value})
        operator = _MLflowDecoratedOperator(
            task_id="train", python_callable=function, op_args=(), op_kwargs={}, experiment=name, **arguments
        )
        context = {"ti": ti, "outlet_events": {}}
        if raises:
            with pytest.raises(raises):
                operator.execute(context)
            return None, hook.get_run(pushed[RUN_ID]), operator
        return operator.execute(context), hook.get_run(pushed[RUN_ID]), operator

    return run


def tags_of(run):
    return {tag["key"]: tag["value"] for tag in run["data"]["tags"]}


def test_a_function_logs_to_a_run_that_ends_with_the_task(run_task):
    def train():
        mlflow.log_metric("rmse", 1.5)
        return 7

    result, run, operator = run_task(train, tags={"rows": 104})
    assert result == 7
    assert (run["info"]["status"], run["info"]["run_name"]) == ("FINISHED", "train")
    assert [(metric["key"], metric["value"]) for metric in run["data"]["metrics"]] == [("rmse", 1.5)]
    expected = {"rows": "104", "airflow.dag_id": "d", "airflow.run_id": "r", "airflow.task_id": "t"}
    assert tags_of(run).items() >= expected.items()
    assert operator.mlflow_page.endswith(f"/experiments/{run['info']['experiment_id']}/runs/{run['info']['run_id']}")


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (AirflowSkipException, "KILLED")])
def test_a_run_says_how_its_task_ended(run_task, error, status):
    def fail():
        raise error("no")

    assert run_task(fail, raises=error)[1]["info"]["status"] == status


def test_a_run_is_shown_below_that_of_another_task(run_task):
    parent = run_task(lambda: None)[1]["info"]["run_id"]
    child = run_task(lambda: None, parent_run_id=parent)[1]
    assert tags_of(child)["mlflow.parentRunId"] == parent


def test_the_login_is_gone_after_the_task(run_task, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run_task(lambda: None)
    assert mlflow.active_run() is None
    assert "MLFLOW_TRACKING_URI" not in os.environ
