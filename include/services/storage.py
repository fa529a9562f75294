"""Tables and files in object storage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from botocore.exceptions import BotoCoreError, ClientError

from include.problem import PROBLEM
from include.services.lineage import note_read, note_written
from include.settings import AWS_CONN_ID

if TYPE_CHECKING:
    import pandas as pd


class StorageError(RuntimeError):
    """An object cannot be read or written; the message names it, the connection and the server."""


def write_bytes(content: bytes, uri: str) -> str:
    """Write an object, replacing it if it is there, and return its URI."""
    with _connection(uri) as (hook, bucket, key):
        hook.load_bytes(content, key, bucket, replace=True)
    return uri


def read_bytes(uri: str) -> bytes:
    """Return an object's content."""
    with _connection(uri) as (hook, bucket, key):
        return hook.get_key(key, bucket).get()["Body"].read()


def read_upload(uri: str) -> tuple[bytes, datetime, str] | None:
    """Return an object's content, when it was written and its entity tag; None if there is no such object."""
    with _connection(uri) as (hook, bucket, key):
        try:
            found = hook.get_conn().get_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise
        return found["Body"].read(), found["LastModified"], found["ETag"]


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


def move(source: str, target: str) -> str:
    """Move an object, unless it was moved before, and return its new URI."""
    if exists(source):
        write_bytes(read_bytes(source), target)
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
    """Return the sorted URIs of all objects below a folder, or of those written after `since`."""
    with _connection(uri) as (hook, bucket, key):
        keys = hook.list_keys(bucket, prefix=f"{key.rstrip('/')}/", from_datetime=since)
        return [f"s3://{bucket}/{found}" for found in keys]


def list_tables(uri: str, since: datetime | None = None) -> list[str]:
    """Return the sorted URIs of the CSV and Parquet objects below a folder."""
    return [found for found in list_objects(uri, since) if found.lower().endswith((".csv", ".parquet"))]


def delete_folder(uri: str) -> list[str]:
    """Delete all objects below a folder, and return their URIs."""
    deleted = list_objects(uri)
    with _connection(uri) as (hook, bucket, _):
        hook.delete_objects(bucket, [hook.parse_s3_url(found)[1] for found in deleted])
    return deleted


def write_table(table: pd.DataFrame, uri: str, *, index: bool = False) -> str:
    """Write a table as Parquet, or as CSV where the URI ends in ``.csv``, and return its URI."""
    content = table.to_csv(index=index).encode() if uri.endswith(".csv") else table.to_parquet(index=index)
    write_bytes(content, uri)
    note_written(uri, table)
    return uri


def read_table(uri: str) -> pd.DataFrame:
    """Return a Parquet object as a table, or a CSV object where the URI ends in ``.csv``."""
    import pandas as pd

    read = pd.read_csv if uri.endswith(".csv") else pd.read_parquet
    table = read(BytesIO(read_bytes(uri)))
    note_read(uri, table)
    return table


def artifact_uri(uri: str) -> str:
    """Return where in S3 MLflow keeps an artifact.

    :param uri: ``mlflow-artifacts:/...`` of a server that proxies artifacts, or ``s3://...`` of one that does not
    """
    location = urlsplit(uri)
    if location.scheme == "mlflow-artifacts":
        return f"s3://{PROBLEM.artifact_bucket}/{location.path.lstrip('/')}"
    return uri


@lru_cache(maxsize=1)
def _hook(_described: str | None) -> S3Hook:
    """Return the hook, one for each state of the connection: a new client takes 0.1 s."""
    return S3Hook(aws_conn_id=AWS_CONN_ID)


def _describe_connection() -> str | None:
    try:
        return BaseHook.get_connection(AWS_CONN_ID).get_uri()
    except AirflowNotFoundException:
        return None  # boto3 then finds credentials itself


@contextmanager
def _connection(uri: str) -> Iterator[tuple[S3Hook, str, str]]:
    hook = _hook(_describe_connection())
    bucket, key = hook.parse_s3_url(uri)
    try:
        yield hook, bucket, key
    except (BotoCoreError, ClientError) as error:
        server = hook.conn_config.endpoint_url or "AWS"
        raise StorageError(
            f"{uri} on {server} (connection {AWS_CONN_ID}): {error}. Is the server up, and are its keys right?"
        ) from error
