"""Twenty tasks that create the same thing at the same moment."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from include.mlflow_provider.hooks.client import MLflowClientHook
from include.mlflow_provider.operators.registry import CreateRegisteredModelOperator

TASKS = 20

pytestmark = pytest.mark.parametrize("server", ["with_login", "without_login", "version_2"], indirect=True)


def at_once(call):
    """Return what twenty threads got that made the call together."""
    barrier = Barrier(TASKS)

    def make_it(_):
        barrier.wait()
        return call()

    with ThreadPoolExecutor(TASKS) as pool:
        return list(pool.map(make_it, range(TASKS)))


def test_one_experiment_is_created_and_all_get_its_id(real, name):
    ids = at_once(lambda: MLflowClientHook(mlflow_conn_id="real").create_experiment(name, exist_ok=True))
    assert ids == [real.get_experiment_by_name(name)["experiment_id"]] * TASKS
    assert [item["name"] for item in real.search_experiments()].count(name) == 1


def test_one_model_is_created_and_all_get_it(real, name):
    create = CreateRegisteredModelOperator(task_id="task", mlflow_conn_id="real", name=name, exist_ok=True)
    found = at_once(lambda: create.execute({})["registered_model"])
    assert found == [real.get_registered_model(name)] * TASKS
    assert len(list(real.search_registered_models(f'name = "{name}"'))) == 1


@pytest.mark.parametrize("write", ["alias", "tag", "version tag"])
def test_writes_that_meet_in_the_database_all_succeed(real, name, write):
    real.create_registered_model(name)
    real.create_model_version(name, "s3://nowhere/a")
    calls = {
        "alias": lambda hook: hook.set_registered_model_alias(name, "champion", 1),
        "tag": lambda hook: hook.set_registered_model_tag(name, "owner", "me"),
        "version tag": lambda hook: hook.set_model_version_tag(name, 1, "owner", "me"),
    }
    for _ in range(3):
        assert at_once(lambda: calls[write](MLflowClientHook(mlflow_conn_id="real"))) == [None] * TASKS
        real.delete_registered_model_alias(name, "champion")
        real.delete_model_version_tag(name, 1, "owner")
