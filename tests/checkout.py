"""Copies of the project in which files may be changed, and git in them."""

import shutil
import subprocess
from pathlib import Path

from local.settings import PROJECT


def copy_project(target: Path) -> Path:
    """Copy the project's files as they are now, without what git ignores, and return the copy."""
    files = git(PROJECT, "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    for name in filter(None, files.split("\0")):
        if (PROJECT / name).exists():  # deleted files are listed until they are committed
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, target / name)
    return target


def git(project: Path, *arguments: str) -> str:
    """Run a command of git in a project, and return what it prints."""
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    command = ["git", "-C", project, *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def commit(project: Path) -> None:
    """Commit all files of a project, in a new repository unless it has one."""
    git(project, "init", "--quiet")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "All")
