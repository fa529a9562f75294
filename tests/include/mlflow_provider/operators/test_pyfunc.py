import json
import logging
import os
import sys
from io import BytesIO
from threading import Event
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from airflow.sdk import DAG, ObjectStoragePath
from airflow.sdk.exceptions import AirflowSkipException
from airflow.sdk.execution_time.task_runner import _serialize_rendered_fields as rendered

from include.mlflow_provider.exceptions import MLflowAPIError, MLflowError, ModelPredictionError
from include.mlflow_provider.hooks.pyfunc import MLflowPyfuncHook
from include.mlflow_provider.operators import pyfunc
from include.mlflow_provider.operators._subprocess import Programs
from include.mlflow_provider.operators.pyfunc import ModelLoadAndPredictOperator

from ..conftest import LENGTHS

FRAME = pd.DataFrame(LENGTHS, index=pd.Index([3, 5, 8], name="case"))
SUMS = [130.1, 129.0, 133.0]


@pytest.fixture(scope="module")
def bucket(services):
    folder = ObjectStoragePath("s3://provider-tests", conn_id="aws_default")
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def operator(lengths, environments):
    """Make an operator in a DAG."""

    def make(data=FRAME, **arguments):
        with DAG("predictions", schedule=None):
            given = {"model_uri": lengths.uri, "venv_cache_path": environments, **arguments}
            return ModelLoadAndPredictOperator(task_id="predict", data=data, **given)

    return make


@pytest.fixture
def predict(operator):
    """Make an operator and execute it."""
    return lambda *data, **arguments: execute(operator(*data, **arguments))


def execute(operator):
    return operator.execute({"ti": SimpleNamespace(bundle_instance=None)})


def put(table, path):
    """Write a table to a Parquet or CSV object."""
    path.write_bytes(table.to_parquet() if path.suffix == ".parquet" else table.to_csv(index=False).encode())


def get(path):
    content = BytesIO(path.read_bytes())
    return pd.read_parquet(content) if path.suffix == ".parquet" else pd.read_csv(content)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_an_object_is_predicted_into_another_with_its_index(predict, bucket, suffix):
    source, target = bucket / f"in.{suffix}", bucket / f"out.{suffix}"
    put(FRAME, source)
    assert predict(str(source), output_uri=str(target)) == str(target)
    expected = pd.DataFrame({"prediction": SUMS}, index=FRAME.index if suffix == "parquet" else None)
    pd.testing.assert_frame_equal(get(target), expected)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_chunks_make_the_result_of_the_whole_table(predict, bucket, suffix):
    table = pd.DataFrame({"head": np.arange(1000.0), "tail": 1.0}, index=pd.RangeIndex(7, 2007, 2, name="case"))
    put(table, source := bucket / f"long.{suffix}")
    whole, parts = bucket / f"whole.{suffix}", bucket / f"parts.{suffix}"
    predict(str(source), output_uri=str(whole), chunk_size=None)
    predict(str(source), output_uri=str(parts), chunk_size=150)
    pd.testing.assert_frame_equal(get(parts), get(whole), check_index_type="exact")
    assert predict(str(source), chunk_size=150) == list(range(1, 1001))


@pytest.mark.parametrize("env_manager", ["virtualenv", "local"])
def test_a_failure_in_a_later_chunk_names_its_rows_and_publishes_nothing(predict, bucket, env_manager, caplog):
    table = pd.DataFrame({"head": [*[1.0] * 8, -1.0, 1.0], "tail": 1.0})
    put(table, source := bucket / "negative.parquet")
    put(FRAME, target := bucket / "kept.parquet")
    failed = r"models:/m-.* failed: rows 6 to 8 of 10: ValueError: a length cannot be negative$"
    with caplog.at_level(logging.INFO), pytest.raises(ModelPredictionError, match=failed):
        predict(str(source), output_uri=str(target), chunk_size=3, env_manager=env_manager)
    assert 'raise ValueError("a length cannot be negative")' in caplog.text
    pd.testing.assert_frame_equal(get(target), FRAME)
    with pytest.raises(ModelPredictionError, match="rows 6 to 8 of 10"):
        predict(str(source), output_uri=str(bucket / "never.parquet"), chunk_size=3, env_manager=env_manager)
    assert not (bucket / "never.parquet").exists()


