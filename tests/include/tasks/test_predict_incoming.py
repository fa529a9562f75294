"""Files of new rows, in the real S3."""

import math
import random
import re
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pandas as pd
import pytest
from airflow.sdk.exceptions import AirflowSkipException

from include.services import champions, storage
from include.services.alerts import Alert
from include.services.assets import PREDICTIONS
from include.spec import Problem
from include.tasks import predict_incoming as incoming
from include.tasks.predict_incoming import check_rows, claim_files, name_upload, save_predictions, settle_files

from ...toy import AREA, DISTRICT, HOUSES, in_csv, make_rows
from ..conftest import Registered

pytestmark = pytest.mark.usefixtures("buckets")

NOON = datetime(2026, 11, 21, 12, 0, 5, tzinfo=UTC)
MODEL = {"version": "3", "run_id": "r1", "alias": "champion"}
RUN = "manual__unit-incoming"


def new_rows() -> pd.DataFrame:
    return make_rows(3).drop(columns="price")


def killed(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def problem(monkeypatch: pytest.MonkeyPatch) -> Problem:
    """The toy problem, and empty folders that no watcher of an Airflow observes."""
    monkeypatch.setattr(incoming, "PROBLEM", HOUSES)
    root = f"s3://data/tests-{uuid4().hex[:8]}"
    for name in ("INBOX", "PROCESSING", "PROCESSED", "REJECTED", "PUBLISHED", "FAILED"):
        monkeypatch.setattr(incoming, name, f"{root}/{name.lower()}")
    return HOUSES


def upload(name: str = "new.csv", content: bytes | None = None) -> str:
    return storage.write_bytes(in_csv(new_rows()) if content is None else content, f"{incoming.INBOX}/{name}")


def claim(name: str = "new.csv", content: bytes | None = None) -> str:
    """Upload a file and claim it."""
    upload(name, content)
    (claimed,) = claim_files()
    return claimed


def predict(rows_uri: str, **columns: Any) -> str:
    """Predict a price of 300 for every row, as ``run_prediction`` writes it."""
    values = {"prediction": 300.0, "lower": 260.0, "upper": 340.0} | columns
    predicted = pd.DataFrame(values, storage.read_table(rows_uri).index)
    return storage.write_table(predicted, f"{rows_uri}.predicted.parquet", index=True)


def publish(claimed: str, events: dict[Any, Any] | None = None) -> str:
    """Run the tasks of one file."""
    rows_uri = check_rows(claimed, RUN)
    outlet_events = {PREDICTIONS: SimpleNamespace(extra={})} if events is None else events
    return save_predictions(claimed, rows_uri, predict(rows_uri), MODEL, outlet_events)


def test_every_file_is_taken_out_of_the_folder() -> None:
    upload("a.csv")
    upload("b.csv")

    claimed = claim_files()

    assert [uri.startswith(f"{incoming.PROCESSING}/{stem}-2") for uri, stem in zip(claimed, "ab", strict=True)] == [
        True,
        True,
    ]
    assert storage.list_objects(incoming.INBOX) == []
    assert claimed == claim_files(), "files of a run that was killed are claimed by the next one"


def test_files_wait_while_there_is_no_version_to_predict_them(
    monkeypatch: pytest.MonkeyPatch, sent: list[Alert]
) -> None:
    monkeypatch.setattr(champions, "MODEL", f"no model {uuid4()}")
    claimed = claim()

    with pytest.raises(AirflowSkipException, match=r"has no version yet: trigger feature_eng.*files wait in"):
        incoming.choose_model()
    settle_files([claimed], None, RUN)

    assert claim_files() == [claimed]
    assert sent == []


def test_files_wait_while_the_champion_takes_other_inputs(
    registered: Registered, monkeypatch: pytest.MonkeyPatch, sent: list[Alert]
) -> None:
    registered.promote("1")
    monkeypatch.setattr(champions, "PROBLEM", HOUSES)
    claimed = claim()

    for run in ("first", "second", "third"):
        with pytest.raises(champions.OtherInputsError, match=r"version 1 takes other inputs than"):
            incoming.choose_model()
        settle_files([claimed], None, run)

    assert claim_files() == [claimed]
    assert sent == []


def test_a_file_is_claimed_once_by_a_task_that_was_killed_before_it_deleted_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upload()
    with monkeypatch.context() as patch:
        patch.setattr(storage, "delete_upload", killed)
        with pytest.raises(KeyboardInterrupt):
            claim_files()

    assert len(claim_files()) == 1
    assert storage.list_objects(incoming.INBOX) == []


def test_a_file_uploaded_again_while_it_is_claimed_is_another_file(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_more_files_than_a_run_can_map_over_wait_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "BATCH", 2)
    for name in "abc":
        upload(f"{name}.csv")

    assert len(claim_files()) == 2
    assert len(storage.list_objects(incoming.INBOX)) == 1


@pytest.mark.parametrize(
    "other",
    [("x-a.csv", NOON.replace(second=6), b"rows"), ("x-a.csv", NOON, b"others"), ("x/a.csv", NOON, b"rows")],
    ids=["another time", "another content", "another folder"],
)
def test_another_upload_has_another_name(other: tuple[str, datetime, bytes]) -> None:
    name = name_upload(*other)

    assert name != name_upload("x-a.csv", NOON, b"rows")
    assert "/" not in name


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("new.xlsx", in_csv(new_rows()), "is not a table: its name must end in .csv or .parquet"),
        ("new", in_csv(new_rows()), "is not a table: its name must end in .csv or .parquet"),
        ("new.csv", b"", "is empty: write a header and rows"),
        ("new.csv", b"\x00\x01" * 9, "has no rows"),
        ("new.parquet", in_csv(new_rows()), "is not a Parquet file"),
        ("new.csv", in_csv(new_rows().head(0)), "has no rows: add some below the header"),
        ("new.csv", in_csv(new_rows().assign(**{DISTRICT: "west"})), f"row 2, column {DISTRICT}: west is not one of"),
        ("new.csv", in_csv(new_rows().assign(address="x")), "row 2, column address: x occurs more than once"),
    ],
)
def test_a_file_that_cannot_be_used_is_moved_beside_the_reason(name: str, content: bytes, reason: str) -> None:
    claimed = claim(name, content)

    with pytest.raises(AirflowSkipException, match="Moved to"):
        check_rows(claimed, RUN)

    rejected, written = storage.list_objects(incoming.REJECTED)
    assert storage.read_bytes(rejected) == content
    assert written == f"{rejected}.reason.txt"
    assert reason in storage.read_bytes(written).decode()
    assert storage.list_objects(incoming.PROCESSING) == []
    with pytest.raises(AirflowSkipException, match="was processed before"):
        check_rows(claimed, RUN)


