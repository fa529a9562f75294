import pytest

from include.mlflow_provider.exceptions import MLflowAPIError, MLflowError
from include.mlflow_provider.hooks.client import MLflowClientHook


def test_a_search_walks_through_all_pages(hook, name, monkeypatch):
    created = {hook.create_experiment(f"{name} {number}") for number in range(3)}
    monkeypatch.setattr(MLflowClientHook, "page_size", 2)
    found = [experiment["experiment_id"] for experiment in hook.search_experiments()]
    assert created <= set(found)
    assert len(found) == len(set(found))


def test_creating_an_experiment_twice_is_an_error_unless_that_is_fine(hook, name):
    experiment_id = hook.create_experiment(name)
    assert hook.create_experiment(name, exist_ok=True) == experiment_id
    with pytest.raises(MLflowAPIError, match="RESOURCE_ALREADY_EXISTS"):
        hook.create_experiment(name)


def test_a_deleted_experiment_is_named_with_the_way_to_restore_it(hook, name):
    experiment_id = hook.create_experiment(name)
    hook.call("POST", "api/2.0/mlflow/experiments/delete", {"experiment_id": experiment_id})
    with pytest.raises(MLflowError, match=f"mlflow experiments restore --experiment-id {experiment_id}"):
        hook.create_experiment(name, exist_ok=True)


def test_logged_models_are_found_on_all_pages(hook, experiment_id, lengths, whoami, monkeypatch):
    monkeypatch.setattr(MLflowClientHook, "page_size", 1)
    found = [model["info"]["model_id"] for model in hook.search_logged_models([experiment_id])]
    assert {lengths.model_id, whoami.model_id} <= set(found)
    assert len(found) == len(set(found))


def test_logged_models_are_filtered(hook, experiment_id, lengths, whoami):
    found = hook.search_logged_models([experiment_id], f"name = 'model' AND source_run_id = '{lengths.run_id}'")
    assert [model["info"]["model_id"] for model in found] == [lengths.model_id]


def test_a_method_uses_the_verb_of_its_endpoint_whatever_the_hook_was_made_with(services, name):
    assert MLflowClientHook("DELETE").get_experiment_by_name(name) is None
