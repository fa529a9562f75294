"""Command line of the local stack, used by ``make up``, ``make demo`` and other targets."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from containers.write_secrets import AWS_CONNECTION, MLFLOW_CONNECTION
from local.backup import BackupError, back_up
from local.settings import LINEAGE_SETTINGS, USER, Settings, common_settings, load
from local.stack import SERVICES, Service, Stack, StackError

console = Console(highlight=False)


def main() -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument(
        "names",
        nargs="*",
        help=f"up: any of {', '.join(SERVICES)}; trace, lineage: URI of a file of predictions; ingest: a workflow "
        "file; backup: a key file; restore: an archive and its key file; housekeeping: dry-run",
    )
    arguments = parser.parse_args()
    try:
        return COMMANDS[arguments.command](Stack(load()), arguments.names) or 0
    except (StackError, BackupError, PermissionError, TimeoutError) as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130


def up(stack: Stack, services: list[str]) -> None:
    """Start services, by default all but the optional ones, and print each when it is ready."""
    services = services or [service.name for service in SERVICES.values() if not service.optional]

    def ready(service: Service, seconds: float) -> None:
        console.print(f"  [green]✔[/] {service.title} is ready [dim]{seconds:.1f} s[/]")

    with console.status(f"Starting {', '.join(services)}"):
        stack.start(services, on_ready=ready)


def demo(stack: Stack, _: list[str]) -> None:
    """Start the services, run the DAGs and print the results."""
    from local.demo import run_demo

    up(stack, [])
    _connect(stack.settings)
    run_demo(stack.settings, console)


def serve(stack: Stack, _: list[str]) -> None:
    """Start the model server, and MLflow and S3 unless MLflow runs elsewhere."""
    up(stack, ["serve"] if os.environ.get(MLFLOW_CONNECTION) else ["s3", "mlflow", "serve"])
    console.print(f"The champion is served at {stack.settings.url('serve')}/invocations. Stop it with make down.")


def trace(stack: Stack, names: list[str]) -> int:
    """Print version, run, data and commit of a file of predictions; return 1 if any of them has changed."""
    _connect(stack.settings)
    from include.mlflow_provider.exceptions import MLflowError
    from include.services.storage import StorageError
    from include.services.trace import TraceError, read_trace

    if len(names) != 1 or not names[0].startswith("s3://"):
        raise StackError("give one file of predictions: make trace FILE=s3://data/predictions/<run>/<file>.csv")
    try:
        trail = read_trace(names[0])
    except (TraceError, StorageError, MLflowError) as error:
        raise StackError(str(error)) from error
    for step, lines in trail.items():
        for title, line in zip([step, *[""] * len(lines)], lines, strict=False):
            console.print(f"[bold]{title:12}[/] {escape(line)}", soft_wrap=True)
    return int(any("CHANGED" in line for lines in trail.values() for line in lines))


def lineage(stack: Stack, names: list[str]) -> None:
    """Print and draw the lineage of predictions, by default of the last ones published."""
    from include.services.lineage_graph import LineageError
    from local.lineage import show_lineage

    settings = stack.settings
    try:
        show_lineage(settings.lineage, settings.home / "lineage.png", console, *names[:1])
    except LineageError as error:
        raise StackError(str(error)) from error


def ingest(stack: Stack, names: list[str]) -> int:
    """Send MLflow's registered models to OpenMetadata, as the DAG openmetadata_mlflow does."""
    _connect(stack.settings)
    from include.openmetadata.catalogue import describe_completion
    from include.openmetadata.operator import connected_environment
    from include.openmetadata.workflow import CatalogueError
    from include.problem import PROBLEM
    from include.settings import OPENMETADATA_WORKFLOW

    workflow = Path(names[0]) if names else OPENMETADATA_WORKFLOW
    completion = describe_completion(PROBLEM)
    try:
        with connected_environment(workflow) as environment:
            command = [os.environ["OPENMETADATA_PYTHON"], "-m", "include.openmetadata", str(workflow)]
            return subprocess.run([*command, json.dumps(completion)], env=environment, check=False).returncode
    except CatalogueError as error:
        raise StackError(str(error)) from error


def down(stack: Stack, _: list[str]) -> None:
    """Stop every service."""
    with console.status("Stopping"):
        stack.stop()
    console.print("All services are stopped.")


