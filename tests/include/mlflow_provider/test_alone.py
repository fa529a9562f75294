"""The tests that need no server, in an empty folder, in an environment with the wheel and nothing of this project."""

import os
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from .wheels import build, install

HERE = Path(__file__).parent
# What the tests use beside the package. The real servers, the contract and the README are looked at in the project.
TOOLS = ("pytest", "pandas", "pyarrow", "numpy", "scipy", "psutil", "apache-airflow-providers-openlineage")
LEFT_OUT = (
    "real",
    "plugins",
    "test_alone.py",
    "test_contract.py",
    "test_package.py",
    "test_provider.py",
    "test_examples.py",
    "test_pages.py",
    "pages.py",
)
CONFTEST = """
import pytest

def pytest_collection_modifyitems(config, items):
    served = [item for item in items if {"stack", "services"} & set(item.fixturenames)]
    config.hook.pytest_deselected(items=served)
    items[:] = [item for item in items if item not in served]
"""
OPTIONS = ("-q", "--import-mode=importlib", "-p", "no:cacheprovider", "-W", "ignore", "-m", "not extended")


@pytest.mark.extended
def test_the_tests_pass_without_the_project(tmp_path):
    pinned = [f"{name}=={version(name)}" for name in ("apache-airflow", *TOOLS)]
    programs = install(tmp_path / "environment", build(tmp_path), *pinned)
    copy_tests(tmp_path / "tests")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
    environment = {**inherited, "AIRFLOW_HOME": str(tmp_path / "home")}
    command = [str(programs / "python"), "-m", "pytest", *OPTIONS, "tests"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    last = done.stdout.strip().splitlines()[-1]
    assert done.returncode == 0, done.stdout[-5000:]
    assert int(last.split(" passed")[0].split()[-1]) > 800, last


def copy_tests(folder):
    """Copy the tests, with the imports that a user of the wheel would write."""
    shutil.copytree(HERE, folder / "provider", ignore=shutil.ignore_patterns("__pycache__", *LEFT_OUT))
    (folder / "conftest.py").write_text(CONFTEST)
    for file in folder.rglob("*.py"):
        file.write_text(file.read_text().replace("include.mlflow_provider", "mlflow_provider"))