def test_the_local_environment_is_the_workers_own(predict, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    assert predict(env_manager="local", venv_cache_path=tmp_path / "none") == pytest.approx(SUMS)
    assert f"Running {sys.executable} " in caplog.text
    assert "mismatches between the model's dependencies" not in caplog.text
    assert not (tmp_path / "none").exists()


def test_the_local_environment_warns_of_what_the_model_wants_otherwise(predict, outdated, caplog):
    caplog.set_level(logging.INFO)
    assert predict(model_uri=outdated.uri, env_manager="local") == pytest.approx(SUMS)
    assert f"pandas (current: {pd.__version__}, required: pandas==2.0.0)" in caplog.text


@pytest.mark.parametrize("wrong", [{"env_manager": "conda"}, {"chunk_size": 0}])
def test_an_argument_that_cannot_be_is_refused_in_the_dag_file(operator, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        operator(**wrong)


def test_a_model_that_quits_is_explained_or_skipped_as_airflow_does(predict, quitter):
    arguments = {"model_uri": quitter.uri, "env_manager": "local"}
    with pytest.raises(ModelPredictionError, match="its process ended with status 3"):
        predict({"head": [3.0], "tail": [1.0]}, **arguments)
    with pytest.raises(AirflowSkipException, match="status 3"):
        predict({"head": [3.0], "tail": [1.0]}, skip_on_exit_code=3, **arguments)


def test_a_second_prediction_reuses_the_environment_and_uv_is_another_name_of_virtualenv(predict, environments):
    predict(env_manager="virtualenv")
    python = next(environments.glob("model-*/bin/python"))
    built = python.lstat().st_mtime_ns
    predict(env_manager="uv")
    assert len(list(environments.glob("model-*/"))) == 1
    assert python.lstat().st_mtime_ns == built


def test_the_environment_is_the_models_own_and_compiled(predict, environments):
    predict()
    packages = next(environments.glob("model-*/lib/*/site-packages"))
    assert not (packages / "airflow").exists()
    assert list((packages / "mlflow" / "pyfunc" / "__pycache__").glob("*.pyc"))


def test_a_result_too_big_to_return_names_the_ways_out(predict):
    with pytest.raises(ModelPredictionError, match="object in output_uri, or raise return_limit"):
        predict(return_limit=10)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s3://provider-tests/nothing.csv", "there is nothing of this name"),
        ("s3://provider-tests/folder.parquet", "it is a folder, and one file is needed"),
        ("s3://no-such-bucket-here/a.csv", "bucket does not exist"),
        ("/nowhere/a.csv", "csv: there is nothing of this name"),
    ],
)
def test_an_input_that_cannot_be_read_is_reported_in_one_message(predict, bucket, uri, message):
    put(FRAME, bucket / "folder.parquet" / "part-0.parquet")
    with pytest.raises(MLflowError, match=rf"^Could not read {uri[:-3]}.*{message}$"):
        predict(uri, env_manager="local")


@pytest.mark.parametrize("uri", ["models:/lengths", "models:/", "models:lengths/1", "models:/a@", "runs:/8e3f", ""])
def test_a_uri_that_is_not_of_a_model_is_reported_with_the_known_forms(predict, uri):
    with pytest.raises(MLflowError, match=rf"^'{uri}' names no model: use models:/<name>/<version>, .*runs:/<run id>/"):
        predict(model_uri=uri)


