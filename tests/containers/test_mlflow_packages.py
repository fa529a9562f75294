"""The script of the service mlflow-packages."""

import os
import subprocess
from pathlib import Path

from local.settings import PROJECT

# Replaces the image's Python, because a real installation takes minutes: pip keeps what it is to install, uv as well.
PYTHON = """\
#!/bin/sh
case "$1" in
  --version) echo "Python {version}" ;;
  -m) mkdir -p {folder}/opt/bin && cd {folder}/opt/bin
    printf '#!/bin/sh\\ncp {folder}/opt/uv.txt {folder}/opt/by_pip' >pip
    printf '#!/bin/sh\\ncp {folder}/mlflow.txt {folder}/opt/by_uv' >uv
    chmod +x pip uv ;;
esac
"""


def installed(folder: Path, version: str, lock: str) -> bool:
    """Run the script with a folder in place of the container's, and return whether it installed packages."""
    (folder / "mlflow.txt").write_text(lock)
    (folder / "airflow.txt").write_text("tzdata==1\nuv==2 \\\n    --hash=a \\\n    --hash=b\nuvicorn==3\n")
    python = folder / "bin" / "python"
    python.parent.mkdir(exist_ok=True)
    python.write_text(PYTHON.format(version=version, folder=folder))
    python.chmod(0o755)
    script = (PROJECT / "containers/mlflow_packages.sh").read_text()
    script = script.replace("/requirements/", f"{folder}/").replace("/opt/mlflow", f"{folder}/opt")
    environment = {"PATH": os.pathsep.join([str(python.parent), os.environ["PATH"]])}
    ended = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=True)
    return "are installed" in ended.stdout


def test_packages_are_installed_once_per_lock_and_python(tmp_path: Path) -> None:
    steps = [("3.11.14", "one"), ("3.11.14", "one"), ("3.11.14", "other"), ("3.12.1", "other"), ("3.12.1", "other")]
    assert [installed(tmp_path, *step) for step in steps] == [True, False, True, True, False]
    assert (tmp_path / "opt/by_uv").read_text() == "other"
    assert (tmp_path / "opt/by_pip").read_text() == "uv==2 \\\n    --hash=a \\\n    --hash=b\n"
