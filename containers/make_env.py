"""Writes ``.env`` from ``.env_example`` with generated passwords, readable by its owner only: ``make env``."""

from __future__ import annotations

import os
import re
import secrets
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]
EXAMPLE_VALUE = re.compile(r"possums-loopback-only-\w+")


def main(project: Path = PROJECT) -> int:
    """Write the file, unless there is one: it may hold somebody's own settings."""
    if (project / ".env").is_dir():
        print(".env is a folder, made in the file's place by a start without it: sudo rmdir .env", file=sys.stderr)
        return 1
    text = EXAMPLE_VALUE.sub(lambda _: secrets.token_hex(20), (project / ".env_example").read_text())
    _, _, body = text.partition("\n\n")
    comment = "# Written by `make env` from .env_example, with passwords of its own. Never commit this file."
    try:
        file = os.open(project / ".env", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        print("There is a .env already, which stays as it is: delete it for a new one.", file=sys.stderr)
        return 1
    with os.fdopen(file, "w") as stream:
        stream.write(f"{comment}\n\n{body}")
    print("Wrote .env: the passwords of Airflow (admin), MLflow and S3 (airflow) stand in it.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
