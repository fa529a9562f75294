import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from include.problem import PROBLEM
from include.services import lineage, storage

from ...network import free_port

pytestmark = pytest.mark.usefixtures("buckets")

TABLE = pd.DataFrame({"id": [3, 1], "age": [2.5, None], "sex": ["f", "m"]}, index=[7, 9])
Reconnect = Callable[..., str]


@pytest.fixture
def reconnect(services: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Reconnect:
    """Changes the connection to S3 for one test; the returned address is that of the server."""

    def change(endpoint_url: str | None = None, **changes: str) -> str:
        connection = json.loads(services["AIRFLOW_CONN_AWS_DEFAULT"]) | changes
        connection["extra"]["endpoint_url"] = endpoint_url or connection["extra"]["endpoint_url"]
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
        return connection["extra"]["endpoint_url"]

    return change


@pytest.mark.parametrize("index", [False, True])
def test_a_table_is_written_with_its_index_if_asked_for(index: bool) -> None:
    table = TABLE.set_index("id") if index else TABLE
    csv, parquet = (
        storage.write_table(table, f"s3://data/storage/table.{kind}", index=index) for kind in ("csv", "parquet")
    )

    assert storage.read_bytes(csv) == b"id,age,sex\n3,2.5,f\n1,,m\n"
    pd.testing.assert_frame_equal(storage.read_table(parquet), table if index else table.reset_index(drop=True))


def make_batches(count: int = 3) -> list[pd.DataFrame]:
    return [TABLE.assign(id=TABLE["id"] + 10 * number).reset_index(drop=True) for number in range(count)]


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_batches_are_one_table(suffix: str) -> None:
    uris = [f"s3://data/storage/{name}.{suffix}" for name in ("batches", "whole")]

    storage.write_batches(iter(make_batches()), uris[0])
    storage.write_table(pd.concat(make_batches()), uris[1])

    if suffix == "csv":
        assert storage.read_bytes(uris[0]) == storage.read_bytes(uris[1])
    else:
        pd.testing.assert_frame_equal(*map(storage.read_table, uris))


def test_a_table_is_read_in_batches_of_the_columns_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "BATCH_ROWS", 2)
    uri = storage.write_table(pd.concat(make_batches()), "s3://data/storage/rows.parquet")

    batches = list(storage.read_batches(uri, ["sex", "id"]))

    assert [batch.to_dict("list") for batch in batches] == [
        {"sex": ["f", "m"], "id": [3 + more, 1 + more]} for more in (0, 10, 20)
    ]


def test_a_table_without_rows_is_one_batch_without_rows() -> None:
    (batch,) = storage.read_batches(storage.write_table(TABLE.head(0), "s3://data/storage/empty.parquet"))

    pd.testing.assert_frame_equal(batch, TABLE.head(0), check_index_type=False)


def test_the_index_of_a_table_comes_back_in_batches() -> None:
    table = TABLE.set_index("sex")

    (batch,) = storage.read_batches(storage.write_table(table, "s3://data/storage/named.parquet", index=True))

    pd.testing.assert_frame_equal(batch, table)


def test_a_column_may_be_empty_in_the_first_batch() -> None:
    first, second = make_batches(2)

    uri = storage.write_batches([first.assign(sex=None), second], "s3://data/storage/late.parquet")

    assert storage.read_table(uri)["sex"].fillna("-").tolist() == ["-", "-", "f", "m"]


def fail_after_one_batch() -> Iterator[pd.DataFrame]:
    yield TABLE
    raise RuntimeError("stopped")


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (fail_after_one_batch, "stopped"),
        (lambda: [TABLE, TABLE.rename(columns={"age": "years"})], "a batch has the columns .*years"),
        (lambda: [TABLE, TABLE.assign(id=1.5)], "1.5.* truncated"),
    ],
    ids=["an error", "another column", "another type"],
)
@pytest.mark.parametrize("before", [b"what was there", None])
def test_a_table_is_published_whole_or_not_at_all(make: Callable[[], Any], error: str, before: bytes | None) -> None:
    uri = "s3://data/storage/half.parquet"
    storage.write_bytes(before, uri) if before else storage.delete(uri)

    with pytest.raises((RuntimeError, ValueError), match=error):
        storage.write_batches(make(), uri)

    assert (storage.read_bytes(uri) if storage.exists(uri) else None) == before


