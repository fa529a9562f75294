"""Tables and files in object storage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from functools import lru_cache
from io import BytesIO
from math import inf
from typing import TYPE_CHECKING

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError

from include.problem import PROBLEM
from include.services.lineage import note_read, note_written
from include.settings import AWS_CONN_ID

if TYPE_CHECKING:
    import pandas as pd

MEGABYTE = 1_000_000  # bytes


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

    :param limit: bytes that are read at most
    :raises TooLargeError: the object has more
    """
    with _connection(uri) as (hook, bucket, key):
        found = hook.get_key(key, bucket)
        if found.content_length > limit:
            size, most = found.content_length / MEGABYTE, limit / MEGABYTE
            raise TooLargeError(f"{uri} has {size:,.1f} MB, {most:,.1f} MB is the limit: split the file")
        return found.get()["Body"].read()


def read_upload(uri: str, limit: float) -> tuple[bytes | None, datetime, str] | None:
    """Return an object's content, when it was written and its entity tag; None if there is no such object.

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
    """Copy an object inside of the server, whatever its size, and return the URI of the copy."""
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
    with _connection(uri) as (hook, bucket, key):
        found = hook.iter_file_metadata(f"{key.rstrip('/')}/", bucket)
        listed = [
            entry["Key"]
            for entry in found
            if (since is None or entry["LastModified"] >= since) and (entry["Size"] or not entry["Key"].endswith("/"))
        ]
        return [f"s3://{bucket}/{name}" for name in listed]


def list_details(uri: str) -> list[tuple[str, int, datetime]]:
    """Return URI, size in bytes and time of writing of each object below a folder, sorted by URI."""
    with _connection(uri) as (hook, bucket, key):
        found = hook.iter_file_metadata(f"{key.rstrip('/')}/", bucket)
        return [(f"s3://{bucket}/{entry['Key']}", entry["Size"], entry["LastModified"]) for entry in found]


def list_tables(uri: str, since: datetime | None = None) -> list[str]:
    """Return the sorted URIs of the CSV and Parquet objects below a folder."""
    return [found for found in list_objects(uri, since) if found.lower().endswith((".csv", ".parquet"))]


def delete_folder(uri: str) -> list[str]:
    """Delete all objects below a folder, and return their URIs."""
    deleted = list_objects(uri)
    with _connection(uri) as (hook, bucket, _):
        hook.delete_objects(bucket, [_split(found)[1] for found in deleted])
    return deleted


def delete_all(uris: Sequence[str]) -> None:
    """Delete objects of one bucket, if they exist, up to a thousand in a request."""
    if uris:
        with _connection(uris[0]) as (hook, bucket, _):
            hook.delete_objects(bucket, [_split(uri)[1] for uri in uris])


def write_table(table: pd.DataFrame, uri: str, *, index: bool = False) -> str:
    """Write a table as Parquet, or as CSV where the URI ends in ``.csv``, and return its URI."""
    content = table.to_csv(index=index).encode() if uri.endswith(".csv") else table.to_parquet(index=index)
    write_bytes(content, uri)
    note_written(uri, table)
    return uri


def read_table(uri: str) -> pd.DataFrame:
    """Return a Parquet object as a table."""
    import pandas as pd

    table = pd.read_parquet(BytesIO(read_bytes(uri)))
    note_read(uri, table)
    return table


def artifact_uri(uri: str) -> str:
    """Return where in S3 MLflow keeps an artifact.

    :param uri: ``mlflow-artifacts:/...`` of a server that proxies artifacts, or ``s3://...`` of one that does not
    """
    scheme, _, path = uri.partition(":/")
    if scheme != "mlflow-artifacts":
        return uri
    path = path.removeprefix("/").partition("/")[2] if path.startswith("/") else path  # without the server's address
    return f"s3://{PROBLEM.artifact_bucket}/{path}"


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
