"""The packages of a model's environment."""

from __future__ import annotations

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


def read_requirements(hook: MLflowPyfuncHook, artifact_uri: str) -> tuple[list[str], dict[str, str]]:
    """Return all that the environment of a model needs.

    :param artifact_uri: folder of the model
    :return: the lines of a requirements file, and the text of each file that ``-c constraints.txt`` names in it
    :raises MLflowError: the model has no such file
    """
    lines, files = [], {}
    for line in hook.get_model_requirements(artifact_uri):
        option, _, name = line.partition(" ")
        if option in ("-c", "--constraint"):
            name = name.strip()
            files[Path(name).name] = hook.read_model_file(artifact_uri, name)
            line = f"-c {Path(name).name}"
        lines.append(line)
    return complete(lines), files


def complete(requirements: list[str]) -> list[str]:
    """Add what the process of a model needs besides the model's own packages.

    :param requirements: lines of a requirements file
    :return: these lines, and mlflow-skinny, pandas and pyarrow in the versions of this process if missing
    """
    names = set(_names(requirements))
    if "mlflow" in names:
        return requirements
    return requirements + [_as_here(name) for name in COMPANIONS if name not in names]


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
