"""Faults of one machine: killed and stopped processes, reset connections, a full disk, a wrong clock."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from xmlrpc.client import Fault as SupervisorFault

import psutil

from local.stack import SERVICES, Stack

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")  # of Debian's package faketime
TASK = re.compile(r"airflow (worker -- [0-9a-f]{8}-|supervisor:|task supervisor:)")  # their own names for themselves
MAX_SECONDS, MAX_SKEW = 45, 300
FOUND_WITHIN = 120  # seconds in which a task or a model process to kill must start


@dataclass(frozen=True)
class Fault:
    """One fault of one target.

    :param kind: ``kill``, ``stop``, ``reset``, ``fill`` or ``skew``
    :param target: a program of the stack, ``task``, ``model``, ``supervisor``, ``disk``, or a port's setting
    :param after: seconds from the beginning of the round
    :param seconds: how long it lasts
    :param skew: seconds that the clock is wrong
    """

    kind: str
    target: str
    after: float
    seconds: float
    skew: int

    def __str__(self) -> str:
        lasts = "" if self.kind == "kill" else f" for {self.seconds:.0f} s"
        return f"{self.kind} {self.target}" + (f" by {self.skew:+d} s" if self.kind == "skew" else "") + lasts


def draw(seed: int, number: int, programs: tuple[str, ...]) -> Fault:
    """Return the fault of a round, which depends on nothing else."""
    random = Random(f"{seed}-{number}")
    timed = [program for program in programs if program not in ("s3", "postgres", "redis")]  # libfaketime: not for Go
    kind, target = random.choice(
        [("kill", target) for target in (*programs, "task", "task", "model", "supervisor")]
        + [("stop", target) for target in programs]
        + [("reset", service.port) for service in SERVICES.values()]
        + [("fill", "disk")] * 3
        + [("skew", random.choice(timed))] * 4
    )
    after, seconds = random.uniform(0, 30), random.uniform(5, MAX_SECONDS)
    return Fault(kind, target, after, seconds, random.choice((-1, 1)) * random.randint(10, MAX_SKEW))


@contextmanager
def applied(fault: Fault, stack: Stack) -> Iterator[None]:
    """Apply a fault, and take it back at the end of the block.

    :raises LookupError: the process to kill was not found
    """
    match fault.kind:
        case "kill":
            process = _find(stack, fault.target)[0]
            process.kill()
            yield
            if fault.target == "supervisor":
                psutil.wait_procs([process], timeout=10)
                stack.start(list(SERVICES))  # what starts it again is outside of the stack
        case "stop":
            processes = [program := _find(stack, fault.target)[0], *program.children(recursive=True)]
            _signal(processes, signal.SIGSTOP)
            yield
            _signal(processes, signal.SIGCONT)
        case "reset":
            yield from _reset(stack.settings.ports[fault.target], fault.seconds)
        case "fill":
            yield from _fill(stack.settings.home / "filler")
        case "skew":
            file = stack.settings.home / "environments" / f"{fault.target.partition(':')[0]}.json"
            content = file.read_text()
            clock = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"{fault.skew:+d}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
            _restart(stack, fault.target, file, json.dumps(json.loads(content) | clock))
            yield
            _restart(stack, fault.target, file, content)


def find_missing() -> str:
    """Return what the faults need and this machine does not have, or nothing."""
    if not hasattr(os, "geteuid") or os.geteuid():
        return "needs root, for file systems and connections"
    missing = [package for package, name in (("iproute2", "ss"), ("mount", "mount")) if not shutil.which(name)]
    missing += [] if FAKETIME.exists() else ["faketime"]
    return f"needs {', '.join(missing)}: apt-get install {' '.join(missing)}" if missing else ""


def _find(stack: Stack, target: str) -> list[psutil.Process]:
    """Return the processes of a target, waiting for a task or a model to run."""
    if target == "supervisor":
        return [process for process in [stack.find_supervisor()] if process]
    if target not in ("task", "model"):
        return [psutil.Process(int(stack.info(target)["pid"]))]
    deadline = time.monotonic() + FOUND_WITHIN
    while time.monotonic() < deadline:
        if found := [process for process in stack.processes() if _is(process, target, stack)]:
            return found
        time.sleep(0.1)
    raise LookupError(f"no {target} ran within {FOUND_WITHIN} s")


def _is(process: psutil.Process, target: str, stack: Stack) -> bool:
    with suppress(psutil.Error):
        command = " ".join(process.cmdline())
        return bool(TASK.match(command)) if target == "task" else str(stack.settings.model_environments) in command
    return False


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _reset(port: int, seconds: float) -> Iterator[None]:
    """Reset the connections of a port again and again."""
    command = f"while true; do ss -K state established sport = :{port} > /dev/null 2>&1; sleep 0.5; done"
    with subprocess.Popen(["timeout", str(seconds), "bash", "-c", command]):
        yield


def _fill(file: Path) -> Iterator[None]:
    """Use up the free space of a small file system."""
    with file.open("wb", buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(bytes(1_000_000))
    yield
    file.unlink()


def _restart(stack: Stack, program: str, file: Path, environment: str) -> None:
    file.write_text(environment)
    with suppress(SupervisorFault):  # it has ended by itself
        stack.stop_program(program)
    stack._start_program(program)
