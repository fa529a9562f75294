"""Celery workers that share nothing but services and the code of the DAGs, as on machines of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

import mlflow_provider  # the installed one
import psutil
from uv import find_uv_bin

from local.postgres import as_other_user, find_program
from local.settings import inherited
from local.stack import Stack

RELAY = Path(__file__).with_name("relay.py")
SERVICES = ("S3_PORT", "MLFLOW_PORT", "AIRFLOW_PORT", "REDIS_PORT")


def find_missing() -> str:
    """Return what Celery and workers in sandboxes need and this machine does not have, or nothing."""
    programs = {"redis-server": shutil.which("redis-server"), "bubblewrap": shutil.which("bwrap")}
    if missing := [package for package, program in programs.items() if not program]:
        return f"not installed: {', '.join(missing)}"
    return find_missing_postgres() or _try("bwrap", "--ro-bind", "/", "/", "--unshare-all", "true")


def find_missing_postgres() -> str:
    """Return why PostgreSQL cannot run on this machine, such as no user namespaces for root, or nothing."""
    return _try(*as_other_user(), "true") if find_program("postgres") else "not installed: postgresql"


def _try(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr.strip()


class Workers:
    """Workers of one stack, each of one slot, with names that are their hosts' names."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.folder = folder
        self.ports = [str(stack.settings.ports[name]) for name in SERVICES]
        self._cleanup = ExitStack()
        self._programs: dict[str, subprocess.Popen[bytes]] = {}
        self._groups: dict[str, Path] = {}

    def __enter__(self) -> Workers:
        self.sockets = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory()))  # sockets need a short path
        self._cleanup.callback(self._stop)
        self._run("relay", [sys.executable, str(RELAY), "outside", str(self.sockets), *self.ports])
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    @property
    def names(self) -> list[str]:
        """The workers that run."""
        return [name for name in self._programs if name != "relay"]

    def start(self, name: str) -> None:
        """Start a worker; its tasks run once it has connected to Redis."""
        home = self.folder / name
        for inner in ("airflow", "lineage"):
            (home / inner).mkdir(parents=True)
        relay = [sys.executable, str(RELAY), "inside", str(self.sockets), *self.ports, "--"]
        command = [*relay, "airflow", "celery", "worker", "--skip-serve-logs", "--celery-hostname", name]
        self._run(name, [*self._sandbox(name, home), *command])

    def limit(self, name: str, cores: float) -> None:
        """Let a worker use at most so many processors, with a control group, which only root may create."""
        root = Path("/sys/fs/cgroup")
        old = root / "cpu"  # exists in version 1 of control groups
        self._groups[name] = group = (old if old.is_dir() else root) / f"{name}-{os.getpid()}"
        group.mkdir()
        limit = group / ("cpu.cfs_quota_us" if old.is_dir() else "cpu.max")
        limit.write_text(str(round(cores * 100_000)))  # microseconds of each 100 ms
        for process in self._processes(name):
            with suppress(ProcessLookupError):  # it has ended meanwhile
                (group / "cgroup.procs").write_text(str(process.pid))

    def kill(self, name: str) -> None:
        """Kill all processes of a worker at once."""
        processes = self._processes(name)
        for process in processes:
            with suppress(psutil.NoSuchProcess):  # it has ended with another one
                process.kill()
        self._programs.pop(name).wait()
        psutil.wait_procs(processes)
        if group := self._groups.pop(name, None):
            group.rmdir()

    def _processes(self, name: str) -> list[psutil.Process]:
        """Return those of a worker that run: children of its sandbox's first one."""
        if (program := self._programs[name]).poll() is not None:
            return []
        first = psutil.Process(program.pid)
        return [*first.children(recursive=True), first]

    def _sandbox(self, name: str, home: Path) -> list[str]:
        """Return bubblewrap's command: the system, the packages and the DAGs are read-only, all else is its own."""
        project = self.stack.settings.project
        cache = subprocess.run([find_uv_bin(), "cache", "dir"], check=True, capture_output=True, text=True).stdout
        read_only = ["/usr", "/bin", "/lib", "/lib64", "/sbin", "/etc", sys.base_prefix, sys.prefix, RELAY]
        read_only += [project / "dags", project / "include", Path(mlflow_provider.__file__).parent, self.sockets]
        return [
            *("bwrap", "--unshare-all", "--hostname", name, "--die-with-parent", "--new-session"),
            *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),  # noqa: S108 # in the sandbox
            *(part for path in read_only for part in ("--ro-bind-try", str(path), str(path))),
            *("--bind", str(home), str(self.stack.settings.home)),
            # What stands for a package index: the environment of a model is built from it, in each worker.
            *("--bind", cache.strip(), "/tmp/uv"),  # noqa: S108
        ]

    def _environment(self) -> dict[str, str]:
        home = self.stack.settings.home
        return self.stack.settings.environments()["worker"] | {
            "HOME": str(home),
            "MODEL_ENVIRONMENTS": str(home / "models"),
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": "1",
            "UV_CACHE_DIR": "/tmp/uv",  # noqa: S108
            "UV_OFFLINE": "1",
            "UV_LINK_MODE": "copy",
        }

    def _run(self, name: str, command: list[str]) -> None:
        log = self._cleanup.enter_context((self.folder / f"{name}.log").open("ab"))
        environment = inherited() if name == "relay" else self._environment()
        self._programs[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)

    def _stop(self) -> None:
        for name in list(self._programs):
            self.kill(name)
