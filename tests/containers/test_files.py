"""The Dockerfile, ignored files, and the DAGs' tests as the Astro CLI runs them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local.settings import PROJECT

DOCKERFILE = (PROJECT / "Dockerfile").read_text()


def test_the_runtime_is_pinned_in_the_dockerfile_only() -> None:
    tag = re.search(r"^FROM \S+/runtime:(\d+\.\d+-\d+)$", DOCKERFILE, re.MULTILINE)
    assert tag
    tracked = subprocess.run(
        ["git", "grep", "-l", "--fixed-strings", f"runtime:{tag[1]}"], cwd=PROJECT, capture_output=True
    )
    assert tracked.stdout.decode().split() in (["Dockerfile"], [])


def test_the_image_does_not_run_as_root_and_has_no_secret() -> None:
    assert re.findall(r"^USER (\w+)", DOCKERFILE, re.MULTILINE)[-1] == "astro"
    assert not re.search(r"(?i)^(ARG|ENV) .*(password|secret|token|key)", DOCKERFILE, re.MULTILINE)


def test_secrets_stay_out_of_images_and_git() -> None:
    for file in (".dockerignore", ".gitignore"):
        lines = (PROJECT / file).read_text().splitlines()
        assert {".env", ".env.*", "airflow_settings.yaml"} <= set(lines), file
    assert not any(line.startswith("!.env") for line in (PROJECT / ".dockerignore").read_text().splitlines())


@pytest.mark.parametrize("test", [".astro/test_dag_integrity_default.py", "tests/dags/test_dag_integrity.py"])
def test_the_integrity_tests_run_with_the_files_of_the_image(test: str, tmp_path: Path) -> None:
    for name in ("dags", "include", "pyproject.toml", "tests/__init__.py", "tests/conftest.py", test):
        source, target = PROJECT / name, tmp_path / name
        target.parent.mkdir(exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "MLFLOW", "AWS"))
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout
