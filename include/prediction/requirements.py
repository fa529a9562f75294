"""What a logged model needs installed to predict."""

from __future__ import annotations

import re
from collections.abc import Iterable

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name


def add_requirements(content: bytes, packages: Iterable[str]) -> bytes:
    """Return a ``requirements.txt`` that names all packages; what it has already stays as it is."""
    lines = content.decode().splitlines()
    named = {_package(line) for line in lines}
    missing = [package for package in packages if canonicalize_name(package) not in named]
    return "".join(f"{line}\n" for line in [*lines, *missing]).encode()


def _package(line: str) -> str:
    """Return the package that a line names, or nothing for comments, options and bare addresses.

    pip allows a comment, options such as ``--hash`` and a continuation after the requirement itself.
    """
    try:
        return canonicalize_name(Requirement(re.split(r"\s(?:#|--|\\)", f" {line}")[0].strip()).name)
    except InvalidRequirement:
        return ""
