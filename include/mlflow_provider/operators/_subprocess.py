"""Processes that end with the task; input, program and result of a model's process."""

import json
import logging
import os
import pickle
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path, PurePath, PurePosixPath
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from ..exceptions import MLflowError
from ..objects import fetch
from . import _model_process

log = logging.getLogger(__name__)

# Reads until the other end of its pipe is closed, then kills its process group, itself included.
GUARD = ("/bin/sh", "-c", "read line; kill -KILL 0")
LOGIN = re.compile(r"(?<=://)[^\s/]+@")  # of a URL: Airflow masks only what a connection or variable holds
# A child of the model's process may import this file again, hence the condition.
STARTER = 'if __name__ == "__main__":\n    from model_process.main import main\n\n    main()\n'
TABLES = (".parquet", ".csv", ".csv.gz")


class Programs:
    """Runs programs, one at a time, that end with this process even if it is killed with SIGKILL.

    Each program runs in a process group with its children and a guard, which kills the group when a pipe that only
    this process holds is closed. A child that leaves the group is not killed.
    """

    def __init__(self) -> None:
        self._group: int | None = None  # its number is the guard's process id
        self.is_killed = False

    def run(self, command: Sequence[str], variables: Mapping[str, str], locks: Collection[int] = ()) -> int:
        """Run a program, log its output without logins in URLs, and kill the children that it leaves.

        :param locks: file descriptors of locks that are held until the program and its children have ended
        :return: its exit status, negative for the signal that ended it
        :raises MLflowError: :meth:`kill` was called
        """
        log.info("Running %s", without_logins(shlex.join(command)))
        quiet = subprocess.DEVNULL
        with subprocess.Popen(
            GUARD, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, env={}, process_group=0
        ) as guard:
            self._group = guard.pid
            try:
                status = self._follow(command, stdin=quiet, env=dict(variables), pass_fds=tuple(locks))
            finally:
                self._kill_group()
                self._group = None  # the system may reuse the id after the guard's end
        if self.is_killed:
            raise MLflowError(f"{command[0]} was killed with the task")
        return status

    def kill(self) -> None:
        """Kill the running program with its children, and refuse to run others."""
        self.is_killed = True
        self._kill_group()

    def _follow(self, command: Sequence[str], **options: Any) -> int:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "process_group": self._group}
        program: subprocess.Popen[bytes] = subprocess.Popen(command, **options)
        # A child left behind would keep the output open, and its reader waiting.
        ender = Thread(target=self._kill_group_after, args=(program,), daemon=True)
        try:
            ender.start()
            if self.is_killed:
                self._kill_group()
            for line in program.stdout or ():
                log.info("%s", without_logins(line.decode(errors="replace").rstrip()))
            return program.wait()
        finally:
            self._kill_group()
            ender.join()
            program.communicate()

    def _kill_group_after(self, program: subprocess.Popen[bytes]) -> None:
        program.wait()
        self._kill_group()

    def _kill_group(self) -> None:
        # macOS denies permission if no member is alive.
        if self._group:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._group, signal.SIGKILL)


def without_logins(text: str) -> str:
    """Return a text with the logins in URLs masked."""
    return LOGIN.sub("***@", text)


def write_program(folder: Path, **arguments: Any) -> list[str]:
    """Write the program that applies a model and its job file, and return the arguments for Python.

    It is a copy, because the program's folder is on Python's path and must contain no other modules.
    """
    program = folder / "program"
    shutil.copytree(Path(_model_process.__file__).parent, program / "model_process")
    (program / "__main__.py").write_text(STARTER)
    (folder / "job").write_text(json.dumps({"parent": os.getpid(), **arguments}))
    return [str(program), str(folder)]


