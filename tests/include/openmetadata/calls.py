"""Calls functions of the connector's environment, each in its own process.

A program for that environment: it imports once and forks for each call, because importing takes as long as the call.
Each line of input is JSON: ``function`` (``module:name``), ``arguments``, ``environment``, ``log`` (a file), and
``seconds``, a server's time-out in place of the one in the code. Each line of output is JSON: ``result`` or ``error``.
"""

import json
import os
import sys
from pkgutil import resolve_name
from typing import Any

from include.openmetadata import completion, connector  # noqa: F401


def call(function: str, arguments: dict[str, Any], environment: dict[str, str], log: str, seconds: float) -> Any:
    """Call a function where its output goes to the log."""
    os.environ.clear()
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(file, descriptor)
    connector.LIMITS["timeout"] = (5, seconds or connector.LIMITS["timeout"][1])
    try:
        return {"result": resolve_name(function)(**arguments)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


for line in sys.stdin:
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.write(writing, json.dumps(call(**json.loads(line))).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as response:
        print(response.read(), flush=True)  # noqa: T201
    os.wait()
