"""MinIO's accounts: the script of the service minio-accounts, where ``mc`` and a shell are all there is."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from local.settings import PROJECT

# It is the image's client of a server that cannot be had here: it knows its commands and notes what it is told.
MC = """\
#!{shell}
echo "$*" >>{folder}/said
case "$*" in
  "admin user add possums") read -r key && read -r secret && echo "$key $secret" >>{folder}/added ;;
  "admin policy attach "*) {attach} ;;
  "admin user info possums airflow --json") echo '{{"accessKey":"airflow","policyName":"{policy}"}}' ;;
  "admin user info possums "*" --json") echo '{{"accessKey":"a-key","policyName":"mlflow"}}' ;;
esac
"""


def run(folder: Path, **answers: str) -> subprocess.CompletedProcess[str]:
    """Run the script in a folder that takes the place of the container's, where ``mc`` is the only program."""
    shell = shutil.which("sh")
    client = folder / "bin" / "mc"
    for file, text in {
        client: MC.format(shell=shell, folder=folder, **answers),
        folder / "root.env": "MINIO_ROOT_USER=root\nMINIO_ROOT_PASSWORD=of-the-root\n",
        folder / "airflow.key": "airflow\nsecret of Airflow\n",
        folder / "mlflow.key": "a-key\nsecret of MLflow\n",
    }.items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    client.chmod(0o755)
    script = (PROJECT / "containers/s3/minio_accounts.sh").read_text().replace("/secrets/s3", str(folder))
    return subprocess.run(
        [str(shell)], input=script, env={"PATH": str(client.parent)}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("attach", ["true", "false"], ids=["the first time", "again"])
def test_each_gets_a_key_with_a_policy_of_its_own(attach: str, tmp_path: Path) -> None:
    ended = run(tmp_path, policy="airflow", attach=attach)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert (tmp_path / "added").read_text() == "airflow secret of Airflow\na-key secret of MLflow\n"
    said = (tmp_path / "said").read_text()
    assert "admin policy attach possums mlflow --user a-key" in said
    assert "secret of" not in said


def test_a_policy_that_is_not_there_in_the_end_is_an_error(tmp_path: Path) -> None:
    ended = run(tmp_path, policy="readwrite", attach="false")

    assert ended.returncode == 1
    assert ended.stderr == "MinIO has not given the policy airflow to its user\n"
