"""Tables and files in object storage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from functools import lru_cache
from hashlib import file_digest
from itertools import chain
from math import inf
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError
from fsspec.spec import AbstractBufferedFile

from include.problem import PROBLEM
from include.services.lineage import Table, combine, describe, note_read, note_written
from include.settings import AWS_CONN_ID

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

MEGABYTE = 1_000_000  # bytes
BATCH_ROWS = 250_000  # about 80 MB with 40 columns of numbers


class StorageError(RuntimeError):
    """An object cannot be read or written; the message names it, the connection and the server."""


class TooLargeError(RuntimeError):
    """An object is larger than the caller can take, and was not read; the message names both sizes."""


def write_bytes(content: bytes, uri: str) -> str:
    """Write an object, replacing it if it is there, and return its URI."""
    with _connection(uri) as (hook, bucket, key):
        hook.load_bytes(content, key, bucket, replace=True)
    return uri


def read_bytes(uri: str, limit: float = inf) -> bytes:
    """Return an object's content.

    :raises TooLargeError: it has more bytes than `limit`
    """
    with _connection(uri) as (hook, bucket, key):
        found = hook.get_key(key, bucket)
        if found.content_length > limit:
            size, most = found.content_length / MEGABYTE, limit / MEGABYTE
            raise TooLargeError(f"{uri} has {size:,.1f} MB, {most:,.1f} MB is the limit: split the file")
        return found.get()["Body"].read()


def read_upload(uri: str, limit: float = inf) -> tuple[bytes | None, datetime, str] | None:
    """Return an object's content, when it was written and its entity tag; None if it does not exist.

    :param limit: bytes of content; that of a larger object is not read, but None
    """
    with _connection(uri) as (hook, bucket, key):
        try:
            found = hook.get_conn().get_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise
        with closing(found["Body"]) as body:
            content = body.read() if found["ContentLength"] <= limit else None
        return content, found["LastModified"], found["ETag"]


def delete_upload(uri: str, etag: str) -> bool:
    """Delete an object unless it was replaced since it was read, and return whether it is gone.

    S3 checks the condition; servers that ignore it leave some milliseconds between check and deletion.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html
    """
    with _connection(uri) as (hook, bucket, key):
        client = hook.get_conn()
        try:
            if client.head_object(Bucket=bucket, Key=key)["ETag"] != etag:
                return False
            client.delete_object(Bucket=bucket, Key=key, IfMatch=etag)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 412:
                return False
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
    return True


def copy(source: str, target: str) -> str:
    """Copy an object of any size inside of the server, and return the URI of the copy."""
    bucket, key = _split(source)
    with _connection(target) as (hook, target_bucket, target_key):
        whole = TransferConfig(multipart_threshold=5 * 1024**3)  # what S3 copies in one request
        hook.get_conn().copy({"Bucket": bucket, "Key": key}, target_bucket, target_key, Config=whole)
    return target


def move(source: str, target: str) -> str:
    """Move an object, unless it was moved before, and return its new URI."""
    if exists(source):
        copy(source, target)
        delete(source)
    return target


def exists(uri: str) -> bool:
    """Return whether an object exists."""
    with _connection(uri) as (hook, bucket, key):
        return hook.check_for_key(key, bucket)


def delete(uri: str) -> None:
    """Delete an object, if it exists."""
    with _connection(uri) as (hook, bucket, key):
        hook.delete_objects(bucket, key)


def list_objects(uri: str, since: datetime | None = None) -> list[str]:
    """Return the sorted URIs of all objects below a folder, or of those written after `since`.

    The empty objects whose names end in ``/``, with which some tools mark a folder, are left out.
    """
    return [
        name
        for name, size, written in list_details(uri)
        if (since is None or written >= since) and (size or not name.endswith("/"))
    ]


def list_details(uri: str) -> list[tuple[str, int, datetime]]:
    """Return URI, size in bytes and time of writing of each object below a folder, sorted by URI."""
    with _connection(uri) as (hook, bucket, key):
        found = hook.iter_file_metadata(f"{key.rstrip('/')}/", bucket)
        return [(f"s3://{bucket}/{entry['Key']}", entry["Size"], entry["LastModified"]) for entry in found]


def list_tables(uri: str, since: datetime | None = None) -> list[str]:
    """Return the sorted URIs of the CSV and Parquet objects below a folder."""
    return select_tables(list_objects(uri, since))


def select_tables(names: Iterable[str]) -> list[str]:
    """Return the names of CSV and Parquet files, sorted."""
    return sorted(name for name in names if name.lower().endswith((".csv", ".parquet")))


def delete_folder(uri: str) -> list[str]:
    """Delete all objects below a folder, and return their URIs."""
    delete_all(deleted := list_objects(uri))
    return deleted


def delete_all(uris: Sequence[str]) -> None:
    """Delete objects of one bucket, if they exist, up to a thousand in a request."""
    if uris:
        with _connection(uris[0]) as (hook, bucket, _):
            hook.delete_objects(bucket, [_split(uri)[1] for uri in uris])


def write_table(table: pd.DataFrame, uri: str, *, index: bool = False) -> str:
    """Write a table as Parquet, or as CSV where the URI ends in ``.csv``, and return its URI."""
    return write_batches([table], uri, index=index)


def write_batches(batches: Iterable[pd.DataFrame], uri: str, *, index: bool = False) -> str:
    """Write a table that comes in batches as one object, and return its URI.

    The object appears when it is complete; after an error there is what was there before.

    :param batches: at least one, all with the columns and types of the first; each becomes a row group of Parquet
    :param uri: of a Parquet object, or of a CSV object if it ends in ``.csv``
    :raises ValueError: a batch has other columns
    :raises pyarrow.ArrowException: it has a cell that the type of its column cannot hold
    """
    write, described = _write_csv if uri.endswith(".csv") else _write_parquet, list[Table]()
    with TemporaryFile() as file:
        write(_describe_each(batches, described), file, index)
        file.seek(0)
        with _connection(uri) as (hook, bucket, key):
            hook.load_file_obj(file, key, bucket, replace=True)
    note_written(uri, combine(described))
    return uri


def read_table(uri: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return a Parquet object as a table: these columns, or all if None."""
    import pandas as pd

    table = pd.read_parquet(open_object(uri), columns=columns and list(columns))
    note_read(uri, table)
    return table


