"""The process of a model: how it is started, what travels to and from it, and that it ends with the task."""

from __future__ import annotations

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
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
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
COMMON = re.compile(r"str|string|bool|boolean|[uU]?[iI]nt\d+|[fF]loat(32|64)|datetime64\[.*")  # types of columns
TABLES = (".parquet", ".csv", ".csv.gz")


class Programs:
    """Runs programs, one at a time, that end with this process even where SIGKILL ends it.

    Each is in a process group, together with its children and with a guard. The guard waits for the end
    of a pipe that only this process holds. A child that leaves the group leaves the guard's reach.
    """

    def __init__(self) -> None:
        self._guard: subprocess.Popen[bytes] | None = None
        self.is_killed = False

    def run(self, command: Sequence[str], variables: Mapping[str, str], locks: Collection[int] = ()) -> int:
        """Run a program, log every line that it prints, and kill what it leaves behind.

        The log shows no login that is part of a URL. A command line is another matter: while the program runs, all
        of this machine can read it.

        :param variables: its environment
        :param locks: file descriptors of locks that stay held until the program and its children have ended
        :return: its exit status, negative for the signal that ended it
        :raises MLflowError: :meth:`kill` was called
        :raises OSError: there is no such program
        """
        log.info("Running %s", without_logins(shlex.join(command)))
        with self._group() as group, self._started(command, variables, group, locks) as program:
            for line in program.stdout or ():
                log.info("%s", without_logins(line.decode(errors="replace").rstrip()))
            status = program.wait()
        if self.is_killed:
            raise MLflowError(f"{command[0]} was killed with the task")
        return status

    def kill(self) -> None:
        """Kill the program that runs and all it has started, and run no other."""
        self.is_killed = True
        self._kill_group()

    @contextmanager
    def _group(self) -> Iterator[int]:
        quiet = subprocess.DEVNULL
        guard = subprocess.Popen(GUARD, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, env={}, process_group=0)
        self._guard = guard
        try:
            yield guard.pid
        finally:
            self._kill_group()
            self._guard = None
            guard.communicate()

    @contextmanager
    def _started(
        self, command: Sequence[str], variables: Mapping[str, str], group: int, locks: Collection[int]
    ) -> Iterator[subprocess.Popen[bytes]]:
        program = subprocess.Popen(
            command,
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=group,
            pass_fds=tuple(locks),
        )
        # A child left behind would keep the output open, and its reader waiting.
        ender = Thread(target=self._kill_group_after, args=(program,), daemon=True)
        try:
            ender.start()
            if self.is_killed:
                self._kill_group()
            yield program
        finally:
            self._kill_group()
            ender.join()
            program.communicate()

    def _kill_group_after(self, program: subprocess.Popen[bytes]) -> None:
        program.wait()
        self._kill_group()

    def _kill_group(self) -> None:
        # The guard's process id is not reused before wait(). macOS denies permission if no member is alive.
        if self._guard:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._guard.pid, signal.SIGKILL)


def without_logins(text: str) -> str:
    """Return a text with every login in a URL, such as ``https://user:password@host``, made unreadable."""
    return LOGIN.sub("***@", text)


def write_program(folder: Path, **arguments: Any) -> list[str]:
    """Write the program that applies a model, and what it shall do.

    A copy is run, because a folder on Python's path must not hold other modules than the program's.

    :param arguments: of ``_model_process.main.predict``
    :return: the arguments for Python
    """
    program = folder / "program"
    shutil.copytree(Path(_model_process.__file__).parent, program / "model_process")
    (program / "__main__.py").write_text(STARTER)
    (folder / "job").write_text(json.dumps({"parent": os.getpid(), **arguments}))
    return [str(program), str(folder)]


def deliver(folder: Path, **parts: Callable[[], Path]) -> Future[None]:
    """Bring what the program waits for, one part after the other, while it starts (1 to 2 s).

    :param parts: functions that return where a part is. The program finds that in a file of the part's name, or
        it finds a file ``failed``.
    :return: what became of it
    """
    delivery: Future[None] = Future()

    def bring() -> None:
        try:
            for name, part in parts.items():
                _announce(folder, name, part())
            delivery.set_result(None)
        except BaseException as error:
            with suppress(OSError):  # the folder is gone if the task is
                _announce(folder, "failed", folder)
            delivery.set_exception(error)

    # A pool would wait for its thread, though the task is killed in the middle of a download.
    Thread(target=bring, name="deliver", daemon=True).start()
    return delivery


