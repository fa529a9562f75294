"""Start a program in an environment of its own: ``run.py <JSON file with its variables> <command> ...``.

If it was killed before, its children may still run tasks, or hold its port. They are killed first.
"""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

import psutil

if __name__ == "__main__":
    environment = json.loads(Path(sys.argv[1]).read_text())
    own = {"STACK_HOME": environment["STACK_HOME"], "STACK_PROGRAM": os.environ["SUPERVISOR_PROCESS_NAME"]}
    left = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if own.items() <= process.environ().items():
                process.kill()
                left.append(process)
    psutil.wait_procs(left, timeout=10)
    os.execvpe(sys.argv[2], sys.argv[2:], environment | own)  # noqa: S606 # no shell is wanted
