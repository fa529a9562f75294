"""MLflow's packages in their volume: installed once for a lock and a Python."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from local.compose import Container
from local.settings import PROJECT

# Takes the place of the image's, because a real installation takes minutes.
PYTHON = """\
#!/bin/sh
case "$1" in
  --version) echo "Python {version}" ;;
  -m) mkdir -p {folder}/opt/bin && printf '#!/bin/sh\\ncp {folder}/mlflow.txt {folder}/opt/got' >{folder}/opt/bin/pip
    chmod +x {folder}/opt/bin/pip ;;
esac
"""


def installed(folder: Path, version: str, lock: str) -> bool:
    """Run the script in a folder that takes the place of the container's; return whether it installed something."""
    (folder / "mlflow.txt").write_text(lock)
    python = folder / "bin" / "python"
    python.parent.mkdir(exist_ok=True)
    python.write_text(PYTHON.format(version=version, folder=folder))
    python.chmod(0o755)
    paths = {"/requirements": str(folder), "/opt/mlflow": str(folder / "opt")}
    script = (PROJECT / "containers/mlflow_packages.sh").read_text()
    script = Container("mlflow-packages", {}, "", paths, {}).translate(script)
    environment = {"PATH": os.pathsep.join([str(python.parent), os.environ["PATH"]])}
    ended = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=True)
    return "are installed" in ended.stdout


def test_packages_are_installed_once_for_a_lock_and_a_python(tmp_path: Path) -> None:
    steps = [("3.11.14", "one"), ("3.11.14", "one"), ("3.11.14", "other"), ("3.12.1", "other"), ("3.12.1", "other")]
    assert [installed(tmp_path, *step) for step in steps] == [True, False, True, True, False]
    assert (tmp_path / "opt/got").read_text() == "other"
