"""Backup, restore and upgrade of a local stack, on real services."""

import json
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from containers.write_secrets import AUTH_INI
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.mlflow_provider.hooks.rest import API
from include.problem import PROBLEM
from local import backup
from local.backup import BackupError, back_up, installed_versions, read_versions, restore, upgrade
from local.settings import inherited, load, temporary
from local.stack import Stack
from tests.sandbox import find_missing_postgres

from .conftest import s3

OLD_MLFLOW, OLD_AIRFLOW = "3.16.0", "3.2.2"  # with other schemas than today's
AIRFLOW = "airflow/airflow.db"
OLD_DAG = """
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG("old", schedule=None):
    EmptyOperator(task_id="work")
"""
SERVICES = ["s3", "mlflow"]


@pytest.fixture
def own_stack(own_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A stack with folders, and Airflow's connection to its MLflow."""
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", own_stack.settings.environment()["AIRFLOW_CONN_MLFLOW_DEFAULT"])
    own_stack.settings.create_folders()
    return own_stack


def write(stack: Stack) -> dict[str, Any]:
    """Log a run with an artifact, register it and make it champion; return what MLflow and S3 say then."""
    client = s3(stack)
    for bucket in ("data", PROBLEM.artifact_bucket):
        client.create_bucket(Bucket=bucket)
    client.put_object(Bucket="data", Key="features/r1/features.parquet", Body=b"rows")
    hook = MLflowClientHook()
    experiment_id = hook.create_experiment("backup")
    run_id = hook.create_run(experiment_id, run_name="RidgeCV", tags={"code_version": "1f0c9d"})["info"]["run_id"]
    hook.log_batch(run_id, metrics=[{"key": "rmse", "value": 1.24}], params=[{"key": "alpha", "value": "1"}])
    hook.set_terminated(run_id)
    body = {"experiment_id": experiment_id, "name": "model", "source_run_id": run_id}
    model_id = hook.call("POST", f"{API}/logged-models", body, "model")["info"]["model_id"]
    client.put_object(Bucket=PROBLEM.artifact_bucket, Key=f"1/models/{model_id}/artifacts/MLmodel", Body=b"model")
    hook.create_registered_model("lengths")
    hook.create_model_version("lengths", f"models:/{model_id}", run_id)
    hook.set_registered_model_alias("lengths", "champion", "1")
    return read(stack)


def read(stack: Stack) -> dict[str, Any]:
    """Return runs, versions and the champion in MLflow, and all objects in S3."""
    hook, client = MLflowClientHook(), s3(stack)
    experiments = [experiment["experiment_id"] for experiment in hook.search_experiments()]
    objects = {
        (bucket, entry["Key"]): client.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
        for bucket in ("data", PROBLEM.artifact_bucket)
        for entry in client.list_objects_v2(Bucket=bucket).get("Contents", [])
    }
    runs = list(hook.search_runs(experiments))
    return {
        "runs": [(run["info"]["run_id"], run["info"]["status"], run["data"]["metrics"]) for run in runs],
        "versions": [(found["version"], found["source"], found["run_id"]) for found in hook.search_model_versions()],
        "champion": hook.get_model_version_by_alias("lengths", "champion")["version"],
        "objects": objects,
    }


def test_a_backup_of_a_running_stack_restores_all_of_it_elsewhere(
    own_stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_stack.start(SERVICES)
    before = write(own_stack)
    archive = back_up(own_stack.settings, key := tmp_path / "key")
    own_stack.stop()

    other = Stack(replace(own_stack.settings, home=tmp_path / "other"))
    restore(other.settings, archive, key)
    try:
        other.start(SERVICES)
        assert read(other) == before
    finally:
        other.stop()
    assert other.settings.secrets() == own_stack.settings.secrets()


def test_an_archive_is_private_and_an_encrypted_one_is_unreadable_without_its_key(
    own_stack: Stack, tmp_path: Path
) -> None:
    secret = own_stack.settings.secrets()["MLFLOW_PASSWORD"].encode()
    archive = back_up(own_stack.settings, key := tmp_path / "key")

    assert archive.stat().st_mode & 0o077 == key.stat().st_mode & 0o077 == 0
    assert secret not in archive.read_bytes()
    with pytest.raises(BackupError, match="is encrypted: add KEY="):
        restore(own_stack.settings, archive)
    back_up(own_stack.settings, other := tmp_path / "other key")
    with pytest.raises(BackupError, match="cannot be read"):
        restore(own_stack.settings, archive, other)
    assert list(own_stack.settings.home.glob("replaced-*")) == []


def test_restoring_keeps_what_it_replaces(own_stack: Stack) -> None:
    home = own_stack.settings.home
    archive = back_up(own_stack.settings)
    (home / "s3" / "data").mkdir()
    (home / "s3" / "data" / "new").write_text("written after the backup")
    replaced = restore(own_stack.settings, archive)

    assert not (home / "s3" / "data").exists()
    assert (replaced / "s3" / "data" / "new").read_text() == "written after the backup"


def test_a_bad_archive_is_refused_before_anything_stops(own_stack: Stack, tmp_path: Path) -> None:
    archive, calls = back_up(own_stack.settings, tmp_path / "key"), []
    with pytest.raises(BackupError):
        restore(own_stack.settings, archive, stop=lambda: calls.append("stop"))
    assert calls == []
    restore(own_stack.settings, archive, tmp_path / "key", stop=lambda: calls.append("stop"))
    assert calls == ["stop"]


def test_only_the_newest_archives_are_kept(own_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "KEPT", 2)
    archives = [back_up(own_stack.settings) for _ in range(3)]

    assert sorted((own_stack.settings.home / "backups").iterdir()) == archives[1:]


def test_a_backup_is_consistent_while_a_database_is_written(own_stack: Stack) -> None:
    file = own_stack.settings.home / "mlflow" / "mlflow.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE runs (id)")
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("INSERT INTO runs VALUES (1)")
        database.commit()
        database.execute("INSERT INTO runs VALUES (2)")  # not committed; the first row is in the journal only
        archive = back_up(own_stack.settings)
    restore(own_stack.settings, archive)

    with closing(sqlite3.connect(file)) as restored:
        assert restored.execute("SELECT id FROM runs").fetchall() == [(1,)]


def test_an_archive_of_newer_versions_is_refused(own_stack: Stack) -> None:
    (own_stack.settings.home / "versions.json").write_text(json.dumps({"airflow": "3.3.2", "mlflow": "99.0"}))
    archive = back_up(own_stack.settings)

    with pytest.raises(BackupError, match=r"of mlflow 99\.0, 3\.\S+ is installed"):
        restore(own_stack.settings, archive)


@pytest.mark.parametrize("content", [None, b"not an archive"])
def test_a_file_that_is_no_archive_is_refused(own_stack: Stack, tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "backup.tar.gz"
    if content:
        file.write_bytes(content)

    with pytest.raises(BackupError, match=r"backup\.tar\.gz (does not exist|cannot be read)"):
        restore(own_stack.settings, file)


def test_a_damaged_archive_is_refused(own_stack: Stack) -> None:
    archive = back_up(own_stack.settings)
    content = archive.read_bytes()
    for place in (len(content) // 2, len(content) - 8):  # in the data, and in gzip's checksum
        archive.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        with pytest.raises(BackupError, match="cannot be read"):
            restore(own_stack.settings, archive)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("s3", tarfile.SYMTYPE, "is a special file"),
        ("s3/data", tarfile.LNKTYPE, "is a special file"),
        ("../secrets.env", tarfile.REGTYPE, "outside the destination"),
        ("s3/data", tarfile.REGTYPE, "not a backup of this stack"),
    ],
)
def test_a_hostile_or_foreign_archive_changes_nothing(
    own_stack: Stack, tmp_path: Path, name: str, kind: bytes, message: str
) -> None:
    before = sorted(own_stack.settings.home.rglob("*"))
    with tarfile.open(tmp_path / "backup.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, "mlflow"
        archive.addfile(entry)

    with pytest.raises(BackupError, match=message):
        restore(own_stack.settings, tmp_path / "backup.tar.gz")
    assert sorted(own_stack.settings.home.rglob("*")) == before


def test_a_file_that_is_no_key_is_refused(own_stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a password")

    with pytest.raises(BackupError, match="key is not a key"):
        back_up(own_stack.settings, tmp_path / "key")
    assert list((own_stack.settings.home / "backups").iterdir()) == []


def test_restoring_brings_back_the_choice_of_the_database(tmp_path: Path) -> None:
    settings = temporary(tmp_path, database="postgresql")
    settings.create_folders()
    restore(other := replace(settings, home=tmp_path / "other"), back_up(settings))

    assert load(other.home).database == "postgresql"


@pytest.mark.skipif(bool(missing := find_missing_postgres()), reason=missing)
@pytest.mark.extended
def test_a_backup_of_a_running_postgresql_restores_its_rows(tmp_path: Path) -> None:
    stack = Stack(temporary(tmp_path, database="postgresql"))

    def query(statement: str) -> list[Any]:
        with closing(psycopg2.connect(stack.settings.database_url.replace("+psycopg2", ""))) as database:
            database.autocommit = True
            cursor = database.cursor()
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    try:
        _start_postgres(stack)
        query("CREATE TABLE kept (id int)")
        archive = back_up(stack.settings)
        query("CREATE TABLE later (id int)")
        stack.stop()
        restore(stack.settings, archive)
        _start_postgres(stack)
        assert query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == [("kept",)]
    finally:
        stack.stop()


def test_only_a_change_of_versions_upgrades_after_a_backup(own_stack: Stack) -> None:
    assert upgrade(own_stack.settings) is None
    with closing(sqlite3.connect(own_stack.settings.home / "airflow" / "airflow.db")) as database:
        database.execute("CREATE TABLE dag_run (id)")
    assert upgrade(own_stack.settings) is None
    (own_stack.settings.home / "versions.json").write_text(json.dumps({"airflow": "3.3.1", "mlflow": "3.17.2"}))
    saved = upgrade(own_stack.settings)

    assert saved
    assert saved.exists()
    assert upgrade(own_stack.settings) is None


def test_an_upgrade_that_fails_names_the_backup_and_is_tried_again(own_stack: Stack) -> None:
    before = {"airflow": "3.3.1", "mlflow": "3.17.2"}
    (own_stack.settings.home / "versions.json").write_text(json.dumps(before))
    with closing(sqlite3.connect(own_stack.settings.home / "mlflow" / "mlflow.db")) as database, database:
        database.execute("CREATE TABLE alembic_version (version_num)")
        database.execute("INSERT INTO alembic_version VALUES ('unknown')")

    with pytest.raises(BackupError, match=r"cannot be upgraded: .*'unknown'.*\nThe state before is in .*\.tar\.gz"):
        upgrade(own_stack.settings)
    assert read_versions(own_stack.settings) == before


@pytest.mark.extended
def test_an_older_mlflow_is_upgraded_and_restored(
    own_stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "environments"
    install(old / "mlflow", f"mlflow[auth]=={OLD_MLFLOW}", "boto3")
    # Until 3.17, MLflow read the administrator from this file only.
    login = f"admin_username = admin\nadmin_password = {own_stack.settings.secrets()['MLFLOW_PASSWORD']}\n"

    def start_old(patch: pytest.MonkeyPatch) -> None:
        for name in ("local.settings.ENVIRONMENTS", "local.backup.ENVIRONMENTS"):
            patch.setattr(name, old)
        patch.setattr("local.settings.AUTH_INI", AUTH_INI + login)
        own_stack.start(SERVICES)

    with monkeypatch.context() as patch:
        start_old(patch)
        before, schema = write(own_stack), _schema(own_stack)
        own_stack.stop()

    own_stack.start(SERVICES)
    assert _schema(own_stack) != schema
    assert read(own_stack) == before
    own_stack.stop()

    (saved,) = (own_stack.settings.home / "backups").iterdir()
    restore(own_stack.settings, saved)
    assert _schema(own_stack) == schema
    with monkeypatch.context() as patch:
        start_old(patch)
        assert read(own_stack) == before


@pytest.mark.extended
def test_an_older_airflow_is_upgraded_and_restored(own_stack: Stack, tmp_path: Path) -> None:
    settings = own_stack.settings
    settings.create_folders()
    (settings.home / "versions.json").write_text(json.dumps(installed_versions() | {"airflow": OLD_AIRFLOW}))
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "old.py").write_text(OLD_DAG)
    install(tmp_path / "old", f"apache-airflow=={OLD_AIRFLOW}")
    old = tmp_path / "old" / "bin" / "airflow"
    environment = inherited() | {
        "AIRFLOW_HOME": str(settings.home / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__FERNET_KEY": settings.secrets()["AIRFLOW_FERNET_KEY"],
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": settings.database_url,
    }

    def list_runs(airflow: Path) -> Any:
        command = [airflow, "dags", "list-runs", "old", "--output", "json"]
        return json.loads(subprocess.check_output(command, env=environment, text=True).splitlines()[-1])

    for arguments in (["db", "migrate"], ["dags", "reserialize"], ["dags", "trigger", "old"]):
        subprocess.run([old, *arguments], env=environment, check=True, capture_output=True)
    before, schema = list_runs(old), _schema(own_stack, AIRFLOW)

    saved = upgrade(settings)
    own_stack._migrate()
    assert _schema(own_stack, AIRFLOW) != schema
    assert [run["run_id"] for run in list_runs(Path(sys.prefix) / "bin" / "airflow")] == [before[0]["run_id"]]

    assert saved
    restore(settings, saved)
    assert read_versions(settings)["airflow"] == OLD_AIRFLOW
    assert _schema(own_stack, AIRFLOW) == schema
    assert list_runs(old) == before


def install(folder: Path, *packages: str) -> None:
    """Make an environment with these packages."""
    uv = Path(sys.prefix) / "bin" / "uv"
    subprocess.run([uv, "venv", "--quiet", folder], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", folder, *packages], check=True)


def _start_postgres(stack: Stack) -> None:
    stack._start_supervisor()
    stack._start_program("postgres")
    stack._wait_for_database()


def _schema(stack: Stack, name: str = "mlflow/mlflow.db") -> str:
    with closing(sqlite3.connect(stack.settings.home / name)) as database:
        return str(database.execute("SELECT version_num FROM alembic_version").fetchone()[0])
