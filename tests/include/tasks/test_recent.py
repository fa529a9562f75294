"""The rows that monitoring compares and counts, in the real S3 and MLflow."""

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowSkipException

from include.data.split import select_training
from include.monitoring.drift import measure_drift
from include.services import storage
from include.spec import SPLIT, Category
from include.tasks import feature_eng, recent, served

from ...toy import AREA, DISTRICT, HOUSES, make_rows
from ..conftest import make_table

# Folders of these tests alone: those of the DAGs have objects of other tests.
PREDICTED, LABELS = "s3://data/recent/predictions", "s3://data/recent/labelled"


@pytest.fixture(autouse=True)
def _toy_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (recent, feature_eng, served):
        monkeypatch.setattr(module, "PROBLEM", HOUSES)
    monkeypatch.setattr(served, "REQUESTS", "s3://data/recent/requests")
    monkeypatch.setattr(recent, "PREDICTIONS", Asset("recent_predictions", uri=PREDICTED))
    monkeypatch.setattr(recent, "PUBLISHED", f"{PREDICTED}/incoming")
    monkeypatch.setattr(recent, "REJECTED", "s3://data/recent/rejected")
    monkeypatch.setattr(feature_eng, "LABELLED", Asset("recent_labelled", uri=LABELS))


@pytest.fixture(autouse=True)
def _no_objects(buckets: None) -> Iterator[None]:
    """Delete what these tests write, before and after each."""
    storage.delete_folder("s3://data/recent")
    yield
    storage.delete_folder("s3://data/recent")


@pytest.fixture(scope="session")
def table(houses: pd.DataFrame, buckets: None) -> str:
    """The champion's feature table."""
    return storage.write_table(houses, "s3://data/unit-monitor/known.parquet")


def new_rows(area: float) -> pd.DataFrame:
    """Three rows that the toy table does not have."""
    return make_rows(3).assign(**{AREA: [area, area + 0.1, area + 0.2]})


def write_predicted(rows: pd.DataFrame, run: str) -> None:
    """Write rows as ``predict`` does: their inputs, indexed by the id."""
    storage.write_table(rows.set_index("address")[HOUSES.inputs], f"{PREDICTED}/{run}/rows.parquet", index=True)


def areas(rows: pd.DataFrame) -> list[float]:
    """The areas below 30 m², which only these tests write."""
    return sorted(area for area in rows[AREA] if area < 30)


def test_recent_inputs_are_those_of_predict_and_of_incoming_files_without_known_rows(
    houses: pd.DataFrame, table: str
) -> None:
    inputs = houses.set_index("address")[HOUSES.inputs]
    with_new = pd.concat([inputs, new_rows(20).set_index("address")[HOUSES.inputs]])
    storage.write_table(with_new, f"{PREDICTED}/unit-1/rows.parquet", index=True)
    write_predicted(new_rows(20), "unit-2")
    storage.write_table(new_rows(25).assign(predicted=300.0), f"{PREDICTED}/incoming/unit/new.csv")
    storage.write_table(new_rows(28), f"{PREDICTED}/unit-1/{HOUSES.predictions_file}")

    found = recent.read_recent_inputs(recent.read_known(table), days=1)

    assert areas(found) == [20, 20.1, 20.2, 25, 25.1, 25.2]
    assert found.columns.tolist() == ["address", *HOUSES.inputs]


@pytest.mark.parametrize("row_id", ["address", None])
def test_rows_that_the_model_server_answered_all_count(
    houses: pd.DataFrame, table: str, monkeypatch: pytest.MonkeyPatch, row_id: str | None
) -> None:
    problem = replace(HOUSES, row_id=row_id)
    for module in (recent, served):
        monkeypatch.setattr(module, "PROBLEM", problem)
    rows = houses[HOUSES.inputs].head(3).assign(prediction_id=["a-1", "a-2", "b-1"], predicted=300.0)
    storage.write_table(rows, f"{served.REQUESTS}/2026-11-26/120000-0123abcd.parquet")
    storage.write_table(rows.drop(columns=AREA), f"{served.REQUESTS}/2026-11-26/120001-0123abcd.parquet")
    known = recent.read_known(storage.write_table(make_table(make_rows(), problem), "s3://data/recent/known.parquet"))

    found = recent.read_recent_inputs(known, days=1)

    assert found.columns.tolist() == [problem.id, *HOUSES.inputs]
    assert len(found) == 3
    assert recent.read_recent_inputs(known, days=0).empty
    if row_id:
        assert found["address"].tolist() == ["a-1", "a-2", "b-1"]


