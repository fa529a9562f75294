"""The demonstration: run the DAGs of the pipeline one after the other, show them ticking, then what came out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from include import config
from local.airflow import FINISHED, Airflow
from local.settings import PROJECT, USER, Settings

DAGS = ["feature_eng", "train", "promote", "predict"]
MARKS = {
    "success": "[green]✔[/]",
    "skipped": "[dim]↷[/]",
    "failed": "[red]✘[/]",
    "upstream_failed": "[red]✘[/]",
    "up_for_retry": "[yellow]↻[/]",
}


class DemoError(Exception):
    """A run of the demonstration failed; the message names the task, its error and its log."""


def run_demo(settings: Settings, console: Console) -> dict[str, str]:
    """Run ``feature_eng`` and what it sets off, and print what came out.

    Needs the stack's connections in the environment.

    :return: the run's id of each DAG
    :raises DemoError: if one of the runs failed
    """
    airflow = Airflow(settings)
    with console.status("Airflow reads the DAGs"):
        airflow.wait_for_dags(DAGS)
    runs: dict[str, str] = {}
    for dag_id in DAGS:
        run_id = _start(airflow, dag_id, runs)
        runs[dag_id] = run_id
        _follow(airflow, dag_id, run_id, settings, console)
    console.print(_results(airflow, runs, settings))
    return runs


def _start(airflow: Airflow, dag_id: str, earlier: dict[str, str]) -> str:
    """Trigger the first DAG; find the run of another that the DAG before it set off."""
    if not earlier:
        return airflow.trigger(dag_id)
    producer, run_id = list(earlier.items())[-1]
    return airflow.wait_for_consumer(producer, run_id, consumer=dag_id)


def _follow(airflow: Airflow, dag_id: str, run_id: str, settings: Settings, console: Console) -> None:
    """Print a line for each task as it ends."""
    console.print(f"\n[bold]{dag_id}[/] [dim]{run_id}[/]")
    seen: dict[tuple[str, int, int], str] = {}
    with console.status("") as status:
        for tasks in airflow.follow(dag_id, run_id):
            for task in sorted(tasks, key=lambda task: task["end_date"] or "~"):
                key = (task["task_id"], task["map_index"], task["try_number"])
                if task["state"] in MARKS and seen.get(key) != task["state"]:
                    seen[key] = task["state"]
                    console.print(f"  {MARKS[task['state']]} {_title(task)} [dim]{_seconds(task['duration'])}[/]")
            status.update(_progress(dag_id, tasks))
    if airflow.run(dag_id, run_id)["state"] != "success":
        raise DemoError(_failure(airflow, dag_id, run_id, settings))
    if any(task["state"] == "failed" for task in tasks):  # a candidate, for one, may fail, and the others go on
        console.print(f"  [yellow]went on without[/] {escape(_failure(airflow, dag_id, run_id, settings))}")


def _progress(dag_id: str, tasks: list[dict[str, Any]]) -> str:
    done = sum(task["state"] in FINISHED for task in tasks)
    running = [task["task_id"].rpartition(".")[2] for task in tasks if task["state"] == "running"]
    return f"{dag_id}: {done} of {len(tasks)} tasks, running: {', '.join(running) or 'none'}"


def _title(task: dict[str, Any]) -> str:
    index = f" \\[{task['map_index']}]" if task["map_index"] >= 0 else ""
    return f"{task['task_id']}{index}"


def _seconds(duration: float | None) -> str:
    return f"{duration:.1f} s" if duration else ""


def _failure(airflow: Airflow, dag_id: str, run_id: str, settings: Settings) -> str:
    """Name the failed tasks of a run, the last error in each one's log, and the log's file."""
    lines = []
    for task in airflow.tasks(dag_id, run_id):
        if task["state"] == "failed":
            lines.append(f"{dag_id}.{_title(task)} failed: {airflow.error(dag_id, run_id, task)}")
            lines.append(f"  log: {_log_file(settings, dag_id, run_id, task)}")
    return "\n".join(lines) or f"{dag_id} {run_id} failed, but none of its tasks did: see {settings.airflow_url}"


def _log_file(settings: Settings, dag_id: str, run_id: str, task: dict[str, Any]) -> Path:
    folder = settings.home / "airflow" / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}"
    index = [f"map_index={task['map_index']}"] if task["map_index"] >= 0 else []
    return folder.joinpath(f"task_id={task['task_id']}", *index, f"attempt={task['try_number']}.log")


def _results(airflow: Airflow, runs: dict[str, str], settings: Settings) -> Table:
    from include.platform import storage

    said = {dag_id: airflow.events(dag_id, run_id)[-1]["extra"] for dag_id, run_id in runs.items()}
    folders = [said[dag_id]["uri"].rpartition("/")[0] for dag_id in ("feature_eng", "predict")]
    table = Table("", Column(overflow="fold"), title="Possums' tails, predicted", show_header=False)
    for dag_id, run_id in runs.items():
        run = airflow.run(dag_id, run_id)
        table.add_row(dag_id, f"{run['state']} in {_seconds(run['duration'])}")
    table.add_section()
    for name, value in _model(said["train"]["run_id"], said["train"]["version"]).items():
        table.add_row(name, value)
    table.add_row("Gate", _verdict(said["promote"]))
    table.add_row("Predicted by", f"version {said['predict']['version']}, {said['predict']['alias'] or 'no champion'}")
    table.add_section()
    for folder in folders:
        names = [uri.removeprefix(folder) for uri in storage.list_objects(folder)]
        table.add_row("S3 keys", "\n  ".join([folder, *names]))
    table.add_row("Picture", str(settings.project / config.PLOT.relative_to(PROJECT)))
    table.add_section()
    table.add_row("Airflow", settings.airflow_url)
    table.add_row("MLflow", settings.mlflow_url)
    table.add_row("Login", f"user {USER} on both pages; `make password` shows the passwords")
    table.add_row("Stop", "make down")
    return table


def _verdict(evaluated: dict[str, Any]) -> str:
    decision = "promoted to champion" if evaluated["promoted"] else f"not promoted, champion is {evaluated['champion']}"
    return f"version {evaluated['version']} {decision}: {evaluated['reason']}"


def _model(run_id: str, version: str) -> dict[str, str]:
    """Ask MLflow what it knows of the version just trained."""
    from include.platform import tracking

    with tracking.connected():
        client = tracking.MlflowClient()
        metrics = client.get_run(run_id).data.metrics
        known = client.get_model_version(config.REGISTERED_MODEL, version)
    return {
        "Model": f"{known.name} version {known.version}",
        "Stage, alias": f"{known.current_stage}, {', '.join(known.aliases)}",
        "Cross-validation": f"RMSE {metrics['cv_rmse_mean']:.2f} ± {metrics['cv_rmse_std']:.2f} cm, "
        f"R2 {metrics['cv_r2_mean']:.2f} ± {metrics['cv_r2_std']:.2f}",
        "Holdout": f"RMSE {metrics['holdout_rmse']:.2f} cm, R2 {metrics['holdout_r2']:.2f}",
    }
