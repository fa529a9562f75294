"""From a table, wherever it is, to the feature table in the real S3 and MLflow."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from airflow.sdk.exceptions import AirflowFailException
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from include.data.identity import hash_table
from include.data.split import select_training
from include.services import storage
from include.services.assets import FEATURES, LABELLED, object_uri
from include.tasks import feature_eng as tasks

from ...toy import AREA, DISTRICT, HOUSES, in_csv, in_parquet, make_rows
from ..conftest import make_table

RUN = "manual__unit-features"
LABELS = f"{LABELLED.uri.rstrip('/')}/unit"

Publish = Callable[..., pd.DataFrame]
Project = Callable[..., str]


@pytest.fixture(autouse=True)
def _only_labels_of_the_test(buckets: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tasks, "LABELLED", SimpleNamespace(uri=LABELS))
    storage.delete_folder(LABELS)
    yield
    storage.delete_folder(LABELS)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Makes a project of the toy problem whose table is a file or an object with this content."""

    def make(content: bytes | None, name: str = "include/houses.csv") -> str:
        monkeypatch.setattr(tasks, "INCLUDE", tmp_path / "include")
        monkeypatch.setattr(tasks, "PROBLEM", replace(HOUSES, table=name))
        (tmp_path / "include").mkdir(exist_ok=True)
        if content is not None and "://" in name:
            storage.write_bytes(content, name)
        elif content is not None:
            (tmp_path / name).write_bytes(content)
        return name

    return make


@pytest.fixture
def publish(experiment_id: str) -> Publish:
    """Runs the tasks one after the other, and returns the published table."""

    def run(event: SimpleNamespace | None = None) -> pd.DataFrame:
        rows_uri = tasks.extract_data(RUN)
        table_uri = tasks.check_data(rows_uri, experiment_id, RUN)
        engineered_uri = tasks.build_features(table_uri, experiment_id, RUN)
        outlet_events = {FEATURES: event or SimpleNamespace(extra={})}
        return storage.read_table(tasks.save_data_to_s3(table_uri, engineered_uri, RUN, outlet_events))

    return run


def last_run(client: MlflowClient, experiment_id: str, name: str) -> Run:
    return client.search_runs([experiment_id], f"attributes.run_name = '{name}'", order_by=["start_time DESC"])[0]


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("include/houses.csv", in_csv),
        ("include/houses.parquet", in_parquet),
        ("s3://data/unit-tables/houses.csv", in_csv),
        ("s3://data/unit-tables/houses.parquet", in_parquet),
    ],
)
def test_the_table_may_be_a_file_or_an_object_of_either_kind(
    project: Project, publish: Publish, name: str, write: Callable[[pd.DataFrame], bytes]
) -> None:
    project(write(make_rows()), name)
    event = SimpleNamespace(extra={})

    table = publish(event)

    assert event.extra == {"uri": object_uri(FEATURES, RUN, "features.parquet")}
    pd.testing.assert_frame_equal(table, make_table(make_rows()))


