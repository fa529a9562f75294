"""Python environments that several tasks build, share and throw away."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

PREFIX = "model-"
MARKER = "complete.json"  # written when all else is there, and touched by every use
GIGABYTE = 10**9


class Environments:
    """A folder of environments, of which the least recently used make room for new ones.

    Each has a lock file beside it: shared by those who use the environment, exclusive for who builds or removes
    it. The kernel gives a lock back when the last process that has the file open is gone, however it went.

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
            # A change from one kind of lock to the other lets somebody else in between, hence the loop.
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
