"""Missing models and versions, for a user without administrator rights: MLflow answers 403, not 404."""

import pytest

from include.mlflow_provider.exceptions import MLflowAPIError
from include.mlflow_provider.hooks.client import MLflowClientHook

from ..scripted import Answer

FORBIDDEN = Answer(403, "Permission denied")


@pytest.fixture
def ordinary(ordinary_user):
    return MLflowClientHook(mlflow_conn_id=ordinary_user)


def test_a_deletion_that_runs_again_succeeds(ordinary, name, lengths):
    ordinary.create_registered_model(name)
    ordinary.create_model_version(name, lengths.uri)
    for _ in range(2):
        ordinary.delete_model_version(name, 1, missing_ok=True)
    for _ in range(2):
        ordinary.delete_registered_model(name, missing_ok=True)
    ordinary.delete_model_version(name, 1, missing_ok=True)


def test_a_model_of_somebody_else_is_not_taken_for_a_missing_one(hook, ordinary, name, version):
    with pytest.raises(MLflowAPIError, match="403"):
        ordinary.delete_registered_model(name, missing_ok=True)
    with pytest.raises(MLflowAPIError, match="403"):
        ordinary.delete_model_version(name, 1, missing_ok=True)
    assert hook.get_model_version(name, 1)


def test_a_missing_model_is_still_an_error_unless_that_is_fine(ordinary, name):
    with pytest.raises(MLflowAPIError, match="or the object does not exist"):
        ordinary.delete_registered_model(name)


def test_what_the_user_may_not_even_see_stays_an_error(scripted):
    scripted(FORBIDDEN)
    with pytest.raises(MLflowAPIError, match="403"):
        MLflowClientHook(mlflow_conn_id="scripted").delete_registered_model("a", missing_ok=True)


def test_models_and_experiments_that_are_not_there_are_none_or_created(ordinary, name):
    assert ordinary.get_registered_model(name) is None
    assert ordinary.get_experiment_by_name(name) is None
    assert ordinary.create_registered_model(name, exist_ok=True)["name"] == name
    assert ordinary.create_experiment(name, exist_ok=True) == ordinary.create_experiment(name, exist_ok=True)


def test_a_missing_alias_is_recognised_for_every_user(hook, ordinary, name, version):
    for client in (hook, ordinary):
        with pytest.raises(MLflowAPIError) as missing:
            client.get_model_version_by_alias(f"{name} 2", "champion")
        assert client.is_missing(missing.value, f"{name} 2")
    with pytest.raises(MLflowAPIError) as missing:
        hook.get_model_version_by_alias(name, "champion")
    assert hook.is_missing(missing.value, name)


def test_a_name_with_quotes_of_both_kinds_is_found_again(hook, ordinary, name, lengths):
    name = f'{name} "quoted"'
    ordinary.create_registered_model(name)
    versions = [ordinary.create_model_version(name, lengths.uri, exist_ok=True)["version"] for _ in range(2)]
    assert versions == ["1", "1"]
    run_id = 'it\'s "odd"'
    assert hook.create_model_version(name, lengths.uri, run_id, exist_ok=True)["version"] == "2"
    assert hook.create_model_version(name, lengths.uri, run_id, exist_ok=True)["version"] == "2"