def test_predictions_are_published_and_the_file_is_moved() -> None:
    content = in_csv(new_rows())
    claimed = claim(content=content)
    event = SimpleNamespace(extra={})

    uri = publish(claimed, {PREDICTIONS: event})

    name = claimed.rpartition("/")[2]
    published = pd.read_csv(BytesIO(storage.read_bytes(uri)))
    assert uri == f"{incoming.PUBLISHED}/{name}"
    assert event.extra == {"uri": uri, "version": "3", "alias": "champion"}
    pd.testing.assert_frame_equal(
        published,
        new_rows().astype({"lambda": float}).assign(predicted=300.0, lower=260.0, upper=340.0, warnings=math.nan),
    )
    assert storage.read_bytes(f"{incoming.PROCESSED}/{name}") == content
    assert storage.list_objects(incoming.PROCESSING) == []


def test_a_file_of_a_run_that_was_killed_is_published_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    claimed = claim()
    with monkeypatch.context() as patch:
        patch.setattr(storage, "move", killed)
        with pytest.raises(KeyboardInterrupt):
            publish(claimed)

    (again,) = claim_files()
    publish(again)

    written = storage.list_objects(incoming.PUBLISHED)
    assert sorted(uri.rpartition("/")[2].partition(".csv")[2] for uri in written) == ["", ".trace.json"]


