import json
from urllib.parse import quote

import pytest

from include.mlflow_provider.exceptions import MLflowAPIError, MLflowError
from include.mlflow_provider.hooks.pyfunc import HASH_TAG, MLflowPyfuncHook

from ..scripted import Answer


@pytest.fixture
def pyfunc(services):
    return MLflowPyfuncHook()


@pytest.mark.parametrize("kind", ["/{n}", "/Production", "/production", "/latest", "/Latest", "@champion", "@", "//"])
def test_a_version_is_found_however_mlflow_lets_it_be_named(pyfunc, hook, name, lengths, kind):
    name = f"{name}@home" if kind == "@" else name
    hook.create_registered_model(name)
    for stage in ("Production", "Archived"):
        number = hook.create_model_version(name, lengths.uri)["version"]
        hook.transition_model_version_stage(name, number, stage)
    hook.set_registered_model_alias(name, "champion", 1)
    hook.set_model_version_tag(name, "1", HASH_TAG, "of 1")
    hook.set_model_version_tag(name, "2", HASH_TAG, "of 2")
    slashes, ending = {"@": ("/", "/1"), "//": ("///", "/1")}.get(kind, ("/", kind.format(n=1)))
    uri, number = f"models:{slashes}{name}{ending}", 2 if "atest" in kind else 1
    assert pyfunc.resolve_version(uri) == f"models:/{name}/{number}"
    assert pyfunc.get_recorded_hash(uri) == f"of {number}"
    assert pyfunc.get_model_page(uri) == f"{hook.base_url}/#/models/{quote(name)}/versions/{number}"


def test_a_stage_without_a_version_is_an_error(pyfunc, version):
    with pytest.raises(MLflowError, match="has no version that is 'Production'"):
        pyfunc.resolve_version(f"models:/{version['name']}/Production")
    with pytest.raises(MLflowAPIError, match=r"[Ss]tage"):
        pyfunc.resolve_version(f"models:/{version['name']}/nowhere")


def test_a_run_leads_to_the_model_that_it_logged(pyfunc, hook, lengths, whoami):
    folder = hook.get_logged_model(lengths.model_id)["info"]["artifact_uri"]
    assert pyfunc.get_model_artifact_uri(f"runs:/{lengths.run_id}/model") == folder
    assert pyfunc.get_model_artifact_uri(f"runs:/{lengths.run_id}/model/code") == f"{folder}/code"


def test_a_run_without_a_logged_model_has_it_among_its_artifacts(pyfunc, hook, lengths):
    artifacts = hook.get_run(lengths.run_id)["info"]["artifact_uri"]
    assert pyfunc.get_model_artifact_uri(f"runs:/{lengths.run_id}/old/model") == f"{artifacts}/old/model"


def test_a_uri_of_another_store_is_left_to_mlflow(pyfunc):
    assert pyfunc.get_model_artifact_uri("s3://bucket/model") == "s3://bucket/model"


@pytest.mark.parametrize("kind", ["proxied", "s3", "mlflow"])
def test_requirements_and_files_are_fetched(pyfunc, lengths, lengths_in_s3, version, kind, tmp_path):
    latest = f"models:/{version['name']}/latest"
    uris = {"proxied": pyfunc.get_model_artifact_uri(lengths.uri), "s3": lengths_in_s3, "mlflow": latest}
    assert any(line.startswith("pandas==") for line in pyfunc.get_model_requirements(uris[kind]))
    folder = pyfunc.download_model(uris[kind], tmp_path)
    assert (folder / "MLmodel").is_file()
    assert (folder / "lengths.py").read_text().startswith('"""A model that adds up')


def test_a_model_in_s3_is_read_with_the_connection_alone(lengths_in_s3, services, connect, tmp_path):
    mine = json.loads(services["AIRFLOW_CONN_AWS_DEFAULT"])
    connect("mine", **mine)
    hook = MLflowPyfuncHook("never_asked", aws_conn_id="mine")
    assert hook.get_model_requirements(lengths_in_s3)
    assert (hook.download_model(lengths_in_s3, tmp_path) / "MLmodel").is_file()
    connect("other", **{**mine, "password": "wrong"})
    with pytest.raises(MLflowError, match=r"has no readable requirements.txt: Could not read s3://.*'other'"):
        MLflowPyfuncHook("never_asked", aws_conn_id="other").get_model_requirements(lengths_in_s3)


def test_a_missing_file_is_named_with_its_model(pyfunc, lengths):
    uri = pyfunc.get_model_artifact_uri(lengths.uri)
    with pytest.raises(MLflowError, match=f"{uri} has no readable nothing.txt"):
        pyfunc.read_model_file(uri, "nothing.txt")


def test_an_error_of_the_library_names_the_connection(pyfunc, tmp_path):
    with pytest.raises(MLflowError, match=r"mlflow, with connection 'mlflow_default': .*nobody"):
        pyfunc.get_model_requirements("models:/nobody/latest")
    with pytest.raises(MLflowError, match=r"mlflow, with connection 'mlflow_default': .*nobody"):
        pyfunc.download_model("models:/nobody/latest", tmp_path)


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