def test_object_storage_paths_are_as_good_as_uris(predict, bucket):
    put(FRAME, bucket / "path.csv")
    source, target = bucket / "path.csv", bucket / "path.csv.gz"
    assert predict(source, output_uri=target, env_manager="local") == str(target)
    assert pd.read_csv(BytesIO(target.read_bytes()), compression="gzip")["prediction"].tolist() == pytest.approx(SUMS)


def test_whole_numbers_and_columns_without_names_are_predicted(predict, bucket, caplog):
    whole = pd.DataFrame({"head": [94, 92], "tail": [36, 37]})
    put(whole, bucket / "whole.csv")
    array = whole.to_numpy()
    for data in (whole, str(bucket / "whole.csv"), whole.to_dict("records"), array, array.tolist()):
        assert predict(data, env_manager="local") == [130.0, 129.0]
    with pytest.raises(
        ModelPredictionError, match=r"pass a table with these columns, or an array of shape \(rows, 2\)"
    ):
        predict([[1.0, 2.0, 3.0]], env_manager="local")


@pytest.fixture
def pickled(tmp_path):
    """The folder of a pickled model."""
    import mlflow
    from sklearn.dummy import DummyRegressor

    model = DummyRegressor().fit([[1.0, 2.0]], [3.0])
    mlflow.sklearn.save_model(model, tmp_path / "model", serialization_format="cloudpickle", pip_requirements=[])
    return str(tmp_path / "model")


def test_a_pickled_model_is_refused_before_its_environment_is_built_where_that_is_set(
    predict, pickled, monkeypatch, tmp_path
):
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    with pytest.raises(MLflowError, match=r"is a pickled model \(of mlflow.sklearn\).*give this task env_vars="):
        predict([[1.0, 2.0]], model_uri=pickled, venv_cache_path=tmp_path / "environments")
    assert not (tmp_path / "environments").exists()
    allowed = {"env_vars": {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "true"}, "env_manager": "local"}
    assert predict([[1.0, 2.0]], model_uri=pickled, **allowed) == [3.0]
    assert predict(env_manager="local") == pytest.approx(SUMS)  # a model that was logged as code


def test_an_output_that_is_no_table_is_refused_before_anything_starts(predict):
    with pytest.raises(MLflowError, match="must end in"):
        predict(output_uri="s3://provider-tests/out.xlsx", mlflow_conn_id="never_asked")


def test_an_unknown_model_is_an_error(predict):
    with pytest.raises(MLflowAPIError, match="RESOURCE_DOES_NOT_EXIST"):
        predict(model_uri="models:/nobody/1")


def test_the_model_is_downloaded_to_a_given_folder_that_exists(predict, tmp_path):
    predict(dst_path=str(tmp_path))
    assert (tmp_path / "MLmodel").is_file()
    with pytest.raises(MLflowError, match="not an existing folder"):
        predict(dst_path=str(tmp_path / "missing"))


def test_what_is_left_in_a_given_folder_is_neither_checked_nor_used(predict, recorded, tmp_path):
    (tmp_path / "code" / "__pycache__").mkdir(parents=True)
    (left := tmp_path / "code" / "__pycache__" / "old.pyc").write_text("of another version")
    for _ in range(2):
        assert predict(model_uri=recorded, dst_path=str(tmp_path), env_manager="local") == pytest.approx(SUMS)
    assert left.exists()
    assert (tmp_path / "MLmodel").is_file()


def test_only_the_models_process_gets_the_login_and_only_while_it_runs(operator, services, whoami, caplog, monkeypatch):
    connection = json.loads(os.environ["AIRFLOW_CONN_MLFLOW_DEFAULT"])
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "a key of Airflow's")
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "a_dag")
    before = dict(os.environ)
    task = operator(model_uri=whoami.uri)
    with caplog.at_level(logging.DEBUG):
        user, backwards, *of_airflow = execute(task)
    assert of_airflow == ["AIRFLOW_CTX_DAG_ID"]
    assert (user, backwards[::-1]) == (connection["login"], connection["password"])
    assert dict(os.environ) == before
    assert "Running " in caplog.text
    stored = [caplog.text, str(task.op_kwargs), str(task.env_vars), str(task.requirements), str(rendered(task))]
    assert not [text for text in stored if connection["password"] in text]