def test_a_file_that_was_published_is_not_published_again() -> None:
    claimed = claim()
    rows_uri = check_rows(claimed, RUN)
    publish(claimed)

    with pytest.raises(AirflowSkipException, match="was processed before"):
        save_predictions(claimed, rows_uri, predict(rows_uri), MODEL, {})


def test_a_table_without_an_id_is_published_with_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "PROBLEM", replace(HOUSES, row_id=None))
    rows = new_rows().drop(columns="address")

    published = pd.read_csv(BytesIO(storage.read_bytes(publish(claim(content=in_csv(pd.concat([rows, rows])))))))

    assert published["_row"].is_unique
    assert published["_row"].str.endswith("-2").tolist() == [False] * 3 + [True] * 3


def random_names(count: int) -> list[str]:
    """Names of every length and of characters of every kind, the same ones each time."""
    draw = random.Random(0)
    kinds = ["?#%&+=;:'\"<>[]{}|^`~$ ", "../", "-_.", "\x00\x01\x1f\x7f\n\r\t", "äé漢😀\u202e\ufffe", "abcXYZ019"]
    names = ["".join(draw.choice(draw.choice(kinds)) for _ in range(draw.randint(1, 1024))) for _ in range(count)]
    return [name.encode()[:1015].decode(errors="ignore") for name in names]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".xlsx", "", "/", ".?"])
def test_any_name_becomes_a_name_that_every_store_and_url_can_take(suffix: str) -> None:
    for name in [*random_names(300), "..", ".", "-rf", "/", "x" * 1015, ".csv", "a/../b"]:
        key = f"{name}{suffix}"

        claimed = name_upload(key, NOON, b"rows")

        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", claimed), key
        assert len(claimed) <= 137, key
        assert ".." not in claimed.partition("-2026")[2], key
        assert claimed.endswith((".csv", ".parquet")) == key.endswith((".csv", ".parquet")), key


ODD = ["what?.csv", "what?versionId=null.csv", "part#1.csv", "100%.csv", "100%20.csv", "-rf.csv", "..csv", " .csv"]
ODD += ["tab\tand\nline.csv", "\u202egnp.csv", "Füße 漢字😀.csv", "[x]:{y}.csv", "folder/" * 100 + "deep.csv"]
ODD += ["a.csv", "a.csv?b.csv", f"{'x' * 239}.csv"]


def test_a_file_of_any_name_is_predicted_and_stops_no_other() -> None:
    for name in ODD:
        upload(name)

    uris = {publish(claimed) for claimed in claim_files()}

    assert len(uris) == len(ODD)
    assert all(storage.exists(uri) for uri in uris)
    assert storage.list_objects(incoming.INBOX) == storage.list_objects(incoming.PROCESSING) == []


def test_a_file_that_cannot_be_moved_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck, _ = upload("a.csv"), upload("b.csv")
    claim_one = incoming._claim

    def fail_for_one(uri: str) -> None:
        if uri == stuck:
            raise storage.StorageError(f"{uri} cannot be read")
        claim_one(uri)

    monkeypatch.setattr(incoming, "_claim", fail_for_one)

    (claimed,) = claim_files()

    assert claimed.rpartition("/")[2].startswith("b-")
    assert storage.list_objects(incoming.INBOX) == [stuck]


def test_a_file_that_is_too_large_is_rejected_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "MAX_FILE", 2_000_000)
    claimed = claim(content=b"x" * 2_100_000)

    with pytest.raises(AirflowSkipException, match=r"has 2\.1 MB, 2\.0 MB is the limit: split the file"):
        check_rows(claimed, RUN)

    assert storage.read_bytes(storage.list_objects(incoming.REJECTED)[0]) == b"x" * 2_100_000
    assert storage.list_objects(incoming.PROCESSING) == storage.list_objects(incoming.INBOX) == []


@pytest.mark.parametrize(("name", "write"), [("new.csv", "to_csv"), ("NEW.Parquet", "to_parquet")])
def test_ids_that_are_large_numbers_stay_different(name: str, write: str) -> None:
    rows = new_rows().assign(address=[1e300, 2e300, 3.5])
    getattr(rows, write)(content := BytesIO(), index=False)

    uri = publish(claim(name, content.getvalue()))

    assert uri.endswith(".csv")
    addresses = pd.read_csv(BytesIO(storage.read_bytes(uri)), dtype={"address": str})["address"].tolist()
    assert addresses == ["1e+300", "2e+300", "3.5"]


