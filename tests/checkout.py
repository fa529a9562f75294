"""A copy of the project in which files may be changed."""

import shutil
import subprocess
from pathlib import Path

from local.settings import PROJECT


def copy_project(target: Path) -> Path:
    """Copy the project's files as they are now, without what git ignores, and return the copy."""
    command = ["git", "-C", PROJECT, "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    files = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for name in filter(None, files.split("\0")):
        if (PROJECT / name).exists():  # deleted files are listed until they are committed
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, target / name)
    return target
