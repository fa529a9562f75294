from __future__ import annotations

import json
import logging
import os
from types import SimpleNamespace

import pandas as pd
import pytest
from airflow.sdk import DAG, ObjectStoragePath
from airflow.sdk.execution_time.task_runner import _serialize_rendered_fields as rendered

from include.mlflow_provider.exceptions import MLflowAPIError, MLflowError, ModelPredictionError
from include.mlflow_provider.operators import pyfunc
from include.mlflow_provider.operators.pyfunc import ModelLoadAndPredictOperator

from ..conftest import LENGTHS

FRAME = pd.DataFrame(LENGTHS, index=pd.Index([3, 5, 8], name="case"))
SUMS = [130.1, 129.0, 133.0]
NEGATIVE = [{"head": -1.0, "tail": 36.0}]


@pytest.fixture(scope="module")
def bucket(services):
    folder = ObjectStoragePath("s3://provider-tests", conn_id="aws_default")
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def operator(lengths, environments, monkeypatch):
    """Make an operator in a DAG."""
    # Airflow asks for this variable; outside of a task it would want its database.
    monkeypatch.setenv("AIRFLOW_VAR_PYTHON_VIRTUALENV_OPERATOR_CACHE_KEY", "")

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


@pytest.mark.parametrize(
    "data",
    [FRAME, [{"head": 94.1, "tail": 36.0}, {"head": 92.5, "tail": 36.5}, {"head": 94.0, "tail": 39.0}], LENGTHS],
    ids=["frame", "records", "dict"],
)
def test_values_are_predicted_and_returned_as_a_list(predict, data):
    assert predict(data) == pytest.approx(SUMS)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_an_object_is_predicted_into_another_with_its_index(predict, bucket, suffix, tmp_path):
    FRAME.to_parquet(tmp_path / "in.parquet")
    FRAME.to_csv(tmp_path / "in.csv", index=False)
    source, target = bucket / f"in.{suffix}", bucket / f"out.{suffix}"
    source.write_bytes((tmp_path / f"in.{suffix}").read_bytes())
    assert predict(str(source), output_uri=str(target)) == str(target)
    (tmp_path / "out").write_bytes(target.read_bytes())
    found = pd.read_parquet(tmp_path / "out") if suffix == "parquet" else pd.read_csv(tmp_path / "out")
    expected = pd.DataFrame({"prediction": SUMS}, index=FRAME.index if suffix == "parquet" else None)
    pd.testing.assert_frame_equal(found, expected)


def test_a_second_prediction_reuses_the_environment(predict, environments):
    predict()
    python = next(environments.glob("venv-*/bin/python"))
    built = python.lstat().st_mtime_ns
    predict()
    assert len(list(environments.glob("venv-*/"))) == 1
    assert python.lstat().st_mtime_ns == built


def test_the_environment_is_the_models_own_and_compiled(predict, environments):
    predict()
    packages = next(environments.glob("venv-*/lib/*/site-packages"))
    assert not (packages / "airflow").exists()
    assert list((packages / "mlflow" / "pyfunc" / "__pycache__").glob("*.pyc"))


def test_a_missing_column_is_refused_by_the_models_signature(predict):
    with pytest.raises(ModelPredictionError, match=r"models:/m-.* failed(?s:.*)missing inputs \['tail'\]"):
        predict(FRAME[["head"]])


def test_a_failing_model_shows_its_message_and_its_traceback(predict, caplog):
    with (
        caplog.at_level(logging.INFO),
        pytest.raises(ModelPredictionError, match="a length cannot be negative"),
    ):
        predict(NEGATIVE)
    assert 'lengths.py", line' in caplog.text
    assert 'raise ValueError("a length cannot be negative")' in caplog.text


def test_a_result_too_big_to_return_names_output_uri(predict, monkeypatch):
    monkeypatch.setattr(pyfunc, "RETURN_LIMIT", 10)
    with pytest.raises(ModelPredictionError, match="Parquet or CSV object in output_uri"):
        predict()


def test_a_missing_input_is_named(predict, bucket):
    with pytest.raises(MLflowError, match=r"nothing\.csv \(S3 connection 'aws_default'\)"):
        predict("s3://provider-tests/nothing.csv")


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


def test_only_the_models_process_gets_the_login_and_only_while_it_runs(operator, services, whoami, caplog):
    connection = json.loads(os.environ["AIRFLOW_CONN_MLFLOW_DEFAULT"])
    before = dict(os.environ)
    task = operator(model_uri=whoami.uri)
    with caplog.at_level(logging.DEBUG):
        user, backwards = execute(task)
    assert (user, backwards[::-1]) == (connection["login"], connection["password"])
    assert dict(os.environ) == before
    assert "Executing cmd: " in caplog.text
    stored = [caplog.text, str(task.op_kwargs), str(task.env_vars), str(task.requirements), str(rendered(task))]
    assert not [text for text in stored if connection["password"] in text]


def test_templates_are_rendered(operator):
    task = operator("s3://{{ ds }}/in.csv", model_uri="models:/{{ ds }}/1", output_uri="s3://{{ ds }}/out.csv")
    task.render_template_fields({"ds": "today"})
    assert rendered(task) == {
        "model_uri": "models:/today/1",
        "dst_path": None,
        "data": "s3://today/in.csv",
        "output_uri": "s3://today/out.csv",
        "op_args": [],
        "op_kwargs": {},
    }
