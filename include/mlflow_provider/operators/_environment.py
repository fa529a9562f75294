"""The Python environment of a model: what is in it, how it is built, and how tasks share and remove it."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ..exceptions import MLflowError
from ._subprocess import Programs, without_logins

if TYPE_CHECKING:
    from ..hooks.pyfunc import MLflowPyfuncHook

log = logging.getLogger(__name__)

PREFIX = "model-"
MARKER = "complete.json"  # written when all else is there, and touched by every use
GIGABYTE = 10**9
# Needed besides the packages of a model. Full mlflow brings them all, in its own versions.
COMPANIONS = ("mlflow-skinny", "pandas", "pyarrow")


@dataclass(frozen=True)
class Recipe:
    """All that decides what is in an environment.

    :param python_version: such as ``3.11``
    :param requirements: lines of a requirements file
    :param files: text of the files that these lines name
    :param options: of ``uv pip install`` or ``pip install``, visible to all of the machine on its command line
    :param index_urls: package indexes, the first in place of the default one; they may hold passwords
    """

    python_version: str
    requirements: list[str]
    files: dict[str, str] = field(default_factory=dict)
    options: list[str] = field(default_factory=list)
    index_urls: list[str] = field(default_factory=list, repr=False)

    @property
    def key(self) -> str:
        """A name that any change of the recipe changes."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def build(self, programs: Programs, inherited: Mapping[str, str], folder: Path, lock: int) -> None:
        """Build the environment with uv if it is installed, else with pip.

        :param programs: runs uv or pip
        :param inherited: environment variables of uv and pip
        :param folder: that is not there yet
        :param lock: file descriptor of a lock that uv and pip hold
        :raises MLflowError: uv or pip failed, or the task was killed
        """
        variables = {**inherited, "PATH": tool_path(), **self._index_variables()}
        # Without bytecode every prediction would compile MLflow and scikit-learn again (3 s).
        variables["UV_COMPILE_BYTECODE"] = "1"
        create, install = self._commands(folder, variables["PATH"])
        self._run(programs, create, variables, lock)
        for name, text in {**self.files, "requirements.txt": "\n".join(self.requirements)}.items():
            (folder / name).write_text(text)
        self._run(programs, install, variables, lock)

    def _commands(self, folder: Path, path: str) -> tuple[list[str], list[str]]:
        python, options = str(folder / "bin" / "python"), [*self.options, "-r", str(folder / "requirements.txt")]
        if _has_uv(path):
            create = ["uv", "venv", "--seed", "--python", f"python{self.python_version}", str(folder)]
            return create, ["uv", "pip", "install", "--python", python, *options]
        create = [f"python{self.python_version}", "-m", "venv", str(folder)]
        return create, [python, "-m", "pip", "install", *options]

    def _run(self, programs: Programs, command: list[str], variables: dict[str, str], lock: int) -> None:
        if status := programs.run(command, variables, [lock]):
            raise MLflowError(
                f"The environment of the model could not be built: {shlex.join(command[:3])} ended with {status}; "
                f"its output is in the log. Requested: Python {self.python_version}, requirements: "
                f"{without_logins(', '.join(self.requirements))}"
            )

    def _index_variables(self) -> dict[str, str]:
        """Name the indexes to uv and to pip; on a command line, everyone could read their passwords."""
        if not self.index_urls:
            return {}
        first, others = self.index_urls[0], " ".join(self.index_urls[1:])
        variables = {"UV_DEFAULT_INDEX": first, "PIP_INDEX_URL": first}
        return variables | ({"UV_INDEX": others, "PIP_EXTRA_INDEX_URL": others} if others else {})


