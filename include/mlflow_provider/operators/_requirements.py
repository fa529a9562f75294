"""The packages of a model's environment."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from ..hooks.pyfunc import MLflowPyfuncHook

# Full mlflow brings them all, in versions of its own choice.
COMPANIONS = ("mlflow-skinny", "pandas", "pyarrow")


def default_cache() -> Path:
    """Return the folder of the environments if none is given: it survives from run to run."""
    from airflow.configuration import AIRFLOW_HOME

    return Path(AIRFLOW_HOME) / "model_environments"


def read_requirements(hook: MLflowPyfuncHook, artifact_uri: str, cache: Path) -> list[str]:
    """Return all that the environment of a model needs, one line of a requirements file each.

    :param artifact_uri: folder of the model
    :param cache: an existing folder, for the files that ``-c constraints.txt`` names
    """
    lines = hook.get_model_requirements(artifact_uri)
    return complete([_with_local_file(line, hook, artifact_uri, cache) for line in lines])


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
    """Return a PATH on which the Python below this environment comes first and uv, if installed, can be found.

    uv passes over a Python that belongs to a virtual environment, and would look for another or download one.
    """
    folders = [str(Path(sys.base_prefix) / "bin")]
    try:
        from uv import find_uv_bin

        folders.append(str(Path(find_uv_bin()).parent))
    except (ImportError, FileNotFoundError):
        pass  # uv may be on PATH all the same; Airflow uses pip if it is not
    return os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])


def _with_local_file(line: str, hook: MLflowPyfuncHook, artifact_uri: str, cache: Path) -> str:
    option, _, name = line.partition(" ")
    if option not in ("-c", "--constraint"):
        return line
    text = hook.read_model_file(artifact_uri, name.strip())
    # Other constraints, other name: so that they count in the hash of the requirements.
    path = cache / f"constraints-{hashlib.sha256(text.encode()).hexdigest()[:16]}.txt"
    path.write_text(text)
    return f"-c {path}"


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
