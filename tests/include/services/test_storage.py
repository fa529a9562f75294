from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from include.problem import PROBLEM
from include.services.storage import (
    StorageError,
    TooLargeError,
    artifact_uri,
    copy,
    delete,
    delete_folder,
    delete_upload,
    exists,
    list_objects,
    list_tables,
    move,
    read_bytes,
    read_table,
    read_upload,
    write_bytes,
    write_table,
)

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


@pytest.fixture
def dead_server() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_bytes_come_back_as_they_were() -> None:
    uri = write_bytes(b"\x00bytes\xff", "s3://data/storage/a folder/bytes")

    assert read_bytes(uri) == b"\x00bytes\xff"


def test_writing_again_replaces_the_object() -> None:
    write_bytes(b"first, and longer", "s3://data/storage/twice")
    write_bytes(b"second", "s3://data/storage/twice")

    assert read_bytes("s3://data/storage/twice") == b"second"


def test_a_parquet_table_comes_back_without_its_index() -> None:
    uri = write_table(TABLE, "s3://data/storage/table.parquet")

    assert uri == "s3://data/storage/table.parquet"
    pd.testing.assert_frame_equal(read_table(uri), TABLE.reset_index(drop=True))


def test_a_parquet_table_comes_back_with_its_index_if_asked_for() -> None:
    table = TABLE.set_index("id")

    pd.testing.assert_frame_equal(read_table(write_table(table, "s3://data/storage/index.parquet", index=True)), table)


def test_a_table_whose_name_ends_in_csv_is_written_as_csv() -> None:
    uri = write_table(TABLE, "s3://data/storage/table.csv")

    assert read_bytes(uri) == b"id,age,sex\n3,2.5,f\n1,,m\n"


def test_a_csv_table_has_its_index_if_asked_for() -> None:
    uri = write_table(TABLE.set_index("id"), "s3://data/storage/index.csv", index=True)

    assert read_bytes(uri) == b"id,age,sex\n3,2.5,f\n1,,m\n"


def test_objects_are_listed_by_folder_and_by_age() -> None:
    uris = [write_bytes(b"1", f"s3://data/storage/listed/{name}") for name in ("b", "a/c")]
    write_bytes(b"1", "s3://data/storage/listed-not/d")

    assert list_objects("s3://data/storage/listed") == sorted(uris)
    assert list_objects("s3://data/storage/listed", since=datetime.now(UTC) - timedelta(hours=1)) == sorted(uris)
    assert list_objects("s3://data/storage/listed", since=datetime.now(UTC) + timedelta(hours=1)) == []


def test_tables_are_listed_without_other_files() -> None:
    names = ("a.csv", "b.parquet", "C.CSV", "notes.txt", "a.csv.reason.txt")
    uris = [write_bytes(b"1", f"s3://data/storage/tables/{name}") for name in names]

    assert list_tables("s3://data/storage/tables") == sorted(uris[:3])


def test_a_folder_is_deleted_without_those_whose_names_begin_alike() -> None:
    inside = [write_bytes(b"1", f"s3://data/storage/folder/{name}") for name in ("a", "b/c")]
    beside = write_bytes(b"1", "s3://data/storage/folder-2/a")

    assert delete_folder("s3://data/storage/folder") == inside
    assert delete_folder("s3://data/storage/folder") == []
    assert exists(beside)


@pytest.mark.parametrize("uri", ["s3://data/storage/absent", "s3://no-such-bucket/table.parquet"])
def test_a_missing_object_is_named_with_connection_and_server(reconnect: Reconnect, uri: str) -> None:
    server = reconnect()

    with pytest.raises(StorageError, match=f"{uri} on {server} .*aws_default.*"):
        read_table(uri)


def test_a_bucket_that_does_not_exist_cannot_be_written_to(reconnect: Reconnect) -> None:
    server = reconnect()

    with pytest.raises(StorageError, match=f"s3://no-such-bucket/a on {server} .*aws_default.*NoSuchBucket"):
        write_bytes(b"bytes", "s3://no-such-bucket/a")


def test_a_wrong_key_is_an_error_without_the_key(reconnect: Reconnect) -> None:
    server = reconnect(password="not-the-secret-key")

    with pytest.raises(StorageError, match=f"s3://data/storage/a on {server} .*aws_default") as caught:
        write_bytes(b"bytes", "s3://data/storage/a")
    assert "not-the-secret-key" not in str(caught.value)


