"""Tables and files in object storage: the only module that knows S3."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.exceptions import BotoCoreError, ClientError

from include.config import ARTIFACT_BUCKET, AWS_CONN_ID

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


def list_objects(uri: str) -> list[str]:
    """Return the URIs of all objects below a folder, sorted."""
    with _connection(uri) as (hook, bucket, key):
        return [f"s3://{bucket}/{found}" for found in hook.list_keys(bucket, prefix=f"{key.rstrip('/')}/")]


def delete_folder(uri: str) -> list[str]:
    """Delete all objects below a folder, if there are any, and return their URIs."""
    deleted = list_objects(uri)
    with _connection(uri) as (hook, bucket, _):
        hook.delete_objects(bucket, [hook.parse_s3_url(found)[1] for found in deleted])
    return deleted


def write_table(table: pd.DataFrame, uri: str, *, index: bool = False) -> str:
    """Write a table as Parquet, or as CSV where the URI ends in ``.csv``, and return its URI."""
    if uri.endswith(".csv"):
        return write_bytes(table.to_csv(index=index).encode(), uri)
    return write_bytes(table.to_parquet(index=index), uri)


def read_table(uri: str) -> pd.DataFrame:
    """Return a Parquet object as a table."""
    import pandas as pd

    return pd.read_parquet(BytesIO(read_bytes(uri)))


def artifact_uri(uri: str) -> str:
    """Return where in S3 MLflow keeps an artifact.

    :param uri: ``mlflow-artifacts:/...`` of a server that passes artifacts on, or ``s3://...`` of one that does not
    """
    location = urlsplit(uri)
    if location.scheme == "mlflow-artifacts":
        return f"s3://{ARTIFACT_BUCKET}/{location.path.lstrip('/')}"
    return uri


@contextmanager
def _connection(uri: str) -> Iterator[tuple[S3Hook, str, str]]:
    hook = S3Hook(aws_conn_id=AWS_CONN_ID)
    bucket, key = hook.parse_s3_url(uri)
    try:
        yield hook, bucket, key
    except (BotoCoreError, ClientError) as error:
        server = hook.conn_config.endpoint_url or "AWS"
        raise StorageError(
            f"{uri} on {server} (connection {AWS_CONN_ID}): {error}. Is the server up, and are its keys right?"
        ) from error
