"""Write the description of a problem: ``problem.py``, ``problem.md`` and the bucket's name in the container files."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from include.spec import Problem
from local.adapt.infer import AdaptError

PROBLEM_FILE = "include/problem.py"
NAMING_THE_BUCKET = ("docker-compose.override.yml", ".env_example")
PROSE = Path(__file__).with_name("problem.md")
TEMPLATE = '''"""The problem that this project solves: the only file that knows the table.

``make adapt`` wrote it; ``include/spec.py`` explains every field. Prose for the model card is in
``include/problem.md``.
"""

from include.spec import Category, Gate, Limits, Number, Problem

{comments}
PROBLEM = {problem}
'''


def render_files(problem: Problem, comments: Sequence[str], project: Path) -> dict[Path, bytes]:
    """Return the content of each file of the project that describes the problem."""
    present = (project / PROBLEM_FILE).read_text(encoding="utf-8")
    files = {
        PROBLEM_FILE: render_problem(problem, comments, project),
        "include/problem.md": PROSE.read_text(encoding="utf-8"),
    }
    if bucket := re.search(r'\bartifact_bucket="([^"]+)"', present):
        for name in NAMING_THE_BUCKET:
            text = (project / name).read_text(encoding="utf-8")
            files[name] = re.sub(rf"\b{re.escape(bucket[1])}\b", problem.artifact_bucket, text)
    return {project / name: text.encode() for name, text in files.items()}


def render_problem(problem: Problem, comments: Sequence[str], project: Path) -> str:
    """Return the source of a module whose ``PROBLEM`` equals the problem, as the project's ruff accepts it."""
    source = TEMPLATE.format(comments="\n".join(f"# {line}" for line in comments), problem=render(problem))
    ruff = Path(sys.executable).with_name("ruff")
    with TemporaryDirectory() as folder:
        file = Path(folder) / "problem.py"
        file.write_text(source, encoding="utf-8")
        # Limits may be unused; names in a table may be long or ambiguous.
        for command in (["check", "--fix"], ["format"], ["check", "--add-noqa"]):
            options = ["--quiet", "--config", str(project / "pyproject.toml"), str(file)]
            subprocess.run([ruff, *command, *options], capture_output=True, check=False)
        return file.read_text(encoding="utf-8")


def render(value: Any) -> str:
    """Return an expression that evaluates to a value; arguments that have their default value are left out."""
    if is_dataclass(value):
        given = [(field, getattr(value, field.name)) for field in fields(value)]
        arguments = [
            f"{field.name}={render(item)}" if field.kw_only else render(item)
            for field, item in given
            if item != field.default
        ]
        return f"{type(value).__name__}({', '.join(arguments)})"
    if isinstance(value, tuple):
        return f"({', '.join(map(render, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name!r}: {render(item)}" for name, item in value.items()) + "}"
    return f"{value:.15g}" if isinstance(value, float) else repr(value)


def check_committed(files: Iterable[Path], project: Path) -> None:
    """Raise an error if git could not bring back a file that would be overwritten."""
    git = shutil.which("git") or "false"
    command = [git, "-C", str(project), "status", "--porcelain", "-z", "--", *map(str, files)]
    status = subprocess.run(command, capture_output=True, text=True, check=False)
    if status.returncode:
        raise AdaptError(f"{project} is not a git checkout: what is overwritten would be lost. FORCE=1 overwrites it")
    if changed := [line[3:] for line in status.stdout.split("\0") if line]:
        raise AdaptError(f"Not committed: {', '.join(changed)}. Commit or remove it, or overwrite it with FORCE=1")


def write_all(contents: Mapping[Path, bytes], project: Path) -> None:
    """Write all contents to temporary files in the project first; nothing has changed if that fails."""
    with TemporaryDirectory(prefix=".adapt-", dir=project) as folder:
        staged = {file: Path(folder) / str(number) for number, file in enumerate(contents)}
        for file, copy in staged.items():
            copy.write_bytes(contents[file])
            if file.exists():
                shutil.copymode(file, copy)
        for file, copy in staged.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            copy.replace(file)
