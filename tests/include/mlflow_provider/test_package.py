"""The provider as a package of its own, in an environment that has nothing else of the project."""

import json

import pytest

import include.mlflow_provider as provider

from .wheels import build, install, run


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def airflow_home(tmp_path_factory):
    return tmp_path_factory.mktemp("clean")


@pytest.fixture(scope="module")
def clean(wheel, airflow_home):
    """The programs of an environment with Airflow 3.3 and the wheel."""
    return install(airflow_home / "environment", "apache-airflow==3.3.2", wheel)


@pytest.fixture(scope="module")
def list_of(clean, airflow_home):
    """Return what ``airflow providers`` lists."""

    def ask(what):
        answer = run(clean / "airflow", "providers", what, "--output", "json", env={"AIRFLOW_HOME": str(airflow_home)})
        return json.loads(answer[answer.index("[{") :])  # Airflow may write a warning before it

    return ask


def test_airflow_lists_it(list_of):
    versions = {item["package_name"]: item["version"] for item in list_of("list")}
    assert versions["mlflow-for-airflow"] == provider.__version__


def test_airflow_knows_the_connection_type_and_the_link(list_of):
    (hook,) = [hook for hook in list_of("hooks") if hook["connection_type"] == "mlflow"]
    assert hook["class"] == "mlflow_provider.hooks.client.MLflowClientHook"
    assert "mlflow_provider.links.MLflowLink" in [link["extra_link_class_name"] for link in list_of("links")]


def test_a_dag_of_the_old_package_is_parsed(clean, airflow_home):
    dag = airflow_home / "dags" / "tutorial.py"
    dag.parent.mkdir()
    dag.write_text(
        "from airflow.sdk import dag\n"
        "from mlflow_provider.hooks.client import MLflowClientHook\n"
        "from mlflow_provider.operators.registry import CreateRegisteredModelOperator\n"
        "@dag(schedule=None)\n"
        "def tutorial():\n"
        "    CreateRegisteredModelOperator(task_id='create', name='lengths')\n"
        "tutorial()\n"
    )
    code = (
        f"from airflow.dag_processing.dagbag import DagBag; b = DagBag({str(dag)!r}); print(b.import_errors, *b.dags)"
    )
    assert run(clean / "python", "-c", code, env={"AIRFLOW_HOME": str(airflow_home)}).split()[-2:] == ["{}", "tutorial"]


def test_its_types_count(wheel):
    assert "mlflow_provider/py.typed" in run("unzip", "-Z1", wheel).split()


def test_the_source_distribution_holds_what_the_wheel_is_built_from(tmp_path):
    names = run("tar", "-tzf", build(tmp_path, "sdist"))
    for name in ("pyproject.toml", "README.md", "mlflow_provider/py.typed", "_model_process/main.py"):
        assert name.removeprefix("mlflow_provider/") in names