def test_what_a_prediction_may_suffer_from_is_beside_it() -> None:
    rows_uri = check_rows(claimed := claim(content=in_csv(new_rows().assign(**{AREA: [0.06 * 20, 60, 70]}))), RUN)
    predicted_uri = predict(rows_uri, unseen=["", "split", ""])

    uri = save_predictions(claimed, rows_uri, predicted_uri, MODEL, {PREDICTIONS: SimpleNamespace(extra={})})

    published = pd.read_csv(BytesIO(storage.read_bytes(uri)), keep_default_na=False)
    assert published["warnings"].tolist() == [
        f"{AREA} 1.2 is outside of the expected 20 to 300 m²",
        f"no training row has split {new_rows()[DISTRICT][1]}: the prediction may be wrong, its interval too narrow",
        "",
    ]


@pytest.mark.parametrize(
    ("price", "reason"),
    [(-7251.0, "3 predictions are impossible .*address Street 1: -7251"), (math.nan, "3 rows have no prediction")],
)
def test_an_impossible_prediction_is_not_published(price: float, reason: str) -> None:
    rows_uri = check_rows(claimed := claim(), RUN)

    with pytest.raises(AirflowSkipException, match=reason):
        save_predictions(claimed, rows_uri, predict(rows_uri, prediction=price), MODEL, {})

    assert storage.list_objects(incoming.PUBLISHED) == []
    assert len(storage.list_objects(incoming.REJECTED)) == 2


def test_one_alert_has_all_rejected_files_of_a_run(sent: list[Alert]) -> None:
    upload("bad.csv", b"")
    upload("worse.txt", b"x")
    upload("good.csv")
    uploads = claim_files()
    for claimed in uploads:
        try:
            publish(claimed)
        except AirflowSkipException:
            continue

    settle_files(uploads, MODEL, RUN)
    settle_files([], MODEL, "the next run")

    (alert,) = sent
    assert alert.subject == "2 files of new rows were rejected"
    assert "bad-" in alert.text
    assert "is empty: write a header and rows" in alert.text
    assert "its name must end in .csv or .parquet" in alert.text
    assert "good" not in alert.text


def test_without_a_rejected_file_there_is_no_alert(sent: list[Alert]) -> None:
    publish(claimed := claim())

    settle_files([claimed], MODEL, RUN)
    settle_files(None, None, RUN)

    assert sent == []


def test_a_file_that_three_runs_could_not_predict_is_rejected_with_their_pages(sent: list[Alert]) -> None:
    claimed = claim()
    for run in ("first", "second", "second", "third"):  # the second one was cleared
        assert claim_files() == [claimed]
        settle_files([claimed], MODEL, run)

    assert claim_files() == []
    reason = storage.read_bytes(storage.list_objects(incoming.REJECTED)[1]).decode()
    assert "3 runs could not predict it, the last one with version 3" in reason
    assert all(f"/runs/{run}" in reason for run in ("first", "second", "third"))
    assert [alert.subject for alert in sent] == ["1 files of new rows were rejected"]
    assert storage.list_objects(incoming.FAILED) == []


def test_files_that_fail_starve_no_new_one(monkeypatch: pytest.MonkeyPatch, sent: list[Alert]) -> None:
    monkeypatch.setattr(incoming, "BATCH", 2)
    upload("a.csv")
    upload("b.csv")
    settle_files(claim_files(), MODEL, "first")
    upload("c.csv")
    upload("d.csv")

    assert [uri.rpartition("/")[2][0] for uri in claim_files()] == ["c", "d"]


def test_what_is_known_of_a_failure_is_forgotten_with_the_file(sent: list[Alert]) -> None:
    settle_files([claimed := claim()], MODEL, "first")
    assert len(storage.list_objects(incoming.FAILED)) == 1
    publish(claimed)

    settle_files([claimed], MODEL, "second")

    assert storage.list_objects(incoming.FAILED) == []
