"""The provider as a wheel."""

import subprocess
import sys
from pathlib import Path

from uv import find_uv_bin

import include.mlflow_provider as provider

SOURCE = Path(provider.__file__).parent


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def install(folder, *packages):
    """Build a new environment with these packages, and return the folder of its programs."""
    run(find_uv_bin(), "venv", "--python", sys.executable, folder)
    run(find_uv_bin(), "pip", "install", "--python", folder, *packages)
    return folder / "bin"


def build(folder, kind="wheel"):
    """Build from a copy, because setuptools leaves files beside its sources; return the file."""
    run("cp", "-r", SOURCE, folder / "source")
    run(find_uv_bin(), "build", f"--{kind}", "--out-dir", folder, folder / "source")
    (found,) = folder.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return found
