"""The tasks of predict: requirements of a model in the real MLflow, figure and file in the real S3."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
from airflow.sdk.exceptions import AirflowFailException
from mlflow.tracking import MlflowClient

from include.mlflow_provider.exceptions import MLflowError
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.mlflow_provider.hooks.pyfunc import HASH_TAG, MLflowPyfuncHook
from include.services import champions, storage, tracking
from include.services.assets import MODEL_EVALUATED, PREDICTIONS
from include.spec import Problem
from include.tasks import predict
from include.tasks.predict import add_line_to_file, complete_requirements

from ...events import inlet_events
from ...toy import AREA, HOUSES
from ..conftest import Registered, log_constant, register

RUN = "manual__unit-predict"
ADDED = "unit-package"


def packages_added_to(content: str) -> str:
    """Return the lines that are appended to a file so that it names boto3 and pandas."""
    completed = complete_requirements(content.encode()).decode()
    assert completed.startswith(content)
    return completed.removeprefix(content)


@pytest.mark.parametrize("content", ["", "pandas==3.1.1\n", "boto3\npandas", "# boto3\n"])
def test_a_second_time_changes_nothing(content: str) -> None:
    once = complete_requirements(content.encode())

    assert complete_requirements(once) == once


@pytest.mark.parametrize(
    "line",
    [
        "pandas",
        "Pandas==3.1.1",
        "PANDAS",
        "pandas[parquet]>=3,<4",
        "pandas ~= 3.1 ; python_version >= '3.11'",
        "pandas==3.1.1  # reads the tables",
        "pandas @ https://example.org/pandas-3.1.1-py3-none-any.whl",
        "pandas @ git+https://example.org/pandas.git@v3.1.1#subdirectory=python",
        "  pandas==3.1.1",
        "pandas==3.1.1 --hash=sha256:0123456789abcdef",
        "pandas==3.1.1 \\\n    --hash=sha256:0123456789abcdef",
    ],
)
def test_a_package_is_recognised_in_every_notation(line: str) -> None:
    assert packages_added_to(f"{line}\n") == "boto3\n"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "# pandas",
        "pandas-stubs==3.0",
        "geopandas",
        "-r pandas.txt",
        "--extra-index-url https://pandas.example.org/simple",
        "https://example.org/pandas-3.1.1-py3-none-any.whl",
    ],
)
def test_a_line_that_does_not_name_the_package_does_not_count(line: str) -> None:
    assert packages_added_to(f"{line}\n") == "boto3\npandas\n"


def test_a_last_line_without_an_end_gets_one() -> None:
    assert complete_requirements(b"pandas==3.1.1") == b"pandas==3.1.1\nboto3\n"


@pytest.fixture
def lacking(buckets: None, project_table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> Registered:
    """Two versions whose ``requirements.txt``, which is that of no other test, lacks the package ``ADDED``."""
    monkeypatch.setattr(predict, "NEEDED", ("pandas", ADDED))
    experiment_id = MLflowClientHook().create_experiment("lacking", exist_ok=True)
    return register(log_constant(experiment_id, project_table), monkeypatch)


def test_a_package_that_a_registered_model_lacks_is_added_and_its_hash_follows(lacking: Registered) -> None:
    pyfunc, model_uri = MLflowPyfuncHook(), f"models:/{lacking.name}/1"
    lacking.tag("1", HASH_TAG, before := pyfunc.hash_model(model_uri))

    uri = add_line_to_file("1")
    changed = storage.read_bytes(uri)
    assert add_line_to_file("1") == uri

    assert changed.decode().splitlines()[-1] == ADDED
    assert storage.read_bytes(uri) == changed
    assert pyfunc.get_recorded_hash(model_uri) == pyfunc.hash_model(model_uri) != before


def test_a_model_whose_files_were_changed_gets_no_new_hash(lacking: Registered) -> None:
    lacking.tag("1", HASH_TAG, "0" * 64)

    with pytest.raises(MLflowError, match="are not those that were registered"):
        add_line_to_file("1")

    assert MLflowPyfuncHook().get_recorded_hash(f"models:/{lacking.name}/1") == "0" * 64


def test_a_task_that_was_killed_before_it_wrote_the_file_is_completed(
    lacking: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyfunc, model_uri = MLflowPyfuncHook(), f"models:/{lacking.name}/1"
    lacking.tag("1", HASH_TAG, pyfunc.hash_model(model_uri))
    with monkeypatch.context() as killed:
        killed.setattr(storage, "write_bytes", lambda content, uri: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            add_line_to_file("1")

    uri = add_line_to_file("1")

    assert storage.read_bytes(uri).decode().splitlines()[-1] == ADDED
    assert pyfunc.get_recorded_hash(model_uri) == pyfunc.hash_model(model_uri)


@pytest.fixture(params=["address", None], ids=["with an id", "without an id"])
def problem(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Problem:
    """The toy problem, with an image of its own in place of the project's plots."""
    problem = replace(HOUSES, row_id=request.param)
    monkeypatch.setattr(predict, "PROBLEM", problem)
    monkeypatch.setattr(predict, "PLOTS", tmp_path / "plots")
    return problem


