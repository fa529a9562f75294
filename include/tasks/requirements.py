"""What a logged model needs installed to predict."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from include import config
from include.mlflow_provider.hooks.pyfunc import HASH_TAG, MLflowPyfuncHook
from include.mlflow_provider.objects import hash_folder
from include.platform import champions, storage


def complete_requirements(version: str, packages: Iterable[str]) -> str:
    """Make sure that the ``requirements.txt`` of a registered version names all packages, and return its URI.

    A file that names them is left alone. Else the version's files are compared with their hash before the change. The
    new hash is written before the file: a task that is killed in between finds it, and goes on.

    :raises MLflowError: the files are not those that were registered
    """
    model_uri = champions.model_uri(version)
    pyfunc = MLflowPyfuncHook(config.MLFLOW_CONN_ID)
    artifact_uri = pyfunc.get_model_artifact_uri(model_uri)
    uri = f"{storage.artifact_uri(artifact_uri)}/requirements.txt"
    content = storage.read_bytes(uri)
    if (completed := add_requirements(content, packages)) != content:
        with TemporaryDirectory() as folder:
            local = pyfunc.download_model(artifact_uri, Path(folder))
            (local / "requirements.txt").write_bytes(completed)
            coming = hash_folder(local)
        if pyfunc.get_recorded_hash(model_uri) != coming:
            with TemporaryDirectory() as folder:
                pyfunc.fetch_model(model_uri, Path(folder))
            pyfunc.client.set_model_version_tag(config.REGISTERED_MODEL, version, HASH_TAG, coming)
        storage.write_bytes(completed, uri)
    return uri


def add_requirements(content: bytes, packages: Iterable[str]) -> bytes:
    """Return a ``requirements.txt`` that names all packages; what it has already stays as it is."""
    lines = content.decode().splitlines()
    named = {_package(line) for line in lines}
    missing = [package for package in packages if canonicalize_name(package) not in named]
    if not missing:
        return content
    return "".join(f"{line}\n" for line in [*lines, *missing]).encode()


def _package(line: str) -> str:
    """Return the package that a line names, or nothing for comments, options and bare addresses.

    pip allows a comment, options such as ``--hash`` and a continuation after the requirement itself.
    """
    try:
        return canonicalize_name(Requirement(re.split(r"\s(?:#|--|\\)", f" {line}")[0].strip()).name)
    except InvalidRequirement:
        return ""
