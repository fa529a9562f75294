"""Environments from a lock: a file of constraints in which each package has its hashes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from include.mlflow_provider.exceptions import MLflowError
from include.mlflow_provider.operators._environment import Recipe, is_lock
from include.mlflow_provider.operators._subprocess import Programs

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="module")
def locked():
    """A lock of one package, as uv writes it."""
    from uv import find_uv_bin

    command = [find_uv_bin(), "pip", "compile", "-", "--generate-hashes", "--no-header", "--quiet"]
    return subprocess.run(command, input="iniconfig==2.0.0", capture_output=True, text=True, check=True).stdout


def build(constraints, folder):
    recipe = Recipe(HERE, ["iniconfig", "-c constraints.txt"], {"constraints.txt": constraints})
    with (folder / "lock").open("a") as lock:
        recipe.build(Programs(), os.environ, folder / "built", lock.fileno())
    return [found.name for found in (folder / "built").glob("lib/*/site-packages/iniconfig-*.dist-info")]


def test_an_environment_is_built_from_a_lock(locked, tmp_path):
    assert build(locked, tmp_path) == ["iniconfig-2.0.0.dist-info"]


def test_a_package_with_another_hash_is_refused(locked, tmp_path):
    name, *hashes = locked.replace("\\\n", "").split()
    forged = " ".join([name, *(f"--hash=sha256:{'0' * 64}" for _ in hashes)])
    with pytest.raises(MLflowError, match="could not be built"):
        build(forged, tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a==1 --hash=sha256:00\nb==2 \\\n    --hash=sha256:11\n# made by hand\n", True),
        ("a==1 --hash=sha256:00\nb==2\n", False),
        ("a<2\n", False),
        ("", False),
    ],
)
def test_a_lock_has_a_hash_for_each_package(text, expected):
    assert is_lock(text) is expected
