from pathlib import Path

import pytest

import include.mlflow_provider as provider

from . import contract
from .contract import REQUIRED, Argument, Surface, broken, offered, promised

# Both hooks of 1.1.0 that had it left their credentials in the process; no hook does so any more.
GONE = {("hooks.base.MLflowBaseHook", "unset_env_variables")}
POSITIONAL = "POSITIONAL_OR_KEYWORD"


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    return contract.fetch(tmp_path_factory.mktemp("old"))


@pytest.fixture(scope="session")
def pairs(package):
    """Every class of 1.1.0 with the one that takes its place; there is none without."""
    return [(old, offered(old)) for old in promised(package)]


def test_the_wheel_holds_the_classes_that_it_is_known_for(package):
    names = [old.path for old in promised(package)]
    assert len(names) == 15
    assert {"hooks.base.MLflowBaseHook", "operators.pyfunc.ModelLoadAndPredictOperator"} < set(names)


def test_the_page_on_compatibility_has_the_table_that_the_contract_prints(package):
    page = (Path(provider.__file__).parent / "docs" / "compatibility.md").read_text()
    assert f"\n\n{contract.table(package)}\n\n" in page


def test_every_call_of_a_constructor_is_still_accepted(pairs):
    assert not {old.path: found for old, new in pairs if (found := broken(old.arguments, new.arguments))}


def test_every_template_field_is_still_one(pairs):
    lost = {old.path: set(old.template_fields) - set(new.template_fields) for old, new in pairs}
    assert not {path: fields for path, fields in lost.items() if fields}
    assert all(old.template_fields for old, _ in pairs if old.module.startswith("operators"))


def test_every_method_but_one_is_there_and_takes_the_same_calls(pairs):
    gone = {(old.path, name) for old, new in pairs for name in old.methods if name not in new.methods}
    assert gone == GONE
    changed = {
        (old.path, name): found
        for old, new in pairs
        for name, arguments in new.methods.items()
        if (found := broken(old.methods[name], arguments))
    }
    assert not changed


@pytest.mark.parametrize(("kind", "found"), [("base", ["get_env_vars"]), ("client", ["get_conn", "get_env_vars"])])
def test_a_method_that_only_airflow_has_counts_as_gone(kind, found):
    old = Surface(f"hooks.{kind}", f"MLflow{kind.title()}Hook", {}, methods={"get_conn": {}, "get_env_vars": {}})
    assert list(offered(old).methods) == found


@pytest.mark.parametrize(
    ("new", "found"),
    [
        ({"a": Argument(POSITIONAL), "b": Argument(POSITIONAL, "None")}, []),
        ({"a": Argument(POSITIONAL, "1"), "b": Argument(POSITIONAL, "None"), "c": Argument(POSITIONAL, "2")}, []),
        ({"a": Argument(POSITIONAL)}, ["b"]),
        ({"a": Argument(POSITIONAL), "b": Argument(POSITIONAL, "0")}, ["b"]),
        ({"a": Argument(POSITIONAL), "b": Argument(POSITIONAL, REQUIRED)}, ["b"]),
        ({"a": Argument(POSITIONAL), "b": Argument("KEYWORD_ONLY", "None")}, ["b"]),
        ({"b": Argument(POSITIONAL, "None"), "a": Argument(POSITIONAL)}, ["a", "b"]),
        ({"a": Argument(POSITIONAL), "b": Argument(POSITIONAL, "None"), "c": Argument(POSITIONAL)}, ["c"]),
    ],
)
def test_a_change_that_breaks_a_call_is_noticed(new, found):
    assert broken({"a": Argument(POSITIONAL), "b": Argument(POSITIONAL, "None")}, new) == found
