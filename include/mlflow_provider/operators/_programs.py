"""Programs that end with the task."""

from __future__ import annotations

import logging
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Thread

from ..exceptions import MLflowError

log = logging.getLogger(__name__)

# Reads until the other end of its pipe is closed, then kills its process group, itself included.
GUARD = ("/bin/sh", "-c", "read line; kill -KILL 0")
LOGIN = re.compile(r"(?<=://)[^\s/]+@")  # of a URL: Airflow masks only what a connection or variable holds


class Programs:
    """Runs programs, one at a time, that end with this process even where SIGKILL ends it.

    Each is the member of a process group, with whatever it starts and with a guard. The guard waits for the end
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