def test_of_many_rows_the_same_are_drawn_each_time_and_none_that_is_known(
    houses: pd.DataFrame, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also from the parts in which ``predict`` writes a large table."""
    new = make_rows(60, seed=1).assign(address=[f"new {row}" for row in range(60)])
    every = pd.concat([houses[["address", *HOUSES.inputs]], new]).set_index("address")[HOUSES.inputs]
    for name, rows in {"rows": every.head(90), "rows-2": every[90:130], "rows-3": every[130:]}.items():
        storage.write_table(rows, f"{PREDICTED}/unit-1/{name}.parquet", index=True)
    known = recent.read_known(table)
    everything = recent.read_recent_inputs(known, days=1)["address"]
    monkeypatch.setattr(recent, "MAX_ROWS", 12)

    drawn = recent.read_recent_inputs(known, days=1)["address"].tolist()

    assert len(everything) == 60
    assert len(drawn) == 12
    assert set(drawn) < set(everything)
    storage.move(f"{PREDICTED}/unit-1/rows-3.parquet", f"{PREDICTED}/unit-0/rows.parquet")
    assert set(recent.read_recent_inputs(known, days=1)["address"]) == set(drawn)


def test_only_the_newest_objects_are_read_if_there_are_too_many(
    table: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for area in (20, 25):
        storage.write_table(new_rows(area), f"{PREDICTED}/incoming/unit/{area}.csv")
    storage.write_bytes(b" " * 10_000, f"{PREDICTED}/unit/z.png")  # which has no rows
    listed = storage.list_details(PREDICTED)
    later = {uri: n for n, uri in enumerate(sorted(uri for uri, *_ in listed))}
    details = {PREDICTED: [(u, size, at + pd.Timedelta(later[u], "s")) for u, size, at in listed]}
    monkeypatch.setattr(storage, "list_details", lambda uri: details.get(uri, []))
    monkeypatch.setattr(recent, "MAX_BYTES", max(size for uri, size, _ in listed if uri.endswith(".csv")))

    assert areas(recent.read_recent_inputs(recent.read_known(table), days=1)) == [25, 25.1, 25.2]
    assert "1 objects are older than the newest" in caplog.text


def test_categories_that_look_like_numbers_are_read_as_they_were_predicted(
    table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    district, _, *numbers = HOUSES.features
    monkeypatch.setattr(
        recent, "PROBLEM", replace(HOUSES, features=(district, Category("index", nullable=True), *numbers))
    )
    predicted = new_rows(20).assign(index=["007", "1.50", None], predicted=300.0)
    storage.write_table(predicted, f"{PREDICTED}/incoming/unit/new.csv")

    found = recent.read_recent_inputs(recent.read_known(table), days=1)

    assert found.loc[found[AREA] < 30, "index"].tolist() == ["007", "1.50", pytest.approx(np.nan, nan_ok=True)]


@pytest.mark.parametrize("row_id", ["address", None])
def test_recent_rows_of_a_few_settings_are_not_drift(monkeypatch: pytest.MonkeyPatch, row_id: str | None) -> None:
    coarse = replace(HOUSES, row_id=row_id)
    monkeypatch.setattr(recent, "PROBLEM", coarse)

    def sample(seed: int, count: int) -> pd.DataFrame:
        rows = make_rows(count, seed).assign(address=[f"{seed}-{row}" for row in range(count)])
        return rows.assign(**{AREA: rows[AREA].round(-2) + 50})

    known = make_table(sample(1, 600), coarse)
    rows = sample(2, 200)
    storage.write_table(rows.assign(predicted=300.0), f"{PREDICTED}/incoming/unit/new.csv")

    table = storage.write_table(known, "s3://data/recent/known.parquet")
    found = recent.read_recent_inputs(recent.read_known(table), days=1)

    assert len(found) == 200
    training = select_training(known, coarse)
    assert not measure_drift(training, found, coarse, alpha=0.02, min_psi=0.25)["drifted"].any()


def test_rows_of_another_problem_are_left_out_and_logged(table: str, caplog: pytest.LogCaptureFixture) -> None:
    storage.write_table(pd.DataFrame({"sepal length": [5.1]}), f"{PREDICTED}/unit-1/rows.parquet")
    write_predicted(new_rows(20), "unit-2")

    assert areas(recent.read_recent_inputs(recent.read_known(table), days=1)) == [20, 20.1, 20.2]
    assert f"Left out: {PREDICTED}/unit-1/rows.parquet lacks address, index, lambda, {AREA}, {DISTRICT}" in caplog.text


def test_older_objects_are_not_recent(table: str) -> None:
    storage.write_table(new_rows(20), f"{PREDICTED}/incoming/unit/new.csv")
    storage.write_table(new_rows(20), f"{LABELS}/unit/new.csv")

    assert recent.read_recent_inputs(recent.read_known(table), days=0).empty
    assert recent.read_recent_labelled(recent.read_known(table), days=0).empty


def test_labelled_rows_are_read_as_for_training(table: str, caplog: pytest.LogCaptureFixture) -> None:
    new_rows(25).to_parquet(content := BytesIO(), index=False)
    storage.write_bytes(content.getvalue(), f"{LABELS}/unit/new.parquet")
    storage.write_table(new_rows(20).assign(price=[360.0, np.nan, 99_999]), f"{LABELS}/unit/new.csv")
    storage.write_table(new_rows(28).drop(columns="lambda"), f"{LABELS}/unit/old.csv")

    labelled = recent.read_recent_labelled(recent.read_known(table), days=1)

    assert areas(labelled) == [20, 25, 25.1, 25.2]
    assert {*HOUSES.inputs, "price"} <= set(labelled)
    assert f"Left out: {LABELS}/unit/old.csv cannot be used:\ncolumn lambda is missing" in caplog.text
    assert "price: 99999 is impossible" in caplog.text


def test_a_champion_of_another_table_is_not_compared(houses: pd.DataFrame, buckets: None) -> None:
    uri = storage.write_table(houses.drop(columns=[AREA, SPLIT]), "s3://data/unit-monitor/other.parquet")

    with pytest.raises(AirflowSkipException, match=r"other\.parquet lacks _split, living area"):
        recent.read_known(uri)
    with pytest.raises(AirflowSkipException, match=r"gone\.parquet is gone"):
        recent.read_known("s3://data/unit-monitor/gone.parquet")


def test_rejected_files_are_counted_without_those_that_say_why() -> None:
    for name in ("1.csv", "1.csv.reason.txt", "2.csv", "2.csv.reason.txt"):
        storage.write_bytes(b"x", f"{recent.REJECTED}/{name}")

    assert [recent.count_rejected(days) for days in (1, 0)] == [2, 0]


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The problem's table, which ``feature_eng`` reads."""
    problem = replace(HOUSES, table=str(tmp_path / "houses.csv"))
    monkeypatch.setattr(feature_eng, "PROBLEM", problem)
    make_rows().to_csv(problem.table, index=False)
    return Path(problem.table)


@pytest.fixture
def version(houses: pd.DataFrame, buckets: None) -> dict[str, object]:
    """A version that was trained on the toy table."""
    uri = storage.write_table(houses, "s3://data/unit-monitor/features.parquet")
    return {"version": "1", "tags": [{"key": "features_uri", "value": uri}]}


def test_there_is_nothing_to_learn_from_the_rows_that_a_version_was_trained_on(
    source: Path, version: dict[str, object]
) -> None:
    storage.write_table(make_rows().head(60), f"{LABELS}/unit/same.csv")

    assert recent.count_new_rows(version) == 0


def test_rows_of_labelled_files_and_of_the_table_are_new_to_a_version_that_lacks_them(
    source: Path, version: dict[str, object]
) -> None:
    """Numbered from 1 as field files are: monitoring counts the rows that training adds, all but the held out ones."""
    others = make_rows(60, seed=1)
    storage.write_table(others, f"{LABELS}/unit/other.csv")
    built = pd.concat(feature_eng.build_table())

    assert len(built) == 120 + 60
    assert recent.count_new_rows(version) == len(select_training(built, HOUSES)) - len(
        select_training(make_table(make_rows()), HOUSES)
    )
    pd.concat([make_rows(), others.assign(address=others["address"] + " b")]).to_csv(source, index=False)
    storage.delete(f"{LABELS}/unit/other.csv")
    assert 30 < recent.count_new_rows(version) < 60


def test_every_row_is_new_to_a_version_of_another_table(source: Path) -> None:
    gone = {"version": "1", "tags": [{"key": "features_uri", "value": "s3://data/unit-monitor/gone.parquet"}]}

    assert recent.count_new_rows(gone) == len(select_training(pd.concat(feature_eng.build_table()), HOUSES))