def test_the_lineage_of_batches_is_that_of_the_table() -> None:
    lineage.take()
    uri = storage.write_batches(make_batches(), "s3://data/storage/noted.parquet")
    written = lineage.take()
    list(storage.read_batches(uri))

    (table,) = written.outputs.values()
    assert table == lineage.describe(pd.concat(make_batches()))
    assert lineage.take().inputs == written.outputs


def test_an_object_is_a_file_of_which_parts_are_read() -> None:
    file = storage.open_object(storage.write_bytes(b"0123456789", "s3://data/storage/ranges"))

    assert (file.read(3), file.tell(), file.seek(-2, 2), file.read(), file.read()) == (b"012", 3, 8, b"89", b"")


def test_an_object_that_is_replaced_while_it_is_read_is_an_error() -> None:
    file = storage.open_object(storage.write_bytes(b"first", "s3://data/storage/replaced"))
    storage.write_bytes(b"second", "s3://data/storage/replaced")

    with pytest.raises(storage.StorageError, match="s3://data/storage/replaced was replaced"):
        file.read()


def test_objects_are_listed_by_folder_and_by_age() -> None:
    folder, now, hour = "s3://data/storage/listed", datetime.now(UTC), timedelta(hours=1)
    uris = sorted(storage.write_bytes(b"1", f"{folder}/{name}") for name in ("b", "a/c"))
    storage.write_bytes(b"1", f"{folder}-not/d")

    assert storage.list_objects(folder) == storage.list_objects(folder, since=now - hour) == uris
    assert storage.list_objects(folder, since=now + hour) == []


def test_tables_are_listed_without_other_files() -> None:
    names = ("a.csv", "b.parquet", "C.CSV", "notes.txt", "a.csv.reason.txt")
    uris = [storage.write_bytes(b"1", f"s3://data/storage/tables/{name}") for name in names]

    assert storage.list_tables("s3://data/storage/tables") == sorted(uris[:3])


def test_a_folder_is_deleted_without_those_whose_names_begin_alike() -> None:
    inside = [storage.write_bytes(b"1", f"s3://data/storage/folder/{name}") for name in ("a", "b/c")]
    beside = storage.write_bytes(b"1", "s3://data/storage/folder-2/a")

    assert storage.delete_folder("s3://data/storage/folder") == inside
    assert storage.delete_folder("s3://data/storage/folder") == []
    assert storage.exists(beside)


@pytest.mark.parametrize("uri", ["s3://data/storage/absent", "s3://no-such-bucket/table.parquet"])
def test_a_missing_object_or_bucket_is_named_with_connection_and_server(reconnect: Reconnect, uri: str) -> None:
    server = reconnect()

    with pytest.raises(storage.StorageError, match=f"{uri} on {server} .*aws_default.*"):
        storage.read_table(uri)
    with pytest.raises(storage.StorageError, match=f"s3://no-such-bucket/a on {server} .*aws_default.*NoSuchBucket"):
        storage.write_bytes(b"bytes", "s3://no-such-bucket/a")


def test_a_wrong_key_is_an_error_without_the_key(reconnect: Reconnect) -> None:
    server = reconnect(password="not-the-secret-key")

    with pytest.raises(storage.StorageError, match=f"s3://data/storage/a on {server} .*aws_default") as caught:
        storage.write_bytes(b"bytes", "s3://data/storage/a")
    assert "not-the-secret-key" not in str(caught.value)


