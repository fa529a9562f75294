"""The packages of a model's environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

# Full mlflow brings them all, in versions of its own choice.
COMPANIONS = ("mlflow-skinny", "pandas", "pyarrow")


def complete(requirements: list[str]) -> list[str]:
    """Add what the process of a model needs besides the model's own packages.

    :param requirements: lines of a requirements file
    :return: these lines, and mlflow-skinny, pandas and pyarrow in the versions of this process if missing
    """
    names = set(_names(requirements))
    if "mlflow" in names:
        return requirements
    return requirements + [_as_here(name) for name in COMPANIONS if name not in names]


def tool_path() -> str:
    """Return a PATH on which this very Python comes first and uv, if it is installed, can be found."""
    folders = [str(Path(sys.executable).parent)]
    try:
        from uv import find_uv_bin

        folders.append(str(Path(find_uv_bin()).parent))
    except (ImportError, FileNotFoundError):
        pass  # uv may be on PATH all the same; Airflow uses pip if it is not
    return os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])


def _names(requirements: Iterable[str]) -> Iterable[str]:
    for line in requirements:
        try:
            yield canonicalize_name(Requirement(line.partition(" #")[0]).name)
        except InvalidRequirement:
            continue  # an option line such as --extra-index-url


def _as_here(name: str) -> str:
    try:
        return f"{name}=={version(name)}"
    except PackageNotFoundError:
        return name
