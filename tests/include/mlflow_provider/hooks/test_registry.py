from __future__ import annotations

import mlflow
import pytest

from include.mlflow_provider.exceptions import MLflowAPIError
from include.mlflow_provider.hooks.client import MLflowClientHook


def test_an_unknown_model_is_none(hook, name):
    assert hook.get_registered_model(name) is None


def test_tags_may_be_a_dict_or_a_list(hook, name):
    expected = [{"key": "data", "value": "possum"}]
    assert hook.create_registered_model(name, tags={"data": "possum"})["tags"] == expected
    assert hook.create_registered_model(f"{name} 2", tags=expected)["tags"] == expected


def test_a_model_that_exists_is_an_error_or_returned_as_it_is(hook, name):
    hook.create_registered_model(name, description="first")
    with pytest.raises(MLflowAPIError, match="RESOURCE_ALREADY_EXISTS"):
        hook.create_registered_model(name)
    assert hook.create_registered_model(name, description="second", exist_ok=True)["description"] == "first"


@pytest.fixture
def version(hook, name, lengths):
    hook.create_registered_model(name)
    return hook.create_model_version(name, lengths.uri, lengths.run_id)


def test_a_version_loads_by_its_number(hook, name, version):
    with hook.environment():
        loaded = mlflow.pyfunc.load_model(f"models:/{name}/{version['version']}")
    assert loaded.metadata.signature is not None


def test_a_version_can_name_the_folder_of_a_logged_model(hook, name, lengths):
    folder = hook.get_logged_model(lengths.model_id)["info"]["artifact_uri"]
    hook.create_registered_model(name)
    number = hook.create_model_version(name, folder)["version"]
    assert hook.get_model_version_download_uri(name, number) == folder


def test_the_same_version_is_registered_once_if_it_may_exist(hook, name, lengths, version):
    again = hook.create_model_version(name, lengths.uri, lengths.run_id, exist_ok=True)
    without_run = hook.create_model_version(name, lengths.uri, exist_ok=True)
    assert again["version"] == without_run["version"] == version["version"] == "1"


def test_a_version_of_another_model_is_a_new_one(hook, name, whoami, version):
    assert hook.create_model_version(name, whoami.uri, whoami.run_id, exist_ok=True)["version"] == "2"


def test_versions_are_searched_through_all_pages(hook, name, lengths, version, monkeypatch):
    hook.create_model_version(name, lengths.uri)
    monkeypatch.setattr(MLflowClientHook, "page_size", 1)
    found = hook.search_model_versions(f'name="{name}"')
    assert {item["version"] for item in found} == {"1", "2"}


def test_an_alias_leads_to_its_version(hook, name, version):
    hook.set_registered_model_alias(name, "champion", 1)
    assert hook.get_model_version_by_alias(name, "champion")["version"] == "1"
    assert hook.get_model_version(name, 1)["aliases"] == ["champion"]


def test_a_stage_archives_the_version_that_held_it(hook, name, lengths, version):
    hook.create_model_version(name, lengths.uri)
    hook.transition_model_version_stage(name, 1, "Staging")
    assert hook.transition_model_version_stage(name, "2", "Staging", True)["current_stage"] == "Staging"
    assert hook.get_model_version(name, "1")["current_stage"] == "Archived"
