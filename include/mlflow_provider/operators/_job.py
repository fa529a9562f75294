"""The folder through which a task and the process of a model speak."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

from . import _model_process

# A child of the model's process may import this file again, hence the condition.
STARTER = 'if __name__ == "__main__":\n    from model_process.main import main\n\n    main()\n'


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
    # Never pickled: the task speaks with Airflow's supervisor, and its process is to run no code of a model.
    try:
        return json.loads(result.read_bytes())
    except (FileNotFoundError, ValueError):
        raise RuntimeError("its process ended as if all were well, and left no result that can be read") from None


def _announce(folder: Path, name: str, path: Path) -> None:
    note = folder / f"{name}.part"
    note.write_text(str(path))
    note.rename(folder / name)  # atomic, so that no reader sees half a path
