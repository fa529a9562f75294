"""Write ``.env`` from ``.env_example`` with generated passwords, readable by its owner only: ``make env``."""

import re
import secrets
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]
EXAMPLE_VALUE = re.compile(r"loopback-only-\w+")
COMMENT = "# Written by `make env` from .env_example, with generated passwords. Never commit this file."


def main(project: Path = PROJECT) -> int:
    """Write the file, unless it exists."""
    file = project / ".env"
    if file.is_dir():
        print(".env is a folder, created by Docker in place of the missing file: sudo rmdir .env", file=sys.stderr)
        return 1
    text = EXAMPLE_VALUE.sub(lambda _: secrets.token_hex(20), (project / ".env_example").read_text())
    _, _, body = text.partition("\n\n")
    try:
        file.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        print(".env exists and was not changed: delete it first to write a new one.", file=sys.stderr)
        return 1
    file.write_text(f"{COMMENT}\n\n{body}")
    print("Wrote .env with the passwords of Airflow (user admin), MLflow and S3 (user airflow).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