class Environments:
    """A folder of environments, of which the least recently used make room for new ones.

    Each has a lock file beside it: shared by those who use the environment, exclusive for who builds or removes
    it. The kernel releases a lock when the last process that has the file open is gone, however it ended.

    :param folder: made if it is not there
    :param gigabytes: what the environments may have together once a new one is built. One that is in use counts
        and stays.
    """

    def __init__(self, folder: Path, gigabytes: float) -> None:
        self.folder = folder
        self.limit = gigabytes * GIGABYTE

    @contextmanager
    def use(self, key: str, build: Callable[[Path, int], None]) -> Iterator[tuple[Path, int]]:
        """Hold an environment for a ``with`` block; it is built unless it is complete already.

        :param key: its name
        :param build: called with the folder that it is to make and with the lock's file descriptor, which the
            programs that it runs should keep open
        :return: the folder and the lock's file descriptor, for the programs that run in the block
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        folder = self.folder / f"{PREFIX}{key}"
        with _lock_file(folder).open("a") as lock:
            _lock(lock.fileno(), fcntl.LOCK_SH, folder)
            # Another task may get the lock while its kind changes, hence the loop.
            while not _is_complete(folder):
                _lock(lock.fileno(), fcntl.LOCK_EX, folder)
                if not _is_complete(folder):
                    _build(folder, build, lock.fileno())
                    self._make_room()
                _lock(lock.fileno(), fcntl.LOCK_SH, folder)
            os.utime(folder / MARKER)
            yield folder, lock.fileno()

    def _make_room(self) -> None:
        with (self.folder / "room.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = sorted(self.folder.glob(f"{PREFIX}*/"), key=_last_use)
            size = sum(map(_size, found))
            for folder in found:
                freed = _size(folder)
                if (size > self.limit or not _is_complete(folder)) and _remove(folder):
                    size -= freed


def default_folder() -> Path:
    """Return the folder of the environments if none is given: it survives from run to run."""
    from airflow.configuration import AIRFLOW_HOME

    return Path(AIRFLOW_HOME) / "model_environments"


def read_requirements(hook: MLflowPyfuncHook, artifact_uri: str) -> tuple[list[str], dict[str, str]]:
    """Return all that the environment of a model needs.

    :param artifact_uri: folder of the model
    :return: the lines of a requirements file, and the text of each file that ``-c constraints.txt`` names in it
    :raises MLflowError: the model has no such file
    """
    lines, files = [], {}
    for line in hook.get_model_requirements(artifact_uri):
        option, _, name = line.partition(" ")
        if option in ("-c", "--constraint"):
            name = name.strip()
            files[Path(name).name] = hook.read_model_file(artifact_uri, name)
            line = f"-c {Path(name).name}"
        lines.append(line)
    return complete(lines), files


def complete(requirements: list[str]) -> list[str]:
    """Return the lines of a requirements file with mlflow-skinny, pandas and pyarrow as here, if they are missing."""
    names = set(_names(requirements))
    if "mlflow" in names:
        return requirements
    return requirements + [_as_here(name) for name in COMPANIONS if name not in names]


def tool_path() -> str:
    """Return a PATH on which the Python below this environment comes first and uv, if installed, can be found.

    uv passes over a Python that belongs to a virtual environment, and would look for another or download one.
    """
    folders = [str(Path(sys.base_prefix) / "bin")]
    with suppress(ImportError, FileNotFoundError):  # uv may be on PATH all the same
        from uv import find_uv_bin

        folders.append(str(Path(find_uv_bin()).parent))
    return os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])


def _has_uv(path: str) -> bool:
    """Tell whether to use uv; Airflow's own virtual environments obey the same setting."""
    from airflow.configuration import conf

    wanted = conf.get("standard", "venv_install_method", fallback="auto").lower()
    return wanted == "uv" or (wanted == "auto" and shutil.which("uv", path=path) is not None)


def _names(requirements: Iterable[str]) -> Iterable[str]:
    for line in requirements:
        with suppress(InvalidRequirement):  # an option line such as --extra-index-url
            yield canonicalize_name(Requirement(line.partition(" #")[0]).name)


def _as_here(name: str) -> str:
    try:
        return f"{name}=={version(name)}"
    except PackageNotFoundError:
        return name


def _build(folder: Path, build: Callable[[Path, int], None], lock: int) -> None:
    if folder.exists():
        log.info("%s is incomplete and is built again", folder)
        shutil.rmtree(folder)
    try:
        build(folder, lock)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    size = sum(os.lstat(f"{inner}/{name}").st_size for inner, _, names in os.walk(folder) for name in names)
    (folder / f"{MARKER}.part").write_text(json.dumps({"bytes": size}))
    (folder / f"{MARKER}.part").rename(folder / MARKER)


def _remove(folder: Path) -> bool:
    with _lock_file(folder).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        log.info("Removing %s to make room", folder)
        (folder / MARKER).unlink(missing_ok=True)  # first: what is half removed is not complete
        shutil.rmtree(folder, ignore_errors=True)
        return True


def _lock(descriptor: int, kind: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("Waiting for another task's work on %s", folder)
        fcntl.flock(descriptor, kind)


def _lock_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _is_complete(folder: Path) -> bool:
    # The link to an interpreter that was replaced leads nowhere.
    return (folder / MARKER).exists() and (folder / "bin" / "python").exists()


def _last_use(folder: Path) -> float:
    return (folder / MARKER).stat().st_mtime if (folder / MARKER).exists() else 0


def _size(folder: Path) -> int:
    return json.loads((folder / MARKER).read_text())["bytes"] if (folder / MARKER).exists() else 0
