"""The example DAGs, run by Airflow against a real MLflow server."""

import importlib.util
import shutil
from pathlib import Path

import pytest
from airflow import settings
from airflow.utils.db import initdb

import include.mlflow_provider as provider

EXAMPLES = Path(provider.__file__).with_name("example_dags")


@pytest.fixture(scope="module")
def database():
    if settings.engine is None:
        settings.configure_orm()
    initdb()


@pytest.fixture
def run(database, services, buckets):
    """Run an example and return what each task returned."""

    def call(name, **conf):
        folder = Path(settings.DAGS_FOLDER)
        folder.mkdir(exist_ok=True)
        spec = importlib.util.spec_from_file_location(name, shutil.copy(EXAMPLES / f"{name}.py", folder))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        dag = vars(module)[name]()
        for task in dag.tasks:
            task.retries = 0  # a failed task would wait for its next try
        done = dag.test(run_conf=conf)
        instances = done.get_task_instances()
        assert {task.task_id: task.state for task in instances} == dict.fromkeys(dag.task_ids, "success")
        return {task.task_id: task.xcom_pull(task_ids=task.task_id) for task in instances}

    return call


def test_a_model_is_registered_promoted_copied_and_deleted(run, hook):
    results = run("example_mlflow_registry")
    assert results["latest"]["model_versions"][0]["version"] == "1"
    assert results["load_and_predict"] == pytest.approx([130.1])
    assert results["validate"]["metrics"] == {"rmse": 1.26}
    assert results["wait_for_champion"]["aliases"] == ["champion"]
    assert results["search"]["model_versions"][0]["tags"] == [{"key": "rows", "value": "104"}]
    assert results["copy_version"]["model_version"]["name"] == "lengths production"
    assert results["prune"] == []
    assert [hook.get_registered_model(name) for name in ("lengths", "lengths production")] == [None, None]


def test_the_hooks_log_and_read(run):
    assert "pandas==3.1.1" in run("example_mlflow_hooks")["read_requirements"]


def test_a_model_is_deployed_and_asked(run, hook, serving):
    hook.create_registered_model("lengths")
    hook.create_model_version("lengths", run("example_mlflow_hooks")["log_model"])
    hook.set_registered_model_alias("lengths", "champion", 1)
    results = run("example_mlflow_deployment", target_uri=serving)
    hook.delete_registered_model("lengths")
    assert results["list_deployments"] == ["lengths"]
    assert results["ask"]["predictions"] == pytest.approx([130.1])
