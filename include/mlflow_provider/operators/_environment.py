"""The Python environments of models: how they are built, shared by tasks and deleted."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
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
MARKER = "complete.json"  # written last, touched at every use
GIGABYTE = 10**9
# Packages that the process needs besides those of a model; full mlflow includes them.
COMPANIONS = ("mlflow-skinny", "pandas", "pyarrow")


@dataclass(frozen=True)
class Recipe:
    """Everything that determines the content of an environment.

    :param files: text of the files that the requirements name
    :param options: of ``uv pip install``; all users of the machine can read them on its command line
    :param index_urls: package indexes, the first replaces the default; they may contain passwords
    """

    python_version: str
    requirements: list[str]
    files: dict[str, str] = field(default_factory=dict)
    options: list[str] = field(default_factory=list)
    index_urls: list[str] = field(default_factory=list, repr=False)

    @property
    def key(self) -> str:
        """A hash of the recipe."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def build(self, programs: Programs, inherited: Mapping[str, str], folder: Path, lock: int) -> None:
        """Build the environment in a new folder.

        :param inherited: environment variables of uv
        :param lock: file descriptor of a lock that uv holds
        :raises MLflowError: uv failed, or the task was killed
        """
        from uv import find_uv_bin

        # Without bytecode every prediction would compile MLflow and scikit-learn again (3 s).
        variables = {**inherited, "PATH": python_path(), "UV_COMPILE_BYTECODE": "1"}
        if self.index_urls:  # not as options, because everyone can read a command line
            variables |= {"UV_DEFAULT_INDEX": self.index_urls[0], "UV_INDEX": " ".join(self.index_urls[1:])}
        folder.mkdir()
        for name, text in {**self.files, "requirements.txt": "\n".join(self.requirements)}.items():
            (folder / name).write_text(text)
        create = ["venv", "--allow-existing", "--seed", "--python", f"python{self.python_version}", str(folder)]
        target = ["--python", str(folder / "bin" / "python")]
        install = ["pip", "install", *target, *self.options]
        # uv does not check the hashes of constraints, so a lock is installed as requirements first.
        locks = [name for name, text in self.files.items() if is_lock(text)]
        locked = [[*install, "--require-hashes", "--no-deps", "-r", str(folder / name)] for name in locks]
        for arguments in (create, *locked, [*install, "-r", str(folder / "requirements.txt")]):
            if status := programs.run([find_uv_bin(), *arguments], variables, [lock]):
                raise MLflowError(
                    f"The environment of the model could not be built: uv {shlex.join(arguments[:2])} ended with "
                    f"{status}; its output is in the log. Requested: Python {self.python_version}, requirements: "
                    f"{without_logins(', '.join(self.requirements))}"
                )


class Environments:
    """A folder of environments; those used least recently and idle are deleted to make room for new ones.

    Each has a lock file beside it, shared while the environment is used, exclusive while it is built or deleted. The
    kernel releases a lock when the last process with the open file has ended.
    """

    def __init__(self, folder: Path, gigabytes: float) -> None:
        self.folder = folder
        self.limit = gigabytes * GIGABYTE

    @contextmanager
    def use(self, key: str, build: Callable[[Path, int], None]) -> Iterator[tuple[Path, int]]:
        """Lock an environment for a ``with`` block, and build it if it is not complete.

        The builder and the block get its folder and the lock's file descriptor, which their programs should inherit.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        folder = self.folder / f"{PREFIX}{key}"
        with Path(f"{folder}.lock").open("a") as file:
            lock = file.fileno()
            _lock(lock, fcntl.LOCK_SH, folder)
            # A loop, because another task may get the lock between the two kinds.
            while not _is_complete(folder):
                _lock(lock, fcntl.LOCK_EX, folder)
                if not _is_complete(folder):
                    _build(folder, build, lock)
                    self._make_room()
                _lock(lock, fcntl.LOCK_SH, folder)
            os.utime(folder / MARKER)
            yield folder, lock

    def _make_room(self) -> None:
        with (self.folder / "room.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = {folder: _use_and_size(folder) for folder in self.folder.glob(f"{PREFIX}*/")}
            surplus = sum(size for _, size in found.values()) - self.limit
            for folder, (last_use, size) in sorted(found.items(), key=lambda item: item[1]):
                if (surplus > 0 or not last_use) and _remove(folder):
                    surplus -= size


def read_requirements(hook: MLflowPyfuncHook, artifact_uri: str) -> tuple[list[str], dict[str, str]]:
    """Return the lines of a model's requirements, and the text of each file of constraints."""
    lines, files = [], {}
    for line in hook.get_model_requirements(artifact_uri):
        option, _, name = line.partition(" ")
        if option in ("-c", "--constraint"):
            name = name.strip()
            files[Path(name).name] = hook.read_model_file(artifact_uri, name)
            line = f"-c {Path(name).name}"
        lines.append(line)
    return complete(lines), files


def is_lock(text: str) -> bool:
    """Return whether each requirement of a file has a hash."""
    lines = text.replace("\\\n", " ").splitlines()
    named = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return bool(named) and all(" --hash=" in line for line in named)


def complete(requirements: list[str]) -> list[str]:
    """Add mlflow-skinny, pandas and pyarrow in their versions here, if the requirements lack them."""
    names = set()
    for line in requirements:
        with suppress(InvalidRequirement):  # an option line such as --extra-index-url
            names.add(canonicalize_name(Requirement(line.partition(" #")[0]).name))
    return requirements + [_as_here(name) for name in COMPANIONS if not names & {name, "mlflow"}]


def python_path() -> str:
    """Return a PATH that begins with this environment's base Python, because uv ignores the one of an environment."""
    return os.pathsep.join([str(Path(sys.base_prefix) / "bin"), os.environ.get("PATH", os.defpath)])


def _as_here(name: str) -> str:
    with suppress(PackageNotFoundError):
        return f"{name}=={version(name)}"
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
    with Path(f"{folder}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        log.info("Removing %s to make room", folder)
        (folder / MARKER).unlink(missing_ok=True)  # first, so that a partly deleted folder is incomplete
        shutil.rmtree(folder, ignore_errors=True)
        return True


def _lock(descriptor: int, kind: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("Waiting for another task's work on %s", folder)
        fcntl.flock(descriptor, kind)


def _is_complete(folder: Path) -> bool:
    # The link to an interpreter that was replaced is broken.
    return (folder / MARKER).exists() and (folder / "bin" / "python").exists()


def _use_and_size(folder: Path) -> tuple[float, int]:
    """Return the last use of an environment and its bytes, or zeros if it is not complete."""
    marker = folder / MARKER
    return (marker.stat().st_mtime, json.loads(marker.read_text())["bytes"]) if _is_complete(folder) else (0.0, 0)