@pytest.mark.parametrize("use", [read_bytes, lambda uri: write_bytes(b"bytes", uri)], ids=["reading", "writing"])
def test_a_server_that_is_down_is_named_within_a_minute(
    reconnect: Reconnect, dead_server: str, use: Callable[[str], Any]
) -> None:
    reconnect(endpoint_url=dead_server)
    started = time.monotonic()

    with pytest.raises(StorageError, match=f"s3://data/storage/a on {dead_server} .*aws_default"):
        use("s3://data/storage/a")
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("name", ["what?.csv", "a#b", "100%", "100%20 .csv", "a+b&c=d;e", "ä漢😀", "[x]:y", "a.csv?x"])
def test_a_key_is_taken_as_it_is(name: str) -> None:
    uri, copied = f"s3://data/storage/odd/{name}", f"s3://data/storage/copied/{name}"
    neighbour = write_bytes(b"another", "s3://data/storage/odd/a.csv")

    write_bytes(b"bytes", uri)

    assert uri in list_objects("s3://data/storage/odd")
    assert read_bytes(uri) == read_bytes(copy(uri, copied)) == b"bytes"
    assert move(copied, f"{copied}.moved") == f"{copied}.moved"
    assert exists(uri)
    assert not exists(copied)
    delete(uri)
    assert list_objects("s3://data/storage/odd") == [neighbour]
    assert delete_folder("s3://data/storage/copied") == [f"{copied}.moved"]


def test_a_uri_without_a_bucket_is_refused() -> None:
    for uri in ("storage/a", "https://data/storage/a", "s3:///a"):
        with pytest.raises(ValueError, match=f"{uri} is not the URI of an object"):
            read_bytes(uri)


def test_an_object_beyond_the_limit_is_not_read() -> None:
    uri = write_bytes(b"x" * 2_100_000, "s3://data/storage/large")

    with pytest.raises(TooLargeError, match=r"s3://data/storage/large has 2\.1 MB, 1\.0 MB is the limit"):
        read_bytes(uri, 1e6)
    assert (read_upload(uri, 1e6) or pytest.fail("it exists"))[0] is None
    assert len(read_bytes(uri, 2.1e6)) == 2_100_000


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        ("mlflow-artifacts:/1/models/m-1/artifacts", f"s3://{PROBLEM.artifact_bucket}/1/models/m-1/artifacts"),
        ("mlflow-artifacts://mlflow:5000/1/models", f"s3://{PROBLEM.artifact_bucket}/1/models"),
        ("s3://elsewhere/1/models/m-1/artifacts", "s3://elsewhere/1/models/m-1/artifacts"),
    ],
)
def test_an_artifact_is_found_in_s3_with_a_server_that_proxies_it_and_without(uri: str, location: str) -> None:
    assert artifact_uri(uri) == location


def test_an_object_exists_until_it_is_deleted() -> None:
    uri = write_bytes(b"bytes", "s3://data/storage/short-lived")
    assert exists(uri)

    delete(uri)
    delete(uri)  # of an object that does not exist

    assert not exists(uri)


def test_an_object_is_moved_once() -> None:
    source, target = write_bytes(b"bytes", "s3://data/storage/from"), "s3://data/storage/to"

    assert [move(source, target), move(source, target)] == [target, target]
    assert read_bytes(target) == b"bytes"
    assert not exists(source)


def test_an_upload_that_was_replaced_is_not_deleted() -> None:
    uri = write_bytes(b"first", "s3://data/storage/upload")
    content, written, etag = read_upload(uri, 1000) or pytest.fail("it exists")
    write_bytes(b"second", uri)

    assert (content, written.tzinfo is not None) == (b"first", True)
    assert not delete_upload(uri, etag)
    assert read_bytes(uri) == b"second"


def test_an_upload_that_was_not_replaced_is_deleted() -> None:
    uri = write_bytes(b"first", "s3://data/storage/upload")
    _, _, etag = read_upload(uri, 1000) or pytest.fail("it exists")

    assert delete_upload(uri, etag)
    assert delete_upload(uri, etag)  # it does not exist any more
    assert read_upload(uri, 1000) is None
