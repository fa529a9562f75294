from __future__ import annotations

import pytest

from include.mlflow_provider.exceptions import MLflowAPIError, MLflowError
from include.mlflow_provider.hooks.pyfunc import MLflowPyfuncHook

from ..scripted import Answer


@pytest.fixture
def pyfunc(services):
    return MLflowPyfuncHook()


def test_version_alias_and_model_id_lead_to_the_same_folder(pyfunc, hook, name, lengths):
    hook.create_registered_model(name)
    hook.create_model_version(name, lengths.uri)
    hook.set_registered_model_alias(name, "champion", 1)
    uris = [lengths.uri, f"models:/{name}/1", f"models:/{name}@champion"]
    folders = {pyfunc.get_model_artifact_uri(uri) for uri in uris}
    assert folders == {hook.get_logged_model(lengths.model_id)["info"]["artifact_uri"]}


def test_an_unknown_alias_is_an_error(pyfunc, hook, name):
    hook.create_registered_model(name)
    with pytest.raises(MLflowAPIError, match="alias nobody not found"):
        pyfunc.get_model_artifact_uri(f"models:/{name}@nobody")


def test_a_uri_of_another_store_is_left_to_mlflow(pyfunc):
    assert pyfunc.get_model_artifact_uri("s3://bucket/model") == "s3://bucket/model"


@pytest.mark.parametrize("kind", ["proxied", "runs"])
def test_requirements_and_files_are_fetched(pyfunc, lengths, kind, tmp_path):
    uri = pyfunc.get_model_artifact_uri(lengths.uri) if kind == "proxied" else f"runs:/{lengths.run_id}/model"
    assert any(line.startswith("pandas==") for line in pyfunc.get_model_requirements(uri))
    folder = pyfunc.download_model(uri, tmp_path)
    assert (folder / "MLmodel").is_file()
    assert (folder / "lengths.py").read_text().startswith('"""A model that adds up')


def test_a_missing_file_is_named_with_its_model(pyfunc, lengths):
    uri = pyfunc.get_model_artifact_uri(lengths.uri)
    with pytest.raises(MLflowError, match=f"{uri} has no readable nothing.txt"):
        pyfunc.read_model_file(uri, "nothing.txt")


def test_subfolders_of_a_model_come_along(scripted, tmp_path):
    scripted(
        Answer(body='{"files": [{"path": "code", "is_dir": true}, {"path": "MLmodel"}]}'),
        Answer(body='{"files": [{"path": "a.py"}]}'),
        Answer(body="print"),
        Answer(body="flavors"),
    )
    MLflowPyfuncHook("scripted").download_model("mlflow-artifacts:/1/m", tmp_path)
    assert (tmp_path / "code" / "a.py").read_text() == "print"
    assert (tmp_path / "MLmodel").read_text() == "flavors"
