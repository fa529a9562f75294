"""The commands of the page run, and page and docstrings name the fields that there are."""

import os
import re
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from include.data.cleaning import MISSING
from include.spec import Category, Gate, Limits, Number, Problem
from local.settings import ENVIRONMENTS, PROJECT
from tests.checkout import commit, copy_project
from tests.toy import make_rows

PAGE = (PROJECT / "docs" / "your-own-data.md").read_text()
COMMANDS = re.findall(r"^(?:make adapt|git) .+$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the project as it is, with a table beside it."""
    project = copy_project(tmp_path_factory.mktemp("own") / "project")
    make_rows(120).to_csv(project / "houses.csv", index=False)
    commit(project)
    return project


def run(command: str, project: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the page with the environments of this project, which are not built again."""
    return subprocess.run(
        ["bash", "-c", command.replace("make adapt", f"make --assume-old=setup adapt ENVS={ENVIRONMENTS}")],
        cwd=project,
        env={**os.environ, "PAGER": "cat"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_commands_run_one_after_the_other(project: Path) -> None:
    assert len(COMMANDS) == 3

    for command in COMMANDS:
        done = run(command, project)
        assert done.returncode == 0, done.stdout + done.stderr

    description = (project / "include/problem.py").read_text()
    assert 'table="include/houses.csv"' in description
    assert "make demo" in done.stdout


def test_every_field_of_a_problem_is_explained() -> None:
    explained = re.findall(r"^\| `(\w+)` \|", PAGE.partition("### Problem\n")[2].partition("\n#")[0], re.MULTILINE)

    assert explained == [field.name for field in fields(Problem)]


@pytest.mark.parametrize("described", [Problem, Number, Category, Gate, Limits])
def test_every_field_is_in_the_docstring(described: Any) -> None:
    explained = re.findall(r":param (\w+):", described.__doc__)

    assert explained == [field.name for field in fields(described)]


def test_the_texts_for_missing_cells_are_those_of_the_checks() -> None:
    page = (PROJECT / "docs" / "data-quality.md").read_text()
    sentence = re.search(r"Missing cells\s+may be empty or one of (.+?) and a few more", page)

    assert sentence
    assert set(re.findall("`(.+?)`", sentence[1])) <= set(MISSING)
