"""Write the description of a problem: ``problem.py``, ``problem.md`` and the bucket's name in the container files."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from include.spec import Problem
from local.adapt.infer import AdaptError

PROBLEM_FILE = "include/problem.py"
NAMING_THE_BUCKET = ("docker-compose.override.yml", ".env_example")
PROSE = Path(__file__).with_name("problem.md")
TEMPLATE = '''"""The problem that this project solves: the only file that knows the table.

``make adapt`` wrote it; ``docs/your-own-data.md`` explains every field. Prose for the model card is in
``include/problem.md``.
"""

from include.spec import Category, Gate, Limits, Number, Problem

{comments}
PROBLEM = {problem}
'''


def render_problem(problem: Problem, comments: Sequence[str] = ()) -> str:
    """Return the source of a module whose ``PROBLEM`` equals the problem."""
    source = TEMPLATE.format(comments="\n".join(f"# {line}" for line in comments), problem=_render(problem))
    return source if "limits=" in source else source.replace(" Limits,", "", 1)


def format_source(source: str, project: Path) -> str:
    """Return source that the project's ruff accepts; as it is if ruff is not installed."""
    ruff = Path(sys.executable).with_name("ruff")
    if not ruff.exists():
        return source
    with TemporaryDirectory() as folder:
        file = Path(folder) / "problem.py"
        file.write_text(source, encoding="utf-8")
        for command in (["format"], ["check", "--add-noqa"]):  # names in a table may be long or ambiguous
            subprocess.run(
                [ruff, *command, "--config", project / "pyproject.toml", file], capture_output=True, check=False
            )
        return file.read_text(encoding="utf-8")


def render_files(problem: Problem, comments: Sequence[str], project: Path) -> dict[Path, bytes]:
    """Return the content of each file of the project that changes."""
    present = (project / PROBLEM_FILE).read_text(encoding="utf-8")
    files = {
        PROBLEM_FILE: format_source(render_problem(problem, comments), project),
        "include/problem.md": PROSE.read_text(encoding="utf-8"),
    }
    if bucket := re.search(r'\bartifact_bucket="([^"]+)"', present):
        for name in NAMING_THE_BUCKET:
            text = (project / name).read_text(encoding="utf-8")
            files[name] = re.sub(rf"\b{re.escape(bucket[1])}\b", problem.artifact_bucket, text)
    contents = {project / name: text.encode() for name, text in files.items()}
    return {file: content for file, content in contents.items() if not _holds(file, content)}


def check_committed(files: Iterable[Path], project: Path) -> None:
    """Raise an error if git could not bring back a file that would be overwritten."""
    git = shutil.which("git") or "false"
    command = [git, "-C", str(project), "status", "--porcelain", "-z", "--", *map(str, files)]
    status = subprocess.run(command, capture_output=True, text=True, check=False)
    if status.returncode:
        raise AdaptError(f"{project} is not a git checkout: what is overwritten would be lost. FORCE=1 overwrites it")
    if changed := [line[3:] for line in status.stdout.split("\0") if line]:
        raise AdaptError(f"Not committed: {', '.join(changed)}. Commit or remove it, or overwrite it with FORCE=1")


def write_all(contents: Mapping[Path, bytes]) -> None:
    """Write all files, or none of them if one cannot be written."""
    before = {file: file.read_bytes() if file.exists() else None for file in contents}
    staged = {file: file.with_name(f".{file.name}.new") for file in contents}
    replaced: list[Path] = []
    try:
        for file, content in contents.items():
            staged[file].write_bytes(content)
            if file.exists():
                shutil.copymode(file, staged[file])
        for file in contents:
            staged[file].replace(file)
            replaced.append(file)
    except OSError as error:
        for file in replaced:
            _restore(file, before[file])
        raise AdaptError(f"Nothing was changed: {error}") from error
    finally:
        for file in staged.values():
            file.unlink(missing_ok=True)


def _restore(file: Path, content: bytes | None) -> None:
    file.unlink() if content is None else file.write_bytes(content)


def _holds(file: Path, content: bytes) -> bool:
    return file.exists() and file.read_bytes() == content


def _render(value: Any) -> str:
    """Return an expression that evaluates to the value."""
    if isinstance(value, Problem):
        return "Problem(\n" + "".join(f"    {argument},\n" for argument in _arguments(value)) + ")"
    if is_dataclass(value):
        return f"{type(value).__name__}({', '.join(_arguments(value))})"
    if isinstance(value, tuple):
        return _render_tuple(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_render(key)}: {_render(item)}" for key, item in value.items()) + "}"
    return _render_number(value) if isinstance(value, float) else repr(value)


def _render_tuple(values: tuple[Any, ...]) -> str:
    items = [_render(value) for value in values]
    if is_dataclass(values[0] if values else None):
        return "(\n" + "".join(f"        {item},\n" for item in items) + "    )"
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"


def _render_number(value: float) -> str:
    if not value.is_integer() or abs(value) >= 1e15:
        return repr(value) if isfinite(value) else f'float("{value}")'
    return f"{value:_.0f}" if abs(value) >= 10_000 else f"{value:.0f}"


def _arguments(value: Any) -> Iterator[str]:
    """Yield the arguments of a constructor, those that have their default value left out."""
    for field in fields(value):
        given = getattr(value, field.name)
        if given != _default(field):
            yield _render(given) if not field.kw_only else f"{field.name}={_render(given)}"


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()
