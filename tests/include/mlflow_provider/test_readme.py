from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG, BaseOperator
from airflow.sdk import task as task_decorators

import include.mlflow_provider as provider

from . import contract

README = Path(provider.__file__).with_name("README.md").read_text()
EXAMPLES = re.findall(r"^### (\S+)\n.*?^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
TARGET = "sagemaker:/us-west-2"


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return contract.fetch(tmp_path_factory.mktemp("old"))


def test_the_table_of_the_readme_is_the_one_that_the_contract_prints(package):
    assert f"\n\n{contract.table(package)}\n\n" in README


def test_every_class_of_the_old_package_and_every_new_one_for_dags_has_an_example(package):
    promised = [old.path for old in contract.promised(package)]
    assert sorted(path for path, _ in EXAMPLES) == sorted({*promised, *classes_for_dags()})


def classes_for_dags():
    """Every operator and sensor of the package, by the name that the examples give it."""
    info = provider.get_provider_info()
    names = [name for kind in ("operators", "sensors") for modules in info[kind] for name in modules["python-modules"]]
    for module in map(importlib.import_module, names):
        own = [value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__]
        operators = [value for value in own if isinstance(value, type) and issubclass(value, BaseOperator)]
        path = module.__name__.removeprefix(f"{provider.__name__}.")
        yield from (f"{path}.{operator.__name__}" for operator in operators if operator.__name__[0] != "_")


def code_with(text):
    (found,) = [code for code in re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE) if text in code]
    return found


def test_the_dag_of_the_readme_starts_when_the_champion_changes(monkeypatch):
    monkeypatch.syspath_prepend(Path(provider.__file__).parents[1])
    names = {"__name__": "__main__"}
    exec(code_with("AssetWatcher"), names)  # noqa: S102 # the README is ours
    (watcher,) = names["champion"].watchers
    assert watcher.trigger.serialize()[1].items() >= {"event": "alias", "name": "lengths", "key": "champion"}.items()
    assert names["on_new_champion"]().schedule == names["champion"]


def test_the_functions_of_the_readme_become_tasks_inside_runs():
    with DAG("readme", schedule=None):
        exec(code_with("@task.mlflow"), names := {"task": task_decorators})  # noqa: S102 # the README is ours
        operators = [names[name]().operator for name in ("train", "explain")]
    assert [operator.experiment for operator in operators] == ["lengths", "lengths"]
    assert operators[1].parent_run_id == "{{ ti.xcom_pull('train', key='mlflow_run_id') }}"


def test_the_examples_work(services, buckets, serving, monkeypatch):
    monkeypatch.syspath_prepend(Path(provider.__file__).parents[1])
    names = {"__name__": "__main__"}
    results = {}
    for _, code in EXAMPLES:
        with DAG("readme", schedule=None):
            exec(code.replace(TARGET, serving), names)  # noqa: S102 # the README is ours
        for task in [value for value in names.values() if isinstance(value, BaseOperator)]:
            if task.task_id not in results:
                results[task.task_id] = task.execute({"ti": SimpleNamespace(bundle_instance=None)})
    assert names["best"]["info"]["run_name"] == "ridge"
    assert "pandas==3.1.1" in names["requirements"]
    assert results["latest"]["model_versions"][0]["version"] == "1"
    assert results["load_and_predict"] == pytest.approx([130.1])
    assert json.loads(results["ask"])["predictions"] == pytest.approx([130.1])
    assert results["wait_for_champion"]["aliases"] == ["champion"]
    assert results["search"]["model_versions"][0]["tags"] == [{"key": "rows", "value": "104"}]
    assert results["copy_version"]["model_version"]["name"] == "lengths production"
    assert results["prune"] == []
    assert len(results) == len([path for path, _ in EXAMPLES if not path.startswith("hooks.")])
    assert names["client"].get_registered_model("lengths") is None
