"""The command line of the local stack, behind ``make up``, ``make demo`` and their kin."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from local.settings import LINEAGE_SETTINGS, USER, Settings, common_settings, load
from local.stack import SERVICES, Service, Stack, StackError

console = Console(highlight=False)


def main() -> int:
    """Run one command of the stack; its exit code is 0 only if all went well."""
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument(
        "names",
        nargs="*",
        help=f"for up: any of {', '.join(SERVICES)}; for trace, lineage: the URI of a file of predictions; "
        "for ingest: a workflow file",
    )
    arguments = parser.parse_args()
    stack = Stack(load())
    try:
        return COMMANDS[arguments.command](stack, arguments.names)
    except StackError as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130


def up(stack: Stack, services: list[str]) -> int:
    """Start services, unless named all but the optional ones, telling of each when it is ready."""
    services = services or [service.name for service in SERVICES.values() if not service.optional]

    def ready(service: Service, seconds: float) -> None:
        console.print(f"  [green]✔[/] {service.title} is ready [dim]{seconds:.1f} s[/]")

    with console.status(f"Starting {', '.join(SERVICES[name].title for name in services if name in SERVICES)}"):
        stack.start(services, on_ready=ready)
    return 0


def demo(stack: Stack, services: list[str]) -> int:
    """Start everything, run the DAGs, show what came out."""
    from local.demo import DemoError, run_demo

    up(stack, services)
    _connect(stack.settings)
    try:
        run_demo(stack.settings, console)
    except (DemoError, TimeoutError) as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    return 0


def serve(stack: Stack, _: list[str]) -> int:
    """Start the model server and, unless MLflow is elsewhere, MLflow and S3."""
    elsewhere = os.environ.get("AIRFLOW_CONN_MLFLOW_DEFAULT")
    up(stack, ["serve"] if elsewhere else ["s3", "mlflow", "serve"])
    console.print(f"The champion answers at {stack.settings.serve_url}/invocations. Stop it with make down.")
    return 0


def trace(stack: Stack, names: list[str]) -> int:
    """Follow a file of predictions back to version, run, data and commit; 1 if something is not as it was."""
    _connect(stack.settings)
    from include.mlflow_provider.exceptions import MLflowError
    from include.platform.storage import StorageError
    from include.platform.trace import TraceError, follow

    if len(names) != 1 or not names[0].startswith("s3://"):
        raise StackError("name one file of predictions: make trace FILE=s3://data/predictions/<run>/<file>.csv")
    try:
        trail = follow(names[0])
    except (TraceError, StorageError, MLflowError) as error:
        raise StackError(str(error)) from error
    for step, lines in trail.items():
        for title, line in zip([step, *[""] * len(lines)], lines, strict=False):
            console.print(f"[bold]{title:12}[/] {escape(line)}", soft_wrap=True)
    return int(any("CHANGED" in line for lines in trail.values() for line in lines))


def lineage(stack: Stack, names: list[str]) -> int:
    """Show and draw what predictions come from, those published last unless a URI is given."""
    from include.platform.lineage_graph import LineageError
    from local.lineage import show_lineage

    settings = stack.settings
    try:
        show_lineage(settings.lineage, settings.home / "lineage.png", console, *names[:1])
    except LineageError as error:
        raise StackError(str(error)) from error
    return 0


def ingest(stack: Stack, names: list[str]) -> int:
    """Send MLflow's registered models to OpenMetadata, as the DAG openmetadata_mlflow does."""
    _connect(stack.settings)
    from include import config
    from include.openmetadata.credentials import connected_environment
    from include.openmetadata.possums import COMPLETION
    from include.openmetadata.workflow import CatalogueError

    workflow = Path(names[0]) if names else config.OPENMETADATA_WORKFLOW
    try:
        with connected_environment(workflow) as environment:
            command = [os.environ["OPENMETADATA_PYTHON"], "-m", "include.openmetadata", str(workflow)]
            return subprocess.run([*command, json.dumps(COMPLETION)], env=environment, check=False).returncode
    except CatalogueError as error:
        raise StackError(str(error)) from error


def down(stack: Stack, _: list[str]) -> int:
    """Stop everything."""
    with console.status("Stopping"):
        stack.stop()
    console.print("Nothing is running any more.")
    return 0


def status(stack: Stack, _: list[str]) -> int:
    """Say of each service whether it runs, and where."""
    for service in SERVICES.values():
        state = "is not running" + (f" (make {service.name})" if service.optional else "")
        if stack.is_running(service):
            state = f"is {'ready' if stack.is_ready(service) else 'starting'} at {_url(stack.settings, service)}"
        console.print(f"{service.title:8} {state}")
    return 0


def logs(stack: Stack, _: list[str]) -> int:
    """Follow the logs of all services."""
    files = sorted(map(str, stack.settings.logs.glob("*.log")))
    return subprocess.run(["tail", "-n", "20", "-F", *files], check=False).returncode


def password(stack: Stack, _: list[str]) -> int:
    """Print the logins, because the user asks for them."""
    secret = stack.settings.secrets()
    console.print(f"Airflow  {stack.settings.airflow_url}  user {USER}  password {secret['AIRFLOW_PASSWORD']}")
    console.print(f"MLflow   {stack.settings.mlflow_url}  user {USER}  password {secret['MLFLOW_PASSWORD']}")
    return 0


def standalone(stack: Stack, _: list[str]) -> int:
    """Write the environment with which the Astro CLI starts Airflow beside the local services."""
    environment = stack.settings.environment()
    names = ("AIRFLOW_CONN_MLFLOW_DEFAULT", "AIRFLOW_CONN_AWS_DEFAULT", "AIRFLOW__CORE__FERNET_KEY", *common_settings())
    wanted = [name for name in dict.fromkeys((*names, *LINEAGE_SETTINGS)) if name in environment]
    text = "".join(f"{name}='{environment[name]}'\n" for name in wanted)
    file = stack.settings.home / "standalone.env"
    file.touch(mode=0o600)
    file.write_text(text)
    return 0


def clean(stack: Stack, _: list[str]) -> int:
    """Delete the stack's data, if the user says so."""
    home = stack.settings.home
    data = [path for path in home.iterdir() if path.name != "envs"] if home.exists() else []
    if not data:
        console.print("There is no data.")
        return 0
    console.print(f"This deletes every run, model, object and login of the local stack, in {home}.")
    if console.input("Delete it? \\[y/N] ").strip().lower() != "y":
        console.print("Nothing was deleted.")
        return 1
    stack.stop()
    for path in data:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return 0


def _connect(settings: Settings) -> None:
    """Let this process look at S3 and MLflow; what Airflow's modules log here belongs to no task."""
    os.environ.update(settings.environment() | {"AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"})


def _url(settings: Settings, service: Service) -> str:
    return getattr(settings, f"{service.name}_url")


COMMANDS = {
    "up": up,
    "serve": serve,
    "trace": trace,
    "lineage": lineage,
    "ingest": ingest,
    "down": down,
    "status": status,
    "logs": logs,
    "demo": demo,
    "password": password,
    "standalone": standalone,
    "clean": clean,
}

if __name__ == "__main__":
    sys.exit(main())