@pytest.mark.parametrize("folder", ["include/houses/", "s3://data/unit-tables/houses/"])
@pytest.mark.parametrize(("suffix", "write"), [("csv", in_csv), ("parquet", in_parquet)])
def test_the_table_may_be_a_folder_of_parts(
    project: Project,
    publish: Publish,
    tmp_path: Path,
    folder: str,
    suffix: str,
    write: Callable[[pd.DataFrame], bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(storage, "BATCH_ROWS", 20)
    project(None, folder)
    storage.delete_folder("s3://data/unit-tables/houses")
    rows = make_rows()
    save_parts(tmp_path, folder, {f"1.{suffix}": write(rows[:50]), f"sub/2.{suffix}": write(rows[50:])})

    pd.testing.assert_frame_equal(publish(), make_table(rows))


def save_parts(root: Path, folder: str, parts: dict[str, bytes]) -> None:
    for name, content in {**parts, "_SUCCESS": b""}.items():
        if "://" in folder:
            storage.write_bytes(content, f"{folder}{name}")
        else:
            (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (root / folder / name).write_bytes(content)


def test_a_bad_cell_of_a_part_is_named_and_nothing_is_published(
    project: Project, publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "BATCH_ROWS", 20)
    project(None, "include/houses/")
    rows = make_rows().astype({AREA: object})
    rows.loc[70, AREA] = "large"
    save_parts(tmp_path, "include/houses/", {"a.csv": in_csv(rows[:50]), "b.csv": in_csv(rows[50:])})
    storage.delete(object_uri(FEATURES, RUN, "checked.parquet"))

    with pytest.raises(AirflowFailException) as caught:
        publish()

    error = f"include/houses/ cannot be used:\nb.csv, row 22, column {AREA}: large is not a number"
    assert str(caught.value) == error
    assert not storage.exists(object_uri(FEATURES, RUN, "checked.parquet"))


@pytest.mark.parametrize("name", ["include/houses.csv", "s3://data/unit-tables/missing.csv"])
def test_a_missing_table_is_named(project: Project, name: str) -> None:
    storage.delete("s3://data/unit-tables/missing.csv")
    project(None, name)

    remedy = "is missing: put the table there, or change `table` in include/problem.py"
    with pytest.raises(AirflowFailException, match=f"{name} {remedy}"):
        tasks.extract_data(RUN)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "is empty: write a header and rows"), (b"a;b\n1;2\n", "is not separated by commas")],
)
def test_a_table_that_cannot_be_read_is_not_tried_again(project: Project, content: bytes, reason: str) -> None:
    project(content)

    with pytest.raises(AirflowFailException, match=rf"^include/houses\.csv {reason}"):
        tasks.extract_data(RUN)


def test_a_table_with_errors_is_not_tried_again_and_all_checks_are_logged(
    project: Project, publish: Publish, client: MlflowClient, experiment_id: str
) -> None:
    rows = make_rows().astype({AREA: object})
    rows.loc[0, AREA] = "large"
    project(in_csv(rows))

    with pytest.raises(AirflowFailException, match=r"houses\.csv cannot be used:\nrow 2, column living area .*large"):
        publish()

    run = last_run(client, experiment_id, "Data quality")
    assert (run.data.metrics["rows"], run.data.metrics["errors"], run.data.metrics["repairs"]) == (120, 1, 0)
    checks = client.load_table(experiment_id, "data_quality.json", [run.info.run_id])
    assert checks.loc[checks["failures"] > 0, "details"].tolist() == [f"row 2, column {AREA}: large is not a number"]