@pytest.fixture
def table(houses: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    return houses.rename(columns={"address": problem.id})


def predict_table(table: pd.DataFrame) -> tuple[str, str, dict[str, Any], list[str]]:
    """Run the tasks on a table; return figure, file and event, and the parts that were predicted."""
    run_id, published = f"manual__{uuid4()}", SimpleNamespace(extra={})
    uri = storage.write_table(table, "s3://data/unit-predict/features.parquet")
    events = inlet_events(MODEL_EVALUATED, {"features_uri": uri, "version": "1"})
    model = predict.fetch_model_run_id(run_id, events)
    parts = predict.fetch_feature_df_no_target(model["features_uri"], run_id)
    targets = predict.fetch_target(model["features_uri"], run_id)
    for part in parts:
        rows = storage.read_table(part["data"])
        area = rows[AREA].fillna(50.0)
        predicted = pd.DataFrame({"prediction": 2 * area, "lower": area, "upper": 3 * area}, rows.index)
        storage.write_table(predicted, part["output_uri"], index=True)
    predictions = [part["output_uri"] for part in parts]
    picture = predict.plot_predictions(targets, predictions, model, run_id)
    uri = predict.save_predictions(targets, predictions, parts, model, run_id, {PREDICTIONS: published})
    return picture, uri, published.extra, [part["data"] for part in parts]


def test_rows_become_a_figure_and_a_file_beside_their_true_values(
    table: pd.DataFrame, registered: Registered, problem: Problem, client: MlflowClient
) -> None:
    picture, uri, event, (rows_uri,) = predict_table(table)

    rows = storage.read_table(rows_uri)
    assert list(rows) == HOUSES.inputs
    assert rows.index.tolist() == table[problem.id].tolist()
    assert event == {"uri": uri, "version": "1", "alias": ""}
    saved = pd.read_csv(BytesIO(storage.read_bytes(uri)))
    assert list(saved) == [problem.id, "true", "predicted", "lower", "upper", "split", "warnings"]
    assert saved["true"].tolist() == table["price"].tolist()
    assert storage.exists(f"{uri}.trace.json")
    drawn = (predict.PLOTS / problem.picture).read_bytes()
    assert drawn.startswith(b"\x89PNG")
    assert storage.read_bytes(picture) == drawn
    with tracking.connected():
        assert problem.picture in [file.path for file in client.list_artifacts(registered.run_id)]


def test_parts_make_the_same_file_and_figure_as_the_whole_table(
    table: pd.DataFrame, registered: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    *whole, _, (_,) = predict_table(table)
    monkeypatch.setattr(predict, "PART_ROWS", 7)
    monkeypatch.setattr(storage, "BATCH_ROWS", 5)

    *joined, _, parts = predict_table(table)

    assert [len(storage.read_table(uri)) for uri in parts] == [7] * 17 + [1]
    assert list(map(storage.read_bytes, joined)) == list(map(storage.read_bytes, whole))


def predict_constants(table: pd.DataFrame, run_id: str, *values: float) -> tuple[str, list[dict[str, str]], list[str]]:
    """Predict one number for all rows of each part; return the URIs of targets, parts and predictions."""
    uri = storage.write_table(table, "s3://data/unit-predict/features.parquet")
    parts = predict.fetch_feature_df_no_target(uri, run_id)
    for part, value in zip(parts, values, strict=True):
        index = storage.read_table(part["data"]).index
        storage.write_table(pd.DataFrame({"prediction": value}, index), part["output_uri"], index=True)
    return predict.fetch_target(uri, run_id), parts, [part["output_uri"] for part in parts]


def test_an_impossible_prediction_or_a_part_that_is_not_there_publishes_nothing(
    table: pd.DataFrame, registered: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "PART_ROWS", 50)
    run_id = f"manual__{uuid4()}"
    targets, parts, predictions = predict_constants(table, run_id, 300.0, 300.0, np.nan)

    with pytest.raises(AirflowFailException, match="20 rows have no prediction"):
        predict.save_predictions(targets, predictions, parts, {}, run_id, {})

    with pytest.raises(ValueError, match="shorter"):
        predict.save_predictions(targets, predictions[:2], parts, {}, run_id, {})

    assert not [uri for uri in storage.list_objects(parts[0]["data"].rpartition("/")[0]) if uri.endswith(".csv")]


def test_the_figure_of_a_large_table_is_made_of_a_sample_of_all_parts(
    houses: pd.DataFrame, buckets: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "PROBLEM", HOUSES)
    monkeypatch.setattr(predict, "PART_ROWS", 60)
    monkeypatch.setattr(predict, "MAX_DRAWN", 20)
    targets, _, predictions = predict_constants(houses, RUN, 300.0, 300.0)

    rows, total = predict._sample_compared(targets, predictions)

    assert total == 120
    assert (
        rows["address"].isin(houses["address"][:60]).sum() == rows["address"].isin(houses["address"][60:]).sum() == 10
    )


@pytest.fixture
def tables(buckets: None) -> dict[str, str]:
    """Objects in the place of feature tables, oldest first."""
    return {
        name: storage.write_bytes(b"", f"s3://data/unit-predict/{name}.parquet") for name in ("old", "new", "newer")
    }


def test_a_run_predicts_the_rows_of_one_evaluation_by_the_champion_of_its_start(registered: Registered) -> None:
    run_id, events = f"manual__{uuid4()}", [{"features_uri": uri, "version": "2"} for uri in ("first", "second")]
    registered.promote("1")

    chosen = predict.fetch_model_run_id(run_id, inlet_events(MODEL_EVALUATED, *events))
    events.append({"features_uri": "third", "version": "2"})
    again = predict.fetch_model_run_id(run_id, inlet_events(MODEL_EVALUATED, *events))

    assert chosen == again == champions.serving_version() | {"features_uri": "second"}


def test_a_run_predicts_the_table_of_the_newest_version_at_its_start(
    registered: Registered, tables: dict[str, str]
) -> None:
    run_id = f"manual__{uuid4()}"
    registered.tag("1", champions.FEATURES_URI, tables["old"])
    registered.tag("2", champions.FEATURES_URI, tables["new"])
    events = inlet_events(MODEL_EVALUATED, {"features_uri": tables["old"], "version": "1"})

    chosen = predict.fetch_model_run_id(run_id, events)
    registered.tag("2", champions.FEATURES_URI, tables["newer"])
    again = predict.fetch_model_run_id(run_id, events)

    assert chosen["version"] == "1"
    assert chosen["features_uri"] == again["features_uri"] == tables["new"]
    assert predict.fetch_model_run_id(f"{run_id}-2", events)["features_uri"] == tables["newer"]


def test_a_version_whose_table_is_gone_is_passed_over(registered: Registered, tables: dict[str, str]) -> None:
    registered.tag("1", champions.FEATURES_URI, tables["new"])
    registered.tag("2", champions.FEATURES_URI, "s3://data/unit-predict/gone.parquet")
    events = inlet_events(MODEL_EVALUATED, {"features_uri": tables["old"], "version": "1"})

    assert predict.fetch_model_run_id(f"manual__{uuid4()}", events)["features_uri"] == tables["new"]


@pytest.mark.parametrize("lacking", ["version", "features_uri"])
def test_an_evaluation_that_lacks_data_is_passed_over(registered: Registered, lacking: str) -> None:
    whole = {"features_uri": "s3://data/unit-predict/whole.parquet", "version": "2"}
    part = {name: value for name, value in whole.items() if name != lacking}

    found = predict.fetch_model_run_id(f"manual__{uuid4()}", inlet_events(MODEL_EVALUATED, whole, part))

    assert {name: found[name] for name in whole} == whole


@pytest.mark.parametrize(
    ("illustration", "files", "chosen"),
    [
        ("", [], None),
        ("house.png", ["house.png"], "house.png"),
        ("house.png", ["house.png", "house.jpeg"], "house.jpeg"),
    ],
)
def test_a_photograph_replaces_the_drawing_beside_the_chart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, illustration: str, files: list[str], chosen: str | None
) -> None:
    monkeypatch.setattr(predict, "PROBLEM", replace(HOUSES, illustration=illustration))
    monkeypatch.setattr(predict, "INCLUDE", tmp_path)
    for name in files:
        (tmp_path / name).write_bytes(b"image")

    found = predict._illustration()

    assert (found.name if found else None) == chosen
