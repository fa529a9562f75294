"""Read and write objects through Airflow's object storage; every failure is an :class:`MLflowError`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .exceptions import MLflowError

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath


def is_s3(uri: str) -> bool:
    """Return whether a URI names something in S3."""
    return urlsplit(uri).scheme in ("s3", "s3a", "s3n")


def object_path(uri: str, aws_conn_id: str | None) -> ObjectStoragePath:
    """Return the path of an object; ``s3://connection@bucket/key`` names its connection itself."""
    from airflow.sdk import ObjectStoragePath

    needs_connection = is_s3(uri) and "@" not in urlsplit(uri).netloc
    return ObjectStoragePath(uri, conn_id=aws_conn_id if needs_connection else None)


def read_text(uri: str, aws_conn_id: str | None) -> str:
    """Return the content of a small object."""
    with _explained("read", uri, aws_conn_id), object_path(uri, aws_conn_id).open("rb") as source:
        return source.read().decode()


def fetch(uri: str, target: Path, aws_conn_id: str | None) -> None:
    """Copy an object to a local file in chunks."""
    with _explained("read", uri, aws_conn_id):
        path = object_path(uri, aws_conn_id)
        if path.is_dir():
            raise IsADirectoryError("it is a folder, and one file is needed")
        with path.open("rb") as source, target.open("wb") as file:
            shutil.copyfileobj(source, file)


def fetch_folder(uri: str, target: Path, aws_conn_id: str | None) -> None:
    """Copy all objects below a URI to an existing local folder."""
    with _explained("read", uri, aws_conn_id):
        root = object_path(uri, aws_conn_id)
        root.fs.get(f"{root.path.rstrip('/')}/", f"{target}/", recursive=True)


def publish(source: Path, uri: str, aws_conn_id: str | None) -> None:
    """Copy a local file to an object in chunks; an existing object stays until the copy is complete."""
    with _explained("write", uri, aws_conn_id):
        path = object_path(uri, aws_conn_id)
        # Without a transaction, closing the object after an error would publish a partial copy.
        with path.fs.transaction, source.open("rb") as file, path.open("wb") as target:
            shutil.copyfileobj(file, target)


def hash_folder(folder: Path) -> str:
    """Return the SHA-256 of the relative paths and contents of all files in a local folder, sorted."""
    digest = sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        with file.open("rb") as stream:
            content = file_digest(stream, "sha256").hexdigest()
        digest.update(f"{file.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()


@contextmanager
def _explained(verb: str, uri: str, aws_conn_id: str | None) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        reason = str(error) or type(error).__name__
        if isinstance(error, FileNotFoundError) and "bucket" not in reason:
            reason = "there is nothing of this name"
        where = f" (S3 connection {aws_conn_id!r})" if is_s3(uri) else ""
        raise MLflowError(f"Could not {verb} {uri}{where}: {reason}") from error
