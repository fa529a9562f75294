import pytest

from include.mlflow_provider.exceptions import MLflowError


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


def test_only_a_version_can_be_copied(hook, name):
    with pytest.raises(MLflowError, match="names no model version"):
        hook.copy_model_version("models:/m-1f0c", name)


def test_a_description_changes_and_can_be_emptied(hook, name, version):
    assert hook.update_model_version(name, 1, "better")["description"] == "better"
    assert not hook.update_model_version(name, "1", "").get("description")


def test_tags_of_a_version_are_set_replaced_and_removed(hook, name, version):
    hook.set_model_version_tag(name, 1, "checked", "no")
    hook.set_model_version_tag(name, "1", "checked", "yes")
    assert hook.get_model_version(name, 1)["tags"] == [{"key": "checked", "value": "yes"}]
    hook.delete_model_version_tag(name, 1, "checked")
    assert "tags" not in hook.get_model_version(name, 1)
