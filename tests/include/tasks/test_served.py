"""The log of the model server, and targets that were measured later, in the real S3."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from airflow.sdk import Asset

from include.data.labelled import check_labelled
from include.data.reading import TableError, parse_rows
from include.services import storage
from include.spec import Number
from include.tasks import served

from ...toy import AREA, DISTRICT, HOUSES, in_csv, in_parquet, make_rows

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


@pytest.mark.parametrize(("suffix", "write"), [("csv", in_csv), ("parquet", in_parquet)])
def test_a_file_of_prediction_ids_and_targets_gets_the_inputs_of_requests(suffix: str, write: Any, log: str) -> None:
    content, uri = write(measured("b-1", "a-1", "unknown")), f"{FOLDER}/labelled/new.{suffix}"

    completed = served.complete(content, uri)

    rows = check_labelled(completed, uri, HOUSES)
    assert rows["address"].tolist() == ["b-1", "a-1"]
    assert rows["price"].tolist() == [400.0, 401.0]
    assert rows[HOUSES.inputs].to_dict("list") == ROWS[HOUSES.inputs].iloc[[2, 0]].to_dict("list")
    storage.delete(log)
    assert check_labelled(served.complete(content, uri), uri, HOUSES).equals(rows), "it is kept when the log is deleted"


def test_rows_that_the_log_lacks_join_when_it_has_them(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = in_csv(measured("a-1", "b-9", "c-1"))

    def read() -> list[str]:
        return parse_rows(served.complete(content, "new.csv"), "new.csv")["prediction_id"].tolist()

    assert read() == ["a-1"]
    assert "new.csv: 2 of its prediction ids are not in the log" in caplog.text
    rows = ROWS[HOUSES.inputs].head(1)
    storage.write_table(rows.assign(prediction_id="b-9"), f"{FOLDER}/requests/2026-11-26/120100-0123abcd.parquet")
    assert read() == ["a-1", "b-9"]
    monkeypatch.setattr(served, "PATIENCE", timedelta(0))
    storage.write_table(rows.assign(prediction_id="c-1"), f"{FOLDER}/requests/2026-11-26/120200-0123abcd.parquet")
    assert read() == ["a-1", "b-9"], "after a day, the log is not searched again"


def test_a_kept_row_that_lacks_a_new_input_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    content = in_csv(measured("a-1"))
    served.complete(content, "new.csv")
    problem = replace(HOUSES, features=(*HOUSES.features, Number("garden")))
    monkeypatch.setattr(served, "PROBLEM", problem)

    with pytest.raises(TableError, match="garden"):
        check_labelled(served.complete(content, "new.csv"), "new.csv", problem)


def test_spaces_around_a_prediction_id_do_not_matter() -> None:
    completed = served.complete(in_csv(measured(" a-1", "b-1 ")), "new.csv")

    assert check_labelled(completed, "new.csv", HOUSES)["address"].tolist() == ["a-1", "b-1"]


def test_a_file_with_inputs_keeps_them_and_gets_the_predictions() -> None:
    own = ROWS.head(2).assign(prediction_id=["a-1", "unknown"], predicted=1.0, **{AREA: [71.0, 72.0]})

    completed = parse_rows(served.complete(in_parquet(own), "new.parquet"), "new.parquet")

    assert completed[AREA].tolist() == [71.0, 72.0]
    assert completed["predicted"].fillna(0).tolist() == [300.0, 0]


def test_other_labelled_files_stay_as_they_are() -> None:
    for content in (in_csv(measured("unknown")), in_csv(ROWS)):
        assert served.complete(content, f"{FOLDER}/labelled/new.csv") == content


def test_measured_rows_have_the_predictions_of_both_versions_and_the_last_file_counts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shadowed = ROWS[HOUSES.inputs].assign(
        prediction_id=["c-1", "c-2", "c-3"], predicted=1.5, _version="3", _challenger="4", _challenger_predicted=2.5
    )
    storage.write_table(shadowed, f"{FOLDER}/requests/2026-11-26/130000-0123abcd.parquet")
    storage.write_table(measured("c-1", "c-2", "c-3", prices=[400, "", 99_999]), f"{FOLDER}/labelled/1.csv")
    storage.write_table(measured("c-1", prices=[410]), f"{FOLDER}/labelled/2.csv")
    storage.write_table(ROWS, f"{FOLDER}/labelled/3.csv")
    storage.write_bytes(b"", f"{FOLDER}/labelled/4.csv")

    (row,) = served.read_measured(SINCE).itertuples(index=False, name=None)

    assert row == ("c-1", 410.0, 1.5, "3", "4", 2.5)
    assert f"Left out: {FOLDER}/labelled/4.csv" in caplog.text


def test_the_files_of_past_days_are_joined_by_their_columns_without_losing_or_repeating_a_row(log: str) -> None:
    today = f"{FOLDER}/requests/{datetime.now(UTC):%Y-%m-%d}"
    for name, ids, columns in (
        (f"{FOLDER}/requests/2026-11-01/115900-1", ["d-1", "d-2", "d-3"], {}),
        (f"{FOLDER}/requests/2026-11-01/120100-2", ["d-3", "e-2", "e-3"], {}),
        (f"{FOLDER}/requests/2026-11-01/120200-3", ["f-1", "f-2", "f-3"], {"_challenger": "4"}),
        (f"{FOLDER}/requests/2026-11-02/120000-4", ["g-1", "g-2", "g-3"], {}),
        (f"{today}/000000-5", ["h-1", "h-2", "h-3"], {}),
        (f"{today}/000100-6", ["i-1", "i-2", "i-3"], {}),
    ):
        storage.write_table(ROWS[HOUSES.inputs].assign(prediction_id=ids, **columns), f"{name}.parquet")
    before = set(storage.list_objects(f"{FOLDER}/requests"))

    served.join_files()

    after = set(storage.list_objects(f"{FOLDER}/requests"))
    (joined,) = after - before
    assert joined.startswith(f"{FOLDER}/requests/2026-11-01/115900-")
    assert before - after == {f"{FOLDER}/requests/2026-11-01/{name}.parquet" for name in ("115900-1", "120100-2")}
    rows = storage.read_table(joined)
    assert rows["prediction_id"].tolist() == ["d-1", "d-2", "d-3", "e-2", "e-3"]
    assert rows[HOUSES.inputs].head(3).to_dict("list") == ROWS[HOUSES.inputs].to_dict("list")
    served.join_files()
    assert set(storage.list_objects(f"{FOLDER}/requests")) == after


def test_files_are_joined_up_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("1", "2", "3"):
        rows = ROWS[HOUSES.inputs].assign(prediction_id=[f"{name}-{row}" for row in range(3)])
        storage.write_table(rows, uri := f"{FOLDER}/requests/2026-11-01/12000{name}-0.parquet")
    monkeypatch.setattr(served, "JOINED", 2.5 * len(storage.read_bytes(uri)))

    served.join_files()

    assert len(storage.list_objects(f"{FOLDER}/requests/2026-11-01")) == 2


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
        storage.write_bytes(in_parquet(rows), f"{FOLDER}/requests/2026-11-26/14000{number}-{random}.parquet")
    monkeypatch.setattr(served, "MAX_FILES", 2)

    (rows,) = served.read_inputs(SINCE)

    assert {name.partition("-")[0] for name in rows["address"]} == {"00000000", "a", "b"}