@pytest.mark.parametrize(
    "use", [storage.read_bytes, lambda uri: storage.write_bytes(b"bytes", uri)], ids=["reading", "writing"]
)
def test_a_server_that_is_down_is_named_within_a_minute(reconnect: Reconnect, use: Callable[[str], Any]) -> None:
    dead_server = reconnect(endpoint_url=f"http://127.0.0.1:{free_port()}")
    started = time.monotonic()

    with pytest.raises(storage.StorageError, match=f"s3://data/storage/a on {dead_server} .*aws_default"):
        use("s3://data/storage/a")
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("name", ["what?.csv", "a#b", "100%", "100%20 .csv", "a+b&c=d;e", "ä漢😀", "[x]:y", "a.csv?x"])
def test_a_key_is_taken_as_it_is(name: str) -> None:
    uri, copied = f"s3://data/storage/odd/{name}", f"s3://data/storage/copied/{name}"
    neighbour = storage.write_bytes(b"another", "s3://data/storage/odd/a.csv")

    storage.write_bytes(b"bytes", uri)

    assert uri in storage.list_objects("s3://data/storage/odd")
    assert storage.read_bytes(uri) == storage.read_bytes(storage.copy(uri, copied)) == b"bytes"
    assert storage.move(copied, f"{copied}.moved") == f"{copied}.moved"
    assert storage.exists(uri)
    assert not storage.exists(copied)
    storage.delete(uri)
    assert storage.list_objects("s3://data/storage/odd") == [neighbour]
    assert storage.delete_folder("s3://data/storage/copied") == [f"{copied}.moved"]


def test_a_uri_without_a_bucket_is_refused() -> None:
    for uri in ("storage/a", "https://data/storage/a", "s3:///a"):
        with pytest.raises(ValueError, match=f"{uri} is not the URI of an object"):
            storage.read_bytes(uri)


def test_an_object_beyond_the_limit_is_not_read() -> None:
    uri = storage.write_bytes(b"x" * 2_100_000, "s3://data/storage/large")

    with pytest.raises(storage.TooLargeError, match=r"s3://data/storage/large has 2\.1 MB, 1\.0 MB is the limit"):
        storage.read_bytes(uri, 1e6)
    assert (storage.read_upload(uri, 1e6) or pytest.fail("it exists"))[0] is None
    assert len(storage.read_bytes(uri, 2.1e6)) == 2_100_000


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        ("mlflow-artifacts:/1/models/m-1/artifacts", f"s3://{PROBLEM.artifact_bucket}/1/models/m-1/artifacts"),
        ("mlflow-artifacts://mlflow:5000/1/models", f"s3://{PROBLEM.artifact_bucket}/1/models"),
        ("s3://elsewhere/1/models/m-1/artifacts", "s3://elsewhere/1/models/m-1/artifacts"),
    ],
)
def test_an_artifact_is_found_in_s3_with_a_server_that_proxies_it_and_without(uri: str, location: str) -> None:
    assert storage.artifact_uri(uri) == location


def test_an_object_is_moved_and_deleted_once() -> None:
    source, target = storage.write_bytes(b"bytes", "s3://data/storage/from"), "s3://data/storage/to"

    assert [storage.move(source, target), storage.move(source, target)] == [target, target]
    assert storage.read_bytes(target) == b"bytes"
    assert not storage.exists(source)
    storage.delete(target)
    storage.delete(target)
    assert not storage.exists(target)


def test_an_upload_is_deleted_unless_it_was_replaced() -> None:
    uri = storage.write_bytes(b"first", "s3://data/storage/upload")
    content, written, etag = storage.read_upload(uri, 1000) or pytest.fail("it exists")
    storage.write_bytes(b"second", uri)

    assert (content, written.tzinfo is not None) == (b"first", True)
    assert not storage.delete_upload(uri, etag)
    assert storage.read_bytes(uri) == b"second"
    _, _, etag = storage.read_upload(uri, 1000) or pytest.fail("it exists")
    assert storage.delete_upload(uri, etag)
    assert storage.delete_upload(uri, etag)  # it does not exist any more
    assert storage.read_upload(uri, 1000) is None
