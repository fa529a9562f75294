"""Environments that only some tests need, built on first use."""

import fcntl
import subprocess
import sys
from pathlib import Path

from local.settings import ENVIRONMENTS, PROJECT


def build(name: str) -> Path:
    """Return the folder of an environment, after building it if it is missing or outdated.

    :param name: one of ``local/requirements``
    :raises RuntimeError: if it cannot be built
    """
    folder = ENVIRONMENTS / name
    settings = [f"ENVS={ENVIRONMENTS}", f"PYTHON={Path(sys.base_prefix) / 'bin' / 'python3'}"]
    command = ["make", "--silent", *settings, f"{folder}/.complete"]
    with (ENVIRONMENTS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test process may build it at the same time
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the environment {name} cannot be built: {done.stdout}{done.stderr}")
    return folder
