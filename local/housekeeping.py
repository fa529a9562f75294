"""Clean up what the DAG housekeeping cannot reach: the databases of Airflow and MLflow, logs, lineage events.

A task of Airflow 3 has no access to Airflow's database, and MLflow has no request that removes what was deleted.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from include.problem import PROBLEM
from local.airflow import Airflow
from local.settings import ENVIRONMENTS, USER, Settings, load
from local.stack import StackError

RESTORABLE = 7  # days in which what was deleted in MLflow can be restored
RUNS = 90  # days that Airflow's runs, and the logs and lineage of their tasks, are kept
# The newest event of an asset is what the next run works on, so that events are kept longer.
EVENTS = 365  # days
TABLES = (
    *("callback", "connection_test_request", "dag_run", "deadline", "import_error", "job", "log", "revoked_token"),
    *("task_instance", "task_instance_history", "task_reschedule", "trigger", "xcom"),
)


def clean(settings: Settings, now: datetime, *, dry_run: bool = False) -> Iterator[str]:
    """Delete what is old, and yield a line about each kind; Airflow must be running, and MLflow unless it is elsewhere.

    :param dry_run: only count; MLflow cannot, and is left out
    :raises StackError: a command of Airflow or MLflow failed; the message has its last lines
    """
    for days, tables in ((RUNS, TABLES), (EVENTS, ("asset_event",))):
        rows = clean_database(settings, now - timedelta(days=days), tables, dry_run=dry_run)
        yield f"Airflow: {rows} rows of {', '.join(tables)}"
    limit = now - timedelta(days=RUNS)
    yield f"logs: {delete_files(settings.home / 'airflow' / 'logs', limit, dry_run=dry_run)} files"
    left = delete_files(settings.temporary, now - timedelta(days=1), dry_run=dry_run)
    yield f"temporary: {left} files of killed programs"
    yield f"lineage: {trim_events(settings.lineage, limit, dry_run=dry_run)} events"
    if not dry_run and (settings.home / "mlflow" / "mlflow.db").exists():
        yield f"MLflow: {remove_deleted(settings, RESTORABLE)} runs and models removed"


def remove_deleted(settings: Settings, days: float) -> int:
    """Remove the runs and models that were deleted in MLflow more than `days` ago, with their artifacts."""
    login = {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": settings.secrets()["MLFLOW_PASSWORD"]}
    command = [str(ENVIRONMENTS / "mlflow" / "bin" / "mlflow"), "gc", "--older-than", f"{days}d"]
    command += ["--backend-store-uri", "sqlite:///mlflow.db", "--tracking-uri", settings.url("mlflow")]
    command += ["--artifacts-destination", f"s3://{PROBLEM.artifact_bucket}"]
    environment = settings.environments()["mlflow"] | login
    return _run(command, environment, settings.home / "mlflow").count("has been permanently deleted")


def clean_database(settings: Settings, before: datetime, tables: tuple[str, ...], *, dry_run: bool) -> int:
    """Delete old rows of Airflow's database, but none of a DAG that has an old run that has not ended.

    :return: number of rows
    """
    command = [sys.executable, "-m", "airflow", "db", "clean", "--clean-before-timestamp", before.isoformat()]
    command += ["--tables", ",".join(tables), "--skip-archive", "--error-on-cleanup-failure", "--yes"]
    if waiting := find_waiting(settings, before):
        command += ["--exclude-dag-ids", ",".join(waiting)]
    output = _run(command + ["--dry-run"] * dry_run, settings.environment(), settings.home)
    return sum(int(line.split()[1]) for line in output.splitlines() if line.startswith("Found ") and "rows" in line)


def delete_files(folder: Path, before: datetime, *, dry_run: bool) -> int:
    """Delete files that were last written before a time, and folders that are empty then; return how many files."""
    old = [file for file in folder.rglob("*") if file.is_file() and file.lstat().st_mtime < before.timestamp()]
    for file in [] if dry_run else old:
        file.unlink()
        for parent in file.parents:
            if parent == folder or any(parent.iterdir()):
                break
            parent.rmdir()
    return len(old)


def trim_events(file: Path, before: datetime, *, dry_run: bool) -> int:
    """Delete the lineage events before a time, and return how many.

    The file is renamed first: tasks open it for each event, and so write to a new one. If this is killed before all
    other events are there too, the next call adds those that are missing.
    """
    taken = file.with_suffix(".old")
    events = [line for found in (taken, file) if found.exists() for line in found.read_text().splitlines()]
    old = sum(_is_before(line, before) for line in events)
    if dry_run or not (old or taken.exists()):
        return old
    if not taken.exists():
        file.rename(taken)
    present = set(file.read_text().splitlines()) if file.exists() else set()
    with file.open("a") as stream:
        for line in taken.read_text().splitlines():
            if line not in present and not _is_before(line, before):
                stream.write(f"{line}\n")
    taken.unlink()
    return old


def _is_before(line: str, time: datetime) -> bool:
    try:
        return datetime.fromisoformat(json.loads(line)["eventTime"]) < time
    except ValueError:  # a task was killed while it wrote the event
        return True


def find_waiting(settings: Settings, before: datetime) -> list[str]:
    """Return the DAGs with a run that was started before a time and has not ended."""
    return sorted({run["dag_id"] for run in Airflow(settings).active_runs(run_after_lte=before.isoformat())})


def _run(command: list[str], environment: dict[str, str], folder: Path) -> str:
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()[-5:]
        raise StackError("\n".join([f"{' '.join(command[:4])} failed:", *lines]))
    return done.stdout


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # results come before the error that ends them
    for described in clean(load(Path(os.environ["STACK_HOME"])), datetime.now(UTC)):
        sys.stdout.write(f"{described}\n")
