"""Programs of the tests that run in the environment of OpenMetadata's connector."""

import os
import secrets
import subprocess
from pathlib import Path
from typing import Any

import httpx

from include import settings

HERE = Path(__file__).parent
TOKEN = secrets.token_hex(32)  # the stand-in's


class Program:
    """A program of this folder in the connector's environment, which ends when its input does."""

    def __init__(self, python: Path, name: str) -> None:
        self._process = subprocess.Popen(
            [str(python), str(HERE / name)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "PYTHONPATH": str(settings.INCLUDE.parent)},
        )

    def ask(self, line: str) -> str:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def end(self) -> None:
        self._process.communicate()


class Catalogue:
    """The stand-in for an OpenMetadata server; see ``stub.py``."""

    def __init__(self, url: str) -> None:
        self.url = url

    def state(self) -> dict[str, Any]:
        """Return the ``calls`` it received, its ``entities``, and the ``edges`` of the lineage."""
        return httpx.get(f"{self.url}/state").json()

    def sent(self, method: str, path: str) -> list[Any]:
        """Return the bodies of these calls."""
        return [call["body"] for call in self.state()["calls"] if (call["method"], call["path"]) == (method, path)]

    def entity(self, collection: str, name: str) -> dict[str, Any]:
        return self.state()["entities"][collection][name]

    def fail(self, **failure: Any) -> None:
        httpx.post(f"{self.url}/failures", json=failure)

    def reset(self) -> None:
        httpx.post(f"{self.url}/reset")
