"""Start a program in an environment of its own: ``run.py <JSON file with its variables> <command> ...``."""

import json
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    os.execvpe(sys.argv[2], sys.argv[2:], json.loads(Path(sys.argv[1]).read_text()))  # noqa: S606 # no shell is wanted
