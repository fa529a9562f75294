"""Run PostgreSQL with its files in one folder, which the first start creates: ``postgres.py <folder> <port>``."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

USER = "airflow"
DATABASE = "postgres"  # the one that initdb creates


def find_program(name: str) -> str | None:
    """Return the path of a program; Debian has PostgreSQL's on no PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda file: float(file.parts[4]))
    return shutil.which(name) or (str(found[-1]) if found else None)


def as_other_user() -> list[str]:
    """Return what PostgreSQL's commands begin with as root, for whom they refuse to run.

    In a user namespace, root's processes and files belong to another user.
    """
    return ["unshare", "--user", "--map-user=65534"] if os.geteuid() == 0 else []


def main(folder: Path, port: str) -> None:
    """Create the files unless they exist, and become the server; it listens on 127.0.0.1 only."""
    prefix = as_other_user()
    if not folder.exists():
        incomplete = folder.with_suffix(".incomplete")
        shutil.rmtree(incomplete, ignore_errors=True)
        command = [*prefix, find_program("initdb") or "initdb", "--pgdata", str(incomplete), "--username", USER]
        command += ["--auth=scram-sha-256", "--pwfile=/dev/stdin", "--encoding=UTF8", "--no-locale"]
        if code := subprocess.run(command, input=os.environ["POSTGRES_PASSWORD"], text=True, check=False).returncode:
            sys.exit(code)  # so that the log ends with the reason
        incomplete.rename(folder)
    command = [*prefix, find_program("postgres") or "postgres", "-D", str(folder), "-p", port, "-h", "127.0.0.1"]
    os.execvp(command[0], [*command, "-k", ""])  # noqa: S606 # no shell is wanted


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
