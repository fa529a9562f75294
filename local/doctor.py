"""The checks of ``make doctor``: every problem of a local stack comes with its remedy."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import boto3
import httpx
import psutil
import psycopg2
import redis
from celery import Celery

from local.airflow import Airflow
from local.backup import DATABASES, installed_versions, read_versions
from local.settings import AIRFLOW_USER, ENVIRONMENTS, PROJECT, USER, find_obstacle
from local.stack import SERVICES, Stack, last_line

LOW_SPACE, NO_SPACE = 5e9, 1e9  # bytes
TIMEOUT = 5  # seconds
MAX_CLOCK_DIFFERENCE = 5  # seconds; S3 refuses requests whose time is 15 minutes off
RESULTS = ("Airflow: ", "logs: ", "temporary: ", "lineage: ", "MLflow: ")  # of local/housekeeping.py
WAITING = timedelta(hours=1)  # longer than a run, or a file of new rows, should take


@dataclass(frozen=True)
class Finding:
    """The result of a check: its subject, the state, and the remedy, which is empty if all is well."""

    subject: str
    state: str
    remedy: str = ""
    is_error: bool = False


def examine(stack: Stack, now: datetime | None = None) -> Iterator[Finding]:
    """Run all checks, which change nothing. A check that raises an error is a finding too."""
    ready = {service.name for service in SERVICES.values() if stack.is_running(service) and stack.is_ready(service)}
    for check in CHECKS:
        try:
            yield from check(stack, ready, now or datetime.now(UTC))
        except Exception as error:  # the other checks are still worth having
            name = check.__name__.removeprefix("_check_").replace("_", " ")
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            yield Finding(name, f"cannot be checked: {reason}", f"see {stack.settings.logs}", is_error=True)


def _check_environments(stack: Stack, ready: set[str], now: datetime) -> Iterator[Finding]:
    for name in ("airflow", "mlflow"):
        built, lock = ENVIRONMENTS / name / ".complete", PROJECT / "local" / "requirements" / f"{name}.txt"
        if not built.exists():
            yield Finding(f"environment {name}", "missing", "make setup", is_error=True)
        elif built.stat().st_mtime < lock.stat().st_mtime:
            yield Finding(f"environment {name}", "older than its lock", "make down, then make up")
        else:
            yield Finding(f"environment {name}", "complete")


def _check_disk(stack: Stack, ready: set[str], now: datetime) -> Iterator[Finding]:
    free = shutil.disk_usage(stack.settings.home).free
    remedy = "trigger the DAG housekeeping, make housekeeping, delete old archives in .local/backups"
    yield Finding("disk", f"{free / 1e9:.1f} GB free", remedy if free < LOW_SPACE else "", is_error=free < NO_SPACE)


def _check_secrets(stack: Stack, ready: set[str], now: datetime) -> Iterator[Finding]:
    file = stack.settings.home / "secrets.env"
    if not file.exists():
        if any((stack.settings.home / name).exists() for name in DATABASES):
            yield Finding("secrets", f"{file} is missing", "put it back, or make restore", is_error=True)
    elif file.stat().st_mode & 0o077:
        yield Finding("secrets", f"others may read {file}", f"chmod 600 {file}", is_error=True)


def _check_processes(stack: Stack, ready: set[str], now: datetime) -> Iterator[Finding]:
    """Check for processes without a supervisor, and for programs that it cannot keep running."""
    processes = [str(process.pid) for process in stack.processes()]
    if not processes:
        return
    if stack.find_supervisor() is None:
        yield Finding("processes", f"{', '.join(processes)} outlived their supervisor", "make down", is_error=True)
        return
    for program in (program for service in SERVICES.values() for program in stack.programs(service)):
        if (state := stack.info(program)["statename"]) in ("FATAL", "BACKOFF"):
            log = stack.settings.logs / f"{program.rpartition(':')[2]}.log"
            yield Finding(f"program {program}", f"does not start ({state})", f"see {log}", is_error=True)


def _check_housekeeping(stack: Stack, ready: set[str], now: datetime) -> Iterator[Finding]:
    """Check that the log of the daily program ends with a result, not an error."""
    log = stack.settings.logs / "housekeeping.log"
    if (line := last_line(log)) and not line.startswith(RESULTS):
        yield Finding("housekeeping", line, f"see {log}, and try make housekeeping")


def _check_services(stack: Stack, ready: set[str], now: datetime) -> Iterator[Finding]:
    """Check that each service responds, or that its port is free."""
    for service in SERVICES.values():
        port = stack.settings.ports[service.port]
        if stack.is_running(service):
            answers = service.name in ready
            remedy = "" if answers else f"wait a minute, then see {stack.settings.logs}"
            state = f"{'answers' if answers else 'does not answer'} on port {port}"
            yield Finding(service.title, state, remedy, is_error=not answers)
        elif holder := _find_holder(port):
            remedy = f"stop it, or: make up {service.port}={port + 1000}"
            yield Finding(service.title, f"port {port} is taken by {holder}", remedy, is_error=True)
        else:
            yield Finding(service.title, "is not running", "" if service.optional else "make up")


def _check_databases(stack: Stack, ready: set[str], now: datetime) -> Iterator[Finding]:
    before, installed = read_versions(stack.settings), installed_versions()
    if before and before != installed:
        state = f"last started with {_join(before)}, installed is {_join(installed)}"
        yield Finding("versions", state, "make down, then make up: it makes a backup and upgrades the databases")
    for name in DATABASES:
        if (file := stack.settings.home / name).exists():
            with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
                result = database.execute("PRAGMA quick_check(1)").fetchone()[0]
            remedy = "" if result == "ok" else "make restore FILE=<the last archive in .local/backups>"
            yield Finding(f"database {name}", str(result), remedy, is_error=bool(remedy))


def _check_postgresql(stack: Stack, ready: set[str], now: datetime) -> Iterator[Finding]:
    if _is_started(stack, "postgres"):
        url = stack.settings.database_url.replace("+psycopg2", "")
        with closing(psycopg2.connect(url, connect_timeout=TIMEOUT)):
            yield Finding("PostgreSQL", "answers")


def _check_celery(stack: Stack, ready: set[str], now: datetime) -> Iterator[Finding]:
    """Check that Redis and every worker respond, and count the tasks that wait for a worker."""
    if not _is_started(stack, "redis"):
        return
    url = stack.settings.environment()["AIRFLOW__CELERY__BROKER_URL"]
    with closing(redis.Redis.from_url(url, socket_timeout=TIMEOUT)) as broker:
        yield Finding("Redis", f"answers, {broker.llen('default')} tasks wait")
    with Celery(broker=url) as celery:
        count, wanted = len(celery.control.ping(timeout=TIMEOUT)), stack.settings.workers
    remedy = f"see {stack.settings.logs}/worker-*.log" if count < wanted else ""
    yield Finding("Celery workers", f"{count} of {wanted} answer", remedy, is_error=not count)


def _check_clocks(stack: Stack, ready: set[str], now: datetime) -> Iterator[Finding]:
    for service in (SERVICES[name] for name in sorted(ready)):
        date = httpx.get(stack.settings.url(service.name) + service.health[0]).headers.get("date")
        if date and (apart := abs((parsedate_to_datetime(date) - now).total_seconds())) > MAX_CLOCK_DIFFERENCE:
            yield Finding(f"clock of {service.title}", f"{apart:.0f} s apart", "set the clock (NTP)", is_error=True)


def _check_logins(stack: Stack, ready: set[str], now: datetime) -> Iterator[Finding]:
    secret = stack.settings.secrets() if ready else {}  # which creates missing ones
    remedy = "secrets.env does not fit the data: put the right one back, or make restore"
    if "mlflow" in ready:
        for user, password in ((USER, "MLFLOW_PASSWORD"), (AIRFLOW_USER, "AIRFLOW_MLFLOW_PASSWORD")):
            url = f"{stack.settings.url('mlflow')}/api/2.0/mlflow/experiments/search?max_results=1"
            refused = httpx.get(url, auth=(user, secret[password])).is_error
            yield Finding(f"login of {user} in MLflow", "refused" if refused else "works", remedy * refused, refused)
    if "s3" in ready:
        for owner in ("", "MLFLOW_"):
            keys = {"aws_access_key_id": secret[f"{owner}S3_ACCESS_KEY"]}
            keys["aws_secret_access_key"] = secret[f"{owner}S3_SECRET_KEY"]
            boto3.client("s3", endpoint_url=stack.settings.url("s3"), region_name="us-east-1", **keys).list_buckets()
        yield Finding("keys of S3", "work")


def _check_airflow(stack: Stack, ready: set[str], now: datetime) -> Iterator[Finding]:
    """Check for DAGs that cannot be imported and runs that do not end."""
    if "airflow" not in ready:
        return
    airflow = Airflow(stack.settings)
    for error in airflow.get("importErrors")["import_errors"]:
        reason = error["stack_trace"].strip().splitlines()[-1]
        yield Finding(f"DAG file {error['filename']}", reason, "correct the file", is_error=True)
    for run in airflow.active_runs(run_after_lte=(now - WAITING).isoformat()):
        page = f"{stack.settings.url('airflow')}/dags/{run['dag_id']}/runs/{run['dag_run_id']}"
        state = f"{run['state']} since {run['run_after'][:16]}"
        yield Finding(f"run of {run['dag_id']}", state, f"it may wait for an approval: {page}")


def _check_runs(stack: Stack, ready: set[str], now: datetime) -> Iterator[Finding]:
    """Check for runs in MLflow that a killed task left open; the connections of Airflow must be set."""
    from include.problem import PROBLEM
    from include.services import champions

    if "mlflow" not in ready:
        return
    hook = champions.connect()
    experiment = hook.get_experiment_by_name(PROBLEM.experiment)
    before = int((now - WAITING).timestamp() * 1000)
    query = f"attributes.status = 'RUNNING' and attributes.start_time < {before}"
    for run in hook.search_runs([experiment["experiment_id"]], query) if experiment else []:
        info = run["info"]
        state = f"{info['run_id']} is still RUNNING"
        yield Finding(f"MLflow run {info['run_name']}", state, "a task was killed: trigger the DAG housekeeping")


def _check_files(stack: Stack, ready: set[str], now: datetime) -> Iterator[Finding]:
    """Check for files of new rows that wait too long or were rejected; the connections of Airflow must be set."""
    from include.services import storage
    from include.services.assets import PROCESSING
    from include.tasks.predict_incoming import INBOX, REJECTED

    if "s3" not in ready:
        return
    for folder in (INBOX, PROCESSING):
        if old := [uri for uri, _, written in storage.list_details(folder) if now - written > WAITING]:
            yield Finding(folder, f"{len(old)} files wait, such as {old[0]}", "see the last run of predict_incoming")
    recent = [uri for uri, _, written in storage.list_details(REJECTED) if now - written < timedelta(days=7)]
    if reasons := [uri for uri in recent if uri.endswith(".reason.txt")]:
        yield Finding(
            REJECTED, f"{len(reasons)} files in a week", f"the reasons are beside them, such as {reasons[-1]}"
        )


CHECKS: tuple[Callable[[Stack, set[str], datetime], Iterator[Finding]], ...] = (
    *(_check_environments, _check_disk, _check_secrets, _check_processes, _check_services, _check_databases),
    *(_check_postgresql, _check_celery, _check_clocks, _check_logins, _check_airflow, _check_runs, _check_files),
    _check_housekeeping,
)


def _is_started(stack: Stack, program: str) -> bool:
    try:
        return program in stack.settings.airflow_programs and stack.info(program)["statename"] != "STOPPED"
    except OSError:  # the supervisor does not run
        return False


def _find_holder(port: int) -> str:
    """Return the name of the process that listens on a port, or an empty string if the port is free."""
    if not find_obstacle(port):
        return ""
    try:
        found = (one for one in psutil.net_connections("tcp") if one.laddr and one.laddr.port == port and one.pid)
        return next((f"{psutil.Process(one.pid).name()} (process {one.pid})" for one in found), "another program")
    except psutil.Error:  # macOS shows the connections of other processes to root only
        return "another program"


def _join(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