def test_what_a_download_puts_into_the_environment_reaches_no_build_of_a_package(operator, monkeypatch, tmp_path):
    inside, built = Event(), Event()
    seen = []

    def fetch_model(hook, uri, folder):
        with hook.environment():  # as for all stores that are left to mlflow
            inside.set()
            assert built.wait(60)
        raise MLflowError("enough")

    class Recorder(Programs):
        def run(self, command, variables, locks=()):
            seen.append(variables)
            return int("venv" not in command)

    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "the worker's own")
    monkeypatch.setattr(MLflowPyfuncHook, "fetch_model", fetch_model)
    monkeypatch.setattr(pyfunc, "Programs", Recorder)
    monkeypatch.setattr(pyfunc, "read_requirements", lambda *_: (["iniconfig"] if inside.wait(60) else [], {}))
    with pytest.raises(MLflowError, match="could not be built"):
        execute(operator(venv_cache_path=tmp_path))
    built.set()
    assert len(seen) == 2
    names = set().union(*seen)
    assert not names & {*MLflowPyfuncHook.mlflow_env_variables, "__AIRFLOW_SUPERVISOR_FD"}
    assert not [name for name in names if name.startswith("AIRFLOW_")]
    assert all(variables["HOME"] == os.environ["HOME"] for variables in seen)


def test_the_keys_of_s3_are_in_no_log_no_command_and_no_field(operator, services, lengths_in_s3, caplog, capfd):
    password = json.loads(services["AIRFLOW_CONN_AWS_DEFAULT"])["password"]
    task = operator(model_uri=lengths_in_s3, env_manager="local")
    with caplog.at_level(logging.INFO):
        assert execute(task) == pytest.approx(SUMS)
    logged = caplog.text + "".join(capfd.readouterr())
    assert f"Predicting with {lengths_in_s3}" in logged
    assert f"Running {sys.executable}" in logged
    assert password not in logged + str(rendered(task)) + str(vars(task))


def test_the_result_is_logged_if_asked_for(predict, capfd):
    predict([{"head": 1.0, "tail": 2.0}], env_manager="local", show_return_value_in_logs=True)
    assert "Returned: [3.0]" in capfd.readouterr().out


def test_templates_are_rendered(operator):
    task = operator("s3://{{ ds }}/in.csv", model_uri="models:/{{ ds }}/1", output_uri="s3://{{ ds }}/out.csv")
    task.render_template_fields({"ds": "today"})
    uris = {"model_uri": "models:/today/1", "data": "s3://today/in.csv", "output_uri": "s3://today/out.csv"}
    assert rendered(task) == {**uris, "dst_path": None, "op_args": [], "op_kwargs": {}}


@pytest.fixture
def recorded(hook, version, name, lengths):
    """A version that carries the hash of its files."""
    hook.set_model_version_tag(name, "1", "artifact_sha256", MLflowPyfuncHook().hash_model(lengths.uri))
    return f"models:/{name}/1"


@pytest.mark.parametrize("file", ["requirements.txt", "lengths.py", "added.py"])
def test_a_version_whose_files_were_changed_is_not_loaded_nor_its_environment_built(
    file, predict, recorded, lengths_in_s3, tmp_path
):
    path = ObjectStoragePath(f"{lengths_in_s3}/{file}", conn_id="aws_default")
    content = path.read_bytes() if path.exists() else None
    path.write_bytes((content or b"") + b"\n# changed\n")
    try:
        with pytest.raises(MLflowError, match=f"The files of {recorded} .* are not those that were registered"):
            predict(model_uri=recorded, venv_cache_path=tmp_path / "environments")
        assert not (tmp_path / "environments").exists()
    finally:
        path.unlink() if content is None else path.write_bytes(content)