def read_batches(uri: str, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
    """Yield columns of a Parquet object, all if None, in tables of up to ``BATCH_ROWS`` rows; at least one table."""
    described: list[Table] = []
    yield from _describe_each(_read_parquet(uri, columns), described)
    note_read(uri, combine(described))


def open_object(uri: str) -> AbstractBufferedFile:
    """Return an object as a file that can be read and sought; only what is read is fetched.

    :raises StorageError: it cannot be read, or was replaced since it was opened
    """
    return _ObjectFile(uri)


def hash_object(uri: str) -> str:
    """Return the SHA-256 of an object's content, which is read piece by piece."""
    with _connection(uri) as (hook, bucket, key), closing(hook.get_key(key, bucket).get()["Body"]) as body:
        return file_digest(body, "sha256").hexdigest()


def artifact_uri(uri: str) -> str:
    """Return where in S3 MLflow keeps an artifact.

    :param uri: ``mlflow-artifacts:/...`` of a server that proxies artifacts, or ``s3://...`` of one that does not
    """
    scheme, _, path = uri.partition(":/")
    if scheme != "mlflow-artifacts":
        return uri
    path = path.removeprefix("/").partition("/")[2] if path.startswith("/") else path  # without the server's address
    return f"s3://{PROBLEM.artifact_bucket}/{path}"


class _ObjectFile(AbstractBufferedFile):
    def __init__(self, uri: str) -> None:
        with _connection(uri) as (hook, bucket, key):
            found = hook.get_conn().head_object(Bucket=bucket, Key=key)
        self._etag = found["ETag"]
        super().__init__(None, uri, size=found["ContentLength"], cache_type="none")

    def _fetch_range(self, start: int, end: int) -> bytes:
        end = min(end, self.size)
        with _connection(self.path) as (hook, bucket, key):
            found = hook.get_conn().get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{end - 1}")
            if found["ETag"] != self._etag:
                raise StorageError(f"{self.path} was replaced while it was read: try again")
            # Without its length, boto3 compares the part with the checksum of the object, which rclone sends.
            return found["Body"].read(end - start)


def _read_parquet(uri: str, columns: Sequence[str] | None) -> Iterator[pd.DataFrame]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(open_object(uri), pre_buffer=True) as file:
        names = list(columns or file.schema_arrow.names)
        for group in range(file.num_row_groups):  # one by one, because what was fetched is kept until the iterator ends
            for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=names):
                yield batch.select(names).to_pandas()
        if not file.metadata.num_rows:
            yield file.schema_arrow.empty_table().select(names).to_pandas()


