"""The script of the service minio-accounts, with ``mc`` as the only program."""

import shutil
import subprocess
from pathlib import Path

import pytest

from local.settings import PROJECT

# Replaces MinIO's client: it records its arguments and input, and answers like the real one.
MC = """\
#!{shell}
echo "$*" >>{folder}/arguments
case "$*" in
  "admin user add server") read -r key && read -r secret && echo "$key $secret" >>{folder}/added ;;
  "admin policy attach "*) {attach} ;;
  "admin user info server airflow --json") echo '{{"accessKey":"airflow","policyName":"{policy}"}}' ;;
  "admin user info server "*" --json") echo '{{"accessKey":"a-key","policyName":"mlflow"}}' ;;
esac
"""


def run(folder: Path, **answers: str) -> subprocess.CompletedProcess[str]:
    """Run the script with a folder in place of the container's."""
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
def test_airflow_and_mlflow_get_a_key_and_a_policy_each(attach: str, tmp_path: Path) -> None:
    ended = run(tmp_path, policy="airflow", attach=attach)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert (tmp_path / "added").read_text() == "airflow secret of Airflow\na-key secret of MLflow\n"
    arguments = (tmp_path / "arguments").read_text()
    assert "admin policy attach server mlflow --user a-key" in arguments
    assert "secret of" not in arguments


def test_a_policy_that_is_not_attached_is_an_error(tmp_path: Path) -> None:
    ended = run(tmp_path, policy="readwrite", attach="false")

    assert ended.returncode == 1
    assert ended.stderr == "MinIO has not attached the policy airflow to its user\n"