def deliver(folder: Path, **parts: Callable[[], Path]) -> Future[None]:
    """Prepare parts while the program starts (1 to 2 s); a file names the path of each, or ``failed`` exists."""
    delivery: Future[None] = Future()

    def bring() -> None:
        try:
            for name, part in parts.items():
                _announce(folder, name, part())
            delivery.set_result(None)
        except BaseException as error:
            with suppress(OSError):  # the folder is deleted when the task ends
                _announce(folder, "failed", folder)
            delivery.set_exception(error)

    # A pool would wait for its thread, even if the task is killed during a download.
    Thread(target=bring, name="deliver", daemon=True).start()
    return delivery


def read_result(folder: Path, status: int) -> Any:
    """Return the result of the program, or raise a RuntimeError with the reason of its failure.

    :param status: its exit status, negative for the signal that ended it
    """
    if status == 0:
        try:
            # JSON, because unpickling could run a model's code in the task, which talks to Airflow's supervisor.
            return json.loads((folder / "result").read_bytes())
        except (FileNotFoundError, ValueError):
            raise RuntimeError("its process ended as if all were well, and left no result that can be read") from None
    if (folder / "error").exists():
        raise RuntimeError((folder / "error").read_text())
    if status == -signal.SIGKILL:
        raise RuntimeError("its process was killed, perhaps because memory ran out: a smaller chunk_size takes less")
    how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
    raise RuntimeError(f"its process ended {how}; what it printed is in the log")


def _announce(folder: Path, name: str, path: Path) -> None:
    note = folder / f"{name}.part"
    note.write_text(str(path))
    note.rename(folder / name)  # atomic, so that no reader sees half a path


def table_suffix(uri: str) -> str:
    """Return the suffix of a table's URI: one of ``TABLES``, or an error."""
    name = PurePosixPath(urlsplit(uri).path).name.lower()
    if found := [suffix for suffix in TABLES if name.endswith(suffix)]:
        return found[0]
    raise MLflowError(f"{uri!r} names no table: the URI must end in {', '.join(TABLES[:-1])} or {TABLES[-1]}")


def stage_input(data: Any, folder: Path, aws_conn_id: str | None) -> Path:
    """Write a model's input to a file whose suffix names its format, and return the file.

    :param data: a DataFrame or Series (written as plain cells), an array, the URI or path of a Parquet or CSV object
        (copied), or any value that can be pickled
    """
    # The library of a frame or an array is imported already; a URI needs none.
    pandas, numpy = sys.modules.get("pandas"), sys.modules.get("numpy")
    if isinstance(data, str | PurePath) or hasattr(data, "conn_id"):
        file = folder / f"data{table_suffix(str(data))}"
        fetch(str(data), file, aws_conn_id)
    elif pandas and isinstance(data, pandas.DataFrame | pandas.Series):
        (file := folder / "data.cells").write_bytes(pickle.dumps(_take_apart(data)))
    elif numpy and isinstance(data, numpy.ndarray) and data.dtype.kind not in "OTV":
        numpy.save(file := folder / "data.npy", data, allow_pickle=False)
    else:
        (file := folder / "data.pickle").write_bytes(pickle.dumps(data))
    return file


def _take_apart(table: Any) -> dict[str, Any]:
    """Return a frame or series as plain values, from which any version of pandas can rebuild it."""
    is_series = table.ndim == 1
    columns = [table] if is_series else [table.iloc[:, position] for position in range(table.shape[1])]
    levels = [table.index.get_level_values(level) for level in range(table.index.nlevels)]
    return {
        "columns": [(column.astype(object).tolist(), _kind_of(column)) for column in columns],
        "index": [(_cells_of(level), _kind_of(level), level.name) for level in levels],
        "names": [table.name] if is_series else _cells_of(table.columns),
        "is_series": is_series,
    }


def _kind_of(values: Any) -> Any:
    kind = values.dtype
    return (kind.categories.tolist(), bool(kind.ordered)) if str(kind) == "category" else str(kind)


def _cells_of(index: Any) -> Any:
    """Return the values of an index; a RangeIndex as a range, so that it can be restored."""
    is_range = type(index).__name__ == "RangeIndex"
    return range(index.start, index.stop, index.step) if is_range else index.astype(object).tolist()