def test_a_table_with_warnings_is_published_and_they_are_in_the_log(
    project: Project,
    publish: Publish,
    client: MlflowClient,
    experiment_id: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    project(in_csv(make_rows().assign(**{AREA: [310.0, *make_rows()[AREA][1:]]})))

    with caplog.at_level(logging.WARNING):
        assert len(publish()) == 120

    assert f"row 2, column {AREA}: 310.0 is outside of the expected 20 to 300 m²" in caplog.text
    assert last_run(client, experiment_id, "Data quality").data.metrics["warnings"] == 1


def test_what_became_of_labelled_rows_is_in_the_run_data_quality(
    project: Project, publish: Publish, client: MlflowClient, experiment_id: str
) -> None:
    rows = make_rows()
    project(in_csv(rows))
    field = make_rows(60, seed=1)  # numbered from 1 again, as field files are
    storage.write_bytes(in_parquet(field), f"{LABELS}/field.parquet")
    storage.write_bytes(b"by hand", f"{LABELS}/notes.txt")
    storage.write_bytes(in_csv(rows.head(2).assign(price=[rows["price"][0], 77.0])), f"{LABELS}/again.csv")
    storage.write_bytes(in_csv(field.drop(columns=DISTRICT)), f"{LABELS}/broken.csv")

    assert len(publish()) == 180

    run = last_run(client, experiment_id, "Data quality")
    report = client.load_table(experiment_id, "labelled.json", [run.info.run_id])
    shown = [(r.file.rpartition("/")[2], r.outcome.partition(":")[0], r.rows) for r in report.itertuples()]
    assert sorted(shown) == [
        ("again.csv", "left out", 1),
        ("again.csv", "left out", 1),
        ("broken.csv", "cannot be used", 0),
        ("field.parquet", "joined", 60),
    ]
    assert f"column {DISTRICT} is missing" in " ".join(report["outcome"])
    metrics = run.data.metrics
    assert [metrics[f"labelled_{name}"] for name in ("joined", "left_out", "unusable_files")] == [60, 2, 1]


def test_a_labelled_file_of_any_name_joins_and_one_that_is_too_large_is_left_out(
    project: Project, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(in_csv(make_rows()))
    new = make_rows(2, seed=1).assign(address=["Avenue 1", "Avenue 2"])
    storage.write_bytes(in_csv(new.head(1)), f"{LABELS}/what?#100%.csv")
    storage.write_bytes(in_csv(new), f"{LABELS}/large.csv")
    monkeypatch.setattr(tasks, "MAX_FILE", len(in_csv(new)) - 1)

    assert publish()["address"].tolist()[120:] == ["Avenue 1"]


def test_labelled_files_beyond_the_limit_of_rows_are_left_out(
    project: Project, publish: Publish, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    project(in_csv(make_rows()))
    new = make_rows(6, seed=1).assign(address=[f"Avenue {number}" for number in range(6)])
    for name, rows in {"a": new[:2], "b": new[2:5], "c": new[5:]}.items():
        storage.write_bytes(in_csv(rows), f"{LABELS}/{name}.csv")
    monkeypatch.setattr(tasks, "MAX_LABELLED", 3)

    assert publish()["address"].tolist()[120:] == ["Avenue 0", "Avenue 1", "Avenue 5"]
    assert (
        f"{LABELS}/b.csv makes 5 labelled rows, 3 is the limit: add the rows of older files to the table" in caplog.text
    )


def test_nothing_is_fitted_on_a_holdout_row(
    project: Project, publish: Publish, client: MlflowClient, experiment_id: str
) -> None:
    project(in_csv(make_rows()))

    table = publish()

    training = select_training(table, HOUSES)
    assert training.filter(like="feature_").mean().abs().max() < 1e-9
    run = last_run(client, experiment_id, "Scaler")
    assert run.data.params == {"input_rows": str(len(training)), "input_sha256": hash_table(training[HOUSES.inputs])}


def test_the_means_of_the_features_are_metrics_with_names_that_mlflow_accepts(
    project: Project, publish: Publish, client: MlflowClient, experiment_id: str
) -> None:
    project(in_csv(make_rows()))

    training = select_training(publish(), HOUSES)

    means = last_run(client, experiment_id, "Scaler").data.metrics
    assert means["mean_lambda"] == pytest.approx(training["lambda"].mean())
    assert means["mean_split_north"] == pytest.approx((training[DISTRICT] == "north").mean())
    assert len(means) == len(training.filter(like="feature_").columns)


def test_the_experiment_is_created_once_and_found(monkeypatch: pytest.MonkeyPatch, client: MlflowClient) -> None:
    monkeypatch.setattr(tasks, "PROBLEM", replace(HOUSES, experiment="Unit houses"))
    if "Unit houses" not in tasks.list_existing_experiments():
        with pytest.raises(LookupError, match="MLflow has no experiment Unit houses: trigger feature_eng"):
            tasks.get_current_experiment_id()

    created: Any = tasks.create_experiment()

    assert tasks.create_experiment() == created == tasks.get_current_experiment_id()
    assert "Unit houses" in tasks.list_existing_experiments()