def status(stack: Stack, _: list[str]) -> None:
    """Print the state and address of each service."""
    for service in SERVICES.values():
        state = "is not running" + (f" (make {service.name})" if service.optional else "")
        if stack.is_running(service):
            url = stack.settings.url(service.name)
            state = f"is {'ready' if stack.is_ready(service) else 'starting'} at {url}"
        console.print(f"{service.title:8} {state}")


def password(stack: Stack, _: list[str]) -> None:
    """Print the logins of Airflow and MLflow."""
    secret = stack.settings.secrets()
    console.print(f"Airflow  {stack.settings.url('airflow')}  user {USER}  password {secret['AIRFLOW_PASSWORD']}")
    console.print(f"MLflow   {stack.settings.url('mlflow')}  user {USER}  password {secret['MLFLOW_PASSWORD']}")


def standalone(stack: Stack, _: list[str]) -> None:
    """Write the environment file for ``astro dev start --standalone``, which uses the local MLflow and S3."""
    environment = stack.settings.environment()
    names = [MLFLOW_CONNECTION, AWS_CONNECTION, "AIRFLOW__CORE__FERNET_KEY", *common_settings(), *LINEAGE_SETTINGS]
    text = "".join(f"{name}='{environment[name]}'\n" for name in dict.fromkeys(names) if name in environment)
    file = stack.settings.home / "standalone.env"
    file.touch(mode=0o600)
    file.write_text(text)


def backup(stack: Stack, names: list[str]) -> None:
    """Write an archive of databases, objects and secrets, encrypted if there is a key file; services may run."""
    archive = back_up(stack.settings, Path(names[0]) if names else None)
    console.print(f"{archive} has {archive.stat().st_size / 1e6:.1f} MB.", soft_wrap=True)
    if names:
        console.print(f"Keep {names[0]} elsewhere: without it, the archive cannot be read.", soft_wrap=True)
    else:
        console.print("It contains passwords: encrypt it with KEY=<file> before it leaves this machine.")


def restore(stack: Stack, names: list[str]) -> None:
    """Read an archive, stop all services, and put it in place of the present data, which is kept beside it."""
    from local.backup import restore

    if not names:
        raise StackError("give an archive: make restore FILE=.local/backups/<time>.tar.gz")
    replaced = restore(stack.settings, *map(Path, names), stop=stack.stop)
    console.print(f"Restored; start it with make up. What was there is in {replaced}.", soft_wrap=True)


def housekeeping(stack: Stack, names: list[str]) -> None:
    """Clean up databases, logs and lineage events, as the supervisor does once a day."""
    from local.housekeeping import clean

    for line in clean(stack.settings, datetime.now(UTC), dry_run="dry-run" in names):
        console.print(line, soft_wrap=True)


def doctor(stack: Stack, _: list[str]) -> int:
    """Print what is wrong with the stack and the remedies; return 1 if there is an error."""
    from local.doctor import examine

    if (stack.settings.home / "secrets.env").exists():  # connecting would create it
        _connect(stack.settings)
    table = Table("", "what", "state", "remedy", box=None)
    findings = list(examine(stack))
    for found in findings:
        sign = "[red]✘[/]" if found.is_error else "[yellow]![/]" if found.remedy else "[green]✔[/]"
        table.add_row(sign, *map(escape, (found.subject, found.state, found.remedy)))
    console.print(table)
    return int(any(found.is_error for found in findings))


def clean(stack: Stack, _: list[str]) -> int:
    """Delete the stack's data after confirmation."""
    home = stack.settings.home
    data = [path for path in home.iterdir() if path.name not in ("envs", "backups")] if home.exists() else []
    if not data:
        console.print("There is no data.")
        return 0
    console.print(f"This deletes every run, model, object and password of the local stack, in {home}.")
    if console.input("Delete it? \\[y/N] ").strip().lower() != "y":
        console.print("Nothing was deleted.")
        return 1
    stack.stop()
    for path in data:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return 0


def _connect(settings: Settings) -> None:
    """Set the connections to S3 and MLflow in this process, and silence Airflow's log."""
    os.environ.update(settings.environment() | {"AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"})


_FUNCTIONS = (
    *(up, serve, trace, lineage, ingest, down, status, demo, password, standalone, clean),
    *(backup, restore, housekeeping, doctor),
)
COMMANDS: dict[str, Callable[[Stack, list[str]], int | None]] = {function.__name__: function for function in _FUNCTIONS}

if __name__ == "__main__":
    sys.exit(main())
