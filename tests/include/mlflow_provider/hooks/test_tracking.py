from __future__ import annotations

import pytest

from include.mlflow_provider.exceptions import MLflowAPIError, MLflowError
from include.mlflow_provider.hooks.client import MLflowClientHook

from ..scripted import Answer

NONE = Answer(404, '{"error_code": "RESOURCE_DOES_NOT_EXIST"}')


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


@pytest.mark.parametrize("answer", [Answer(400, "QueuePool limit"), Answer(500), Answer(seconds=60)])
def test_an_experiment_that_exists_is_found_whatever_became_of_the_request_to_create_it(scripted, answer):
    server = scripted(NONE, answer, Answer(200, '{"experiment": {"experiment_id": "7"}}'), extra={"timeout": 0.2})
    client = MLflowClientHook(mlflow_conn_id="scripted")
    assert client.create_experiment("a", exist_ok=True) == "7"
    assert [request[0] for request in server.requests] == ["GET", "POST", "GET"]


def test_the_error_of_a_creation_stays_if_the_server_does_not_tell_whether_the_experiment_exists(scripted):
    scripted(NONE, Answer(400, "QueuePool limit"), Answer(403, "not yours"))
    with pytest.raises(MLflowAPIError, match="QueuePool limit"):
        MLflowClientHook(mlflow_conn_id="scripted").create_experiment("a", exist_ok=True)


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