def read_result(folder: Path, status: int) -> Any:
    """Return what the program left.

    :param status: its exit status, negative for the signal that ended it
    :raises RuntimeError: it failed; the message says why
    """
    if status == 0:
        return _load(folder / "result")
    if (folder / "error").exists():
        raise RuntimeError((folder / "error").read_text())
    if status == -signal.SIGKILL:
        raise RuntimeError("its process was killed, perhaps because memory ran out: a smaller chunk_size takes less")
    how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
    raise RuntimeError(f"its process ended {how}; what it printed is in the log")


def _load(result: Path) -> Any:
    # Never pickled: the task's process talks to Airflow's supervisor and must not run code of a model.
    try:
        return json.loads(result.read_bytes())
    except (FileNotFoundError, ValueError):
        raise RuntimeError("its process ended as if all were well, and left no result that can be read") from None


def _announce(folder: Path, name: str, path: Path) -> None:
    note = folder / f"{name}.part"
    note.write_text(str(path))
    note.rename(folder / name)  # atomic, so that no reader sees half a path


def table_suffix(uri: str) -> str:
    """Return the kind of table that a URI names: ``.parquet``, ``.csv`` or ``.csv.gz``.

    :raises MLflowError: it is none of them
    """
    name = PurePosixPath(urlsplit(uri).path).name.lower()
    for suffix in reversed(TABLES):
        if name.endswith(suffix):
            return suffix
    raise MLflowError(f"{uri!r} names no table: the URI must end in {', '.join(TABLES[:-1])} or {TABLES[-1]}")


def stage_input(data: Any, folder: Path, aws_conn_id: str | None) -> Path:
    """Write a model's input to a file whose suffix tells its kind.

    :param data: a DataFrame or Series, an array, the URI or path of a Parquet or CSV object (copied byte by byte), or
        any value that can be pickled. A frame travels as Parquet, or as plain cells where Parquet would change it.
    :param aws_conn_id: Airflow connection of an ``s3://`` URI that names none
    :return: the file
    :raises MLflowError: the object cannot be read
    """
    # The library of a frame or an array is imported already; a URI needs none.
    pandas, numpy = sys.modules.get("pandas"), sys.modules.get("numpy")
    if isinstance(data, str | PurePath) or hasattr(data, "conn_id"):
        file = folder / f"data{table_suffix(str(data))}"
        fetch(str(data), file, aws_conn_id)
    elif pandas and isinstance(data, pandas.DataFrame | pandas.Series):
        if isinstance(data, pandas.DataFrame) and _survives_parquet(data):
            data.to_parquet(file := folder / "data.frame")
        else:
            (file := folder / "data.cells").write_bytes(pickle.dumps(_take_apart(data)))
    elif numpy and isinstance(data, numpy.ndarray) and data.dtype.kind not in "OTV":
        numpy.save(file := folder / "data.npy", data, allow_pickle=False)
    else:
        (file := folder / "data.pickle").write_bytes(pickle.dumps(data))
    return file


def _survives_parquet(frame: Any) -> bool:
    """Tell whether Parquet gives a frame back as it is: numbers, text, dates and categories under different names."""
    levels = [frame.index.get_level_values(level) for level in range(frame.index.nlevels)]
    names = [*frame.columns, *(str(level.name) for level in levels if level.name is not None)]
    if len(set(names)) < len(names) or not all(type(name) is str for name in frame.columns):
        return False
    types = [values.dtype for values in (*(frame[name] for name in frame.columns), *levels)]
    return all(kind.categories.dtype == "str" if kind == "category" else COMMON.fullmatch(str(kind)) for kind in types)


def _take_apart(table: Any) -> dict[str, Any]:
    """Return a frame or series as plain parts, which any version of pandas can put together again."""
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
    if str(values.dtype) == "category":
        return values.dtype.categories.tolist(), bool(values.dtype.ordered)
    return str(values.dtype)


def _cells_of(index: Any) -> Any:
    """Return the values of an index; those of one that counts as a range, so that it counts again."""
    is_range = type(index).__name__ == "RangeIndex"
    return range(index.start, index.stop, index.step) if is_range else index.astype(object).tolist()
