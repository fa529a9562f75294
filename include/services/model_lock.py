"""The lock of a model's environment: all packages that it needs, in the versions installed here, with their hashes."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory

MAX_SECONDS = 60.0  # a few are usual; uv alone gives up after two minutes where the network drops what is sent

log = logging.getLogger(__name__)


def lock_requirements(requirements: Sequence[str]) -> str:
    """Return a requirements file of everything that some requirements need, each with the hashes of its files.

    Only the versions installed here are allowed: a model predicts with what it was trained with, and models that were
    trained in one environment share theirs.

    :param requirements: pinned, such as ``numpy==2.4.6``
    :return: empty, with a warning in the log, if the package index does not answer or lacks one of them
    """
    from uv import find_uv_bin

    options = ["--generate-hashes", "--no-header", "--no-annotate", "--quiet", "--python", sys.executable]
    with TemporaryDirectory() as folder:
        wanted, installed = Path(folder) / "wanted.in", Path(folder) / "installed.txt"
        wanted.write_text("\n".join(requirements))
        installed.write_text("\n".join(sorted(f"{found.name}=={found.version}" for found in distributions())))
        command = [find_uv_bin(), "pip", "compile", *options, "--constraints", str(installed), str(wanted)]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=MAX_SECONDS).stdout
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            reason = error.stderr if isinstance(error, subprocess.CalledProcessError) else error
            log.warning("The model's packages are pinned, but not those that they need: %s", reason)
            return ""
