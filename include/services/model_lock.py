"""The lock of a model's environment: all packages that it needs, in the versions installed here, with their hashes."""

import logging
import subprocess
import sys
from collections.abc import Sequence
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory

from airflow.configuration import AIRFLOW_HOME

from include.settings import MODEL_ENVIRONMENTS

FOLDER = Path(MODEL_ENVIRONMENTS or f"{AIRFLOW_HOME}/model_environments")  # which tasks can write to, and which is kept
MAX_SECONDS = 60.0  # a few are usual; uv alone gives up after two minutes where the network drops what is sent

log = logging.getLogger(__name__)


def lock_requirements(requirements: Sequence[str]) -> str:
    """Return a requirements file of everything that some requirements need, each with the hashes of its files.

    Only the versions installed here are allowed: a model predicts with what it was trained with, and models that were
    trained in one environment share theirs. It is compiled once for the same requirements and installed versions.

    :param requirements: pinned, such as ``numpy==2.4.6``
    :return: empty, with a warning in the log, if the package index does not answer or lacks one of them
    """
    key = sha256(repr([sys.version, *sorted(requirements), *_list_installed()]).encode()).hexdigest()[:16]
    file = FOLDER / f"lock-{key}.txt"
    if not file.exists():
        try:
            _compile(requirements, file)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            reason = error.stderr if isinstance(error, subprocess.CalledProcessError) else error
            log.warning("The model's packages are pinned, but not those that they need: %s", reason)
            return ""
    return file.read_text()


def _list_installed() -> list[str]:
    """Return name and version of each package: by their folders, because reading their metadata takes 0.1 s."""
    return sorted({found.name for folder in sys.path for found in Path(folder).glob("*.dist-info")})


def _compile(requirements: Sequence[str], file: Path) -> None:
    from uv import find_uv_bin

    file.parent.mkdir(parents=True, exist_ok=True)
    options = ["--generate-hashes", "--no-header", "--no-annotate", "--quiet", "--python", sys.executable]
    with TemporaryDirectory(dir=file.parent) as folder:
        wanted, installed, locked = (Path(folder) / name for name in ("wanted.in", "installed.txt", "locked.txt"))
        wanted.write_text("\n".join(requirements))
        installed.write_text("\n".join(sorted(f"{found.name}=={found.version}" for found in distributions())))
        files = ["--constraints", str(installed), "--output-file", str(locked), str(wanted)]
        command = [find_uv_bin(), "pip", "compile", *options, *files]
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=MAX_SECONDS)
        locked.replace(file)  # another task may read it meanwhile