def _write_parquet(batches: Iterable[pd.DataFrame], file: IO[bytes], index: bool) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    batches = iter(batches)
    first = next(batches)
    schema = _find_schema(first, index)
    with pq.ParquetWriter(file, schema) as writer:
        for batch in chain([first], batches):
            _check_columns(batch, first)
            writer.write_table(pa.Table.from_pandas(batch, schema, preserve_index=index), row_group_size=BATCH_ROWS)


def _find_schema(batch: pd.DataFrame, index: bool) -> pa.Schema:
    """Return the types of a batch; those of columns without a value are text, of which later batches may have some."""
    import pyarrow as pa

    schema = pa.Schema.from_pandas(batch, preserve_index=index)
    for place, field in enumerate(schema):
        if pa.types.is_null(field.type):
            schema = schema.set(place, field.with_type(pa.large_string()))
    return schema


def _write_csv(batches: Iterable[pd.DataFrame], file: IO[bytes], index: bool) -> None:
    first = None
    for batch in batches:
        _check_columns(batch, first := batch if first is None else first)
        batch.to_csv(file, index=index, header=batch is first, mode="wb")


def _check_columns(batch: pd.DataFrame, first: pd.DataFrame) -> None:
    if list(batch) != list(first):
        raise ValueError(f"a batch has the columns {list(batch)}, the first one {list(first)}")


def _describe_each(batches: Iterable[pd.DataFrame], described: list[Table]) -> Iterator[pd.DataFrame]:
    for batch in batches:
        described.append(describe(batch))
        yield batch


@lru_cache(maxsize=1)
def _hook(_described: str | None) -> S3Hook:
    """Return the hook, one for each state of the connection: a new client takes 0.1 s."""
    return S3Hook(aws_conn_id=AWS_CONN_ID)


def _describe_connection() -> str | None:
    try:
        return BaseHook.get_connection(AWS_CONN_ID).get_uri()
    except AirflowNotFoundException:
        return None  # boto3 then finds credentials itself


def _split(uri: str) -> tuple[str, str]:
    """Return bucket and key as they are: a URL parser would cut a key at ``?`` or ``#``."""
    scheme, _, location = uri.partition("://")
    bucket, _, key = location.partition("/")
    if scheme != "s3" or not bucket:
        raise ValueError(f"{uri} is not the URI of an object: it must begin with s3://<bucket>/")
    return bucket, key


@contextmanager
def _connection(uri: str) -> Iterator[tuple[S3Hook, str, str]]:
    hook = _hook(_describe_connection())
    bucket, key = _split(uri)
    try:
        yield hook, bucket, key
    except (BotoCoreError, ClientError) as error:
        server = hook.conn_config.endpoint_url or "AWS"
        raise StorageError(
            f"{uri} on {server} (connection {AWS_CONN_ID}): {error}. Is the server up, and are its keys right?"
        ) from error
