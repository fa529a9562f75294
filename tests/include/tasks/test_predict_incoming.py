from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from uuid import uuid4

import pandas as pd
import pytest

from include import config
from include.data.table import TableError
from include.platform import storage
from include.tasks import predict_incoming as incoming
from include.tasks.predict_incoming import (
    NEW_POSSUMS,
    ROWS_ALONE,
    check_rows,
    claim_files,
    finish,
    name_upload,
    read_rows,
    reject,
)

pytestmark = pytest.mark.usefixtures("buckets")

NOON = datetime(2026, 11, 21, 12, 0, 5, tzinfo=UTC)
MODEL = {"version": "3", "run_id": "r1", "alias": "champion"}
Upload = Callable[..., str]


def new_possums() -> pd.DataFrame:
    return pd.read_csv(config.POSSUM_CSV).drop(columns=config.TARGET).head(3)


def killed(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def inbox(monkeypatch: pytest.MonkeyPatch) -> str:
    """Empty folders that no watcher of an Airflow looks into."""
    root = f"s3://data/tests-{uuid4().hex[:8]}"
    for name in ("INBOX", "PROCESSING", "PROCESSED", "REJECTED", "PUBLISHED"):
        monkeypatch.setattr(incoming, name, f"{root}/{name.lower()}")
    return incoming.INBOX


@pytest.fixture
def upload(inbox: str) -> Upload:
    def put(name: str = "new.csv", content: bytes | None = None) -> str:
        return storage.write_bytes(content or new_possums().to_csv(index=False).encode(), f"{incoming.INBOX}/{name}")

    return put


def test_every_file_is_taken_out_of_the_folder(upload: Upload) -> None:
    upload("a.csv")
    upload("b.csv")

    taken = claim_files()

    assert [uri.startswith(f"{incoming.PROCESSING}/{stem}-2") for uri, stem in zip(taken, "ab", strict=True)] == [
        True,
        True,
    ]
    assert storage.list_objects(incoming.INBOX) == []
    assert taken == claim_files()  # left by a run that was killed: the next one takes it over


def test_an_empty_folder_gives_nothing_to_do() -> None:
    assert claim_files() == []


def test_a_task_that_was_killed_before_it_deleted_the_file_takes_it_once(
    upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload()
    with monkeypatch.context() as patch:
        patch.setattr(storage, "delete_upload", killed)
        with pytest.raises(KeyboardInterrupt):
            claim_files()

    assert len(claim_files()) == 1
    assert storage.list_objects(incoming.INBOX) == []


def test_a_file_uploaded_anew_while_it_is_taken_is_another_file(
    upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(content=b"first")
    write = storage.write_bytes

    def write_and_upload(content: bytes, uri: str) -> str:
        write(b"second", f"{incoming.INBOX}/new.csv")
        return write(content, uri)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_bytes", write_and_upload)
        claim_files()
    assert [storage.read_bytes(uri) for uri in storage.list_objects(incoming.INBOX)] == [b"second"]

    assert sorted(storage.read_bytes(uri) for uri in claim_files()) == [b"first", b"second"]


def test_more_files_than_a_run_can_map_over_wait_for_the_next(upload: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "BATCH", 2)
    for name in "abc":
        upload(f"{name}.csv")

    assert len(claim_files()) == 2
    assert len(storage.list_objects(incoming.INBOX)) == 1


def test_an_upload_is_named_after_file_time_and_content() -> None:
    name = name_upload("new possums.csv", NOON, b"rows")

    assert name.startswith("new-possums-20261121T120005Z-")
    assert name.endswith(".csv")
    assert name == name_upload("new possums.csv", NOON, b"rows")


@pytest.mark.parametrize(
    "other",
    [("a.csv", NOON.replace(second=6), b"rows"), ("a.csv", NOON, b"others"), ("x/a.csv", NOON, b"rows")],
    ids=["another time", "another content", "another folder"],
)
def test_another_upload_has_another_name(other: tuple[str, datetime, bytes]) -> None:
    name = name_upload(*other)

    assert name != name_upload("a.csv", NOON, b"rows")
    assert "/" not in name


def test_the_name_keeps_two_files_apart_that_look_alike_in_it() -> None:
    assert name_upload("a/b.csv", NOON, b"rows") != name_upload("a-b.csv", NOON, b"rows")


def test_rows_come_with_their_types_and_without_foreign_columns(upload: Upload) -> None:
    uri = upload(content=new_possums().assign(remark="hungry", age=[None, 2, 3]).to_csv(index=False).encode())

    rows = read_rows(uri)

    assert list(rows) == [config.CASE, *config.RAW]
    assert rows["case"].tolist() == [1, 2, 3]
    assert rows["age"].isna().tolist() == [True, False, False]
    assert (rows["site"].dtype.kind, rows["hdlngth"].dtype.kind) == ("i", "f")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda text: "", r"new\.csv is no table of comma-separated values"),
        (lambda text: "\x00\x01" * 9, r"new\.csv "),
        (lambda text: text.splitlines()[0] + "\n", r"new\.csv has no rows"),
        (lambda text: text.replace("hdlngth", "head"), "column hdlngth is missing"),
        (lambda text: text.replace("94.1", "long"), "row 2, column hdlngth: long is not a number"),
        (lambda text: text.replace(",f,", ",x,", 1), "row 3, column sex: x must be one of f, m"),
        (lambda text: text.replace("\n2,", "\n1,"), "row 3, column case: 1(.0)? occurs more than once"),
        (lambda text: text.replace("94.1", "-94.1"), r"row 2, column hdlngth: -94.1 is impossible \(0 to 200 mm\)"),
        (lambda text: text.replace("\n2,", "\n2,7,"), r"new\.csv, row 3: 14 cells under a header of 13"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(upload: Upload, spoil: Callable[[str], str], reason: str) -> None:
    storage.write_bytes(spoil(new_possums().to_csv(index=False)).encode(), f"{incoming.INBOX}/new.csv")

    with pytest.raises(TableError, match=reason):
        read_rows(f"{incoming.INBOX}/new.csv")


def test_all_faults_are_told_at_once(upload: Upload) -> None:
    text = new_possums().to_csv(index=False).replace("94.1", "long").replace(",f,", ",x,", 1)

    with pytest.raises(TableError, match=r"(?s)row 2, column hdlngth.*row 3, column sex|row 3.*row 2"):
        read_rows(upload(content=text.encode()))


def test_a_file_of_another_kind_is_refused(upload: Upload) -> None:
    with pytest.raises(TableError, match=r"new\.xlsx is no CSV file: its name must end in \.csv"):
        read_rows(upload("new.xlsx"))


@pytest.mark.parametrize("name", config.NUMERIC)
def test_a_single_animal_may_lack_any_measurement(name: str) -> None:
    row = new_possums().head(1).assign(**{name: None})

    assert check_rows(row, "the file", NEW_POSSUMS)[name].isna().all()


def test_rows_alone_need_no_case_and_are_counted_from_one() -> None:
    rows = new_possums()[config.RAW]

    assert list(check_rows(rows, "the request", ROWS_ALONE)) == list(ROWS_ALONE.columns)
    with pytest.raises(TableError, match="the request cannot be used:\nrow 1, column sex: x must be"):
        check_rows(rows.assign(sex=["x", "f", "m"]), "the request", ROWS_ALONE)
    with pytest.raises(TableError, match="column case is missing"):
        check_rows(rows, "the file", NEW_POSSUMS)


def test_a_rejected_file_lies_beside_its_reason(upload: Upload) -> None:
    upload(content=b"rubbish")
    (taken,) = claim_files()

    target = reject(taken, "it is rubbish")

    assert storage.read_bytes(target) == b"rubbish"
    assert storage.read_bytes(f"{target}.reason.txt") == b"it is rubbish\n"
    assert storage.list_objects(incoming.PROCESSING) == []
    assert reject(taken, "it is rubbish") == target  # once more, by a task that is tried again


def test_predictions_are_published_and_the_file_is_put_away(upload: Upload) -> None:
    content = storage.read_bytes(upload())
    (taken,) = claim_files()
    table = new_possums().assign(predicted=36.0, lower=34.0, upper=38.0)

    uri = finish(taken, table, MODEL)

    name = taken.rpartition("/")[2]
    assert uri == f"{incoming.PUBLISHED}/{name}"
    pd.testing.assert_frame_equal(pd.read_csv(BytesIO(storage.read_bytes(uri))), table)
    assert storage.read_bytes(f"{incoming.PROCESSED}/{name}") == content
    assert storage.list_objects(incoming.PROCESSING) == []


def test_a_run_that_was_killed_before_the_file_was_put_away_leaves_it_for_the_next(
    upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload()
    (taken,) = claim_files()

    with monkeypatch.context() as patch:
        patch.setattr(storage, "move", killed)
        with pytest.raises(KeyboardInterrupt):
            finish(taken, new_possums(), MODEL)
    (again,) = claim_files()
    finish(again, new_possums(), MODEL)

    written = storage.list_objects(incoming.PUBLISHED)
    assert sorted(uri.rpartition("/")[2].partition(".csv")[2] for uri in written) == ["", ".trace.json"]
