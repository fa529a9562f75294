"""The log of the model server, and targets that were measured later, in the real S3."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO

import pandas as pd
import pytest
from airflow.sdk import Asset

from include.data.labelled import check_labelled
from include.services import storage
from include.tasks import served

from ...toy import AREA, DISTRICT, HOUSES, make_rows

FOLDER = "s3://data/unit-served"
SINCE = datetime.now(UTC) - timedelta(days=1)
ROWS = make_rows(3)


@pytest.fixture(autouse=True)
def log(buckets: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A file of the log: the toy table's first rows; returns its URI."""
    monkeypatch.setattr(served, "PROBLEM", HOUSES)
    monkeypatch.setattr(served, "REQUESTS", f"{FOLDER}/requests")
    monkeypatch.setattr(served, "MEASURED", f"{FOLDER}/measured")
    monkeypatch.setattr(served, "LABELLED", Asset("unit_served", uri=f"{FOLDER}/labelled"))
    rows = ROWS[HOUSES.inputs].assign(prediction_id=["a-1", "a-2", "b-1"], predicted=[300.0, 310.0, 320.0])
    yield storage.write_table(rows, f"{FOLDER}/requests/2026-11-26/120000-0123abcd.parquet")
    storage.delete_folder(FOLDER)


def measured(*ids: str, prices: list[object] | None = None) -> pd.DataFrame:
    return pd.DataFrame({"prediction_id": ids, "price": prices or [400.0 + row for row in range(len(ids))]})


def in_format(rows: pd.DataFrame, suffix: str) -> bytes:
    return rows.to_csv(index=False).encode() if suffix == "csv" else rows.to_parquet(index=False)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_file_of_prediction_ids_and_targets_gets_the_inputs_of_the_requests(suffix: str, log: str) -> None:
    content, uri = in_format(measured("b-1", "a-1", "unknown"), suffix), f"{FOLDER}/labelled/new.{suffix}"

    completed = served.complete(content, uri)

    rows = check_labelled(completed, uri, HOUSES)
    assert rows["address"].tolist() == ["b-1", "a-1"]
    assert rows["price"].tolist() == [400.0, 401.0]
    assert rows[HOUSES.inputs].to_dict("list") == ROWS[HOUSES.inputs].iloc[[2, 0]].to_dict("list")
    storage.delete(log)
    assert served.complete(content, uri) == completed, "it is kept when the log is deleted"


def test_prediction_ids_that_the_log_lacks_are_named(caplog: pytest.LogCaptureFixture) -> None:
    served.complete(in_format(measured("a-1", "b-9", "c-1"), "csv"), "new.csv")

    assert "new.csv: 2 of its prediction ids are not in the log" in caplog.text


def test_other_labelled_files_stay_as_they_are() -> None:
    with_inputs = ROWS.assign(prediction_id=["a-1", "a-2", "b-1"]).to_csv(index=False).encode()
    of_others = in_format(measured("unknown"), "csv")

    for content in (with_inputs, of_others, ROWS.to_csv(index=False).encode()):
        assert served.complete(content, f"{FOLDER}/labelled/new.csv") == content
    assert storage.list_objects(served.MEASURED) == []


def test_targets_are_found_by_the_prediction_and_the_last_file_counts(caplog: pytest.LogCaptureFixture) -> None:
    storage.write_table(measured("a-1", "a-2", "b-1", prices=[400, "", 99_999]), f"{FOLDER}/labelled/1.csv")
    storage.write_table(measured("a-1", prices=[410]), f"{FOLDER}/labelled/2.csv")
    storage.write_table(ROWS, f"{FOLDER}/labelled/3.csv")
    storage.write_bytes(b"", f"{FOLDER}/labelled/4.csv")

    assert served.read_targets(SINCE).to_dict() == {"a-1": 410.0}
    assert f"Left out: {FOLDER}/labelled/4.csv" in caplog.text


def test_rows_are_found_by_their_predictions_in_files_that_have_the_columns() -> None:
    shadowed = ROWS[HOUSES.inputs].assign(prediction_id=["c-1", "c-2", "c-3"], predicted=1.0, _challenger="4")
    storage.write_table(shadowed, f"{FOLDER}/requests/2026-11-26/130000-0123abcd.parquet")

    assert served.find({"a-1", "c-2"}, ["predicted"])["prediction_id"].tolist() == ["a-1", "c-2"]
    assert served.find({"a-1", "c-2"}, ["_challenger"])["prediction_id"].tolist() == ["c-2"]
    assert served.find(set(), ["predicted"]).empty


def test_files_from_before_a_column_became_of_another_kind_are_left_out() -> None:
    rows = ROWS[HOUSES.inputs].assign(prediction_id=["c-1", "c-2", "c-3"])
    number, text = ({name: kind} for name, kind in ((DISTRICT, float), (AREA, str)))
    for name, other in (("1", rows.assign(**{DISTRICT: "1"}).astype(number)), ("2", rows.astype(text))):
        storage.write_table(other, f"{FOLDER}/requests/2026-11-26/13000{name}-0123abcd.parquet")

    (found,) = served.read_inputs(SINCE)

    assert sorted(found["address"]) == ["a-1", "a-2", "b-1"]


def test_of_many_files_the_same_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for number, random in enumerate(["ffffffff", "00000000", "88888888"]):
        rows = ROWS[HOUSES.inputs].assign(prediction_id=[f"{random}-{row}" for row in range(3)])
        rows.to_parquet(content := BytesIO(), index=False)
        storage.write_bytes(content.getvalue(), f"{FOLDER}/requests/2026-11-26/14000{number}-{random}.parquet")
    monkeypatch.setattr(served, "MAX_FILES", 2)

    (rows,) = served.read_inputs(SINCE)

    assert {name.partition("-")[0] for name in rows["address"]} == {"00000000", "a", "b"}
