"""The demonstration: run the DAGs of the pipeline, print each task as it ends, then the results."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from include.problem import PROBLEM
from include.settings import MLFLOW_CONN_ID, PLOTS
from local.airflow import FINISHED, Airflow
from local.settings import PROJECT, USER, Settings
from local.stack import StackError

DAGS = ["feature_eng", "train", "promote", "predict"]
MARKS = {
    "success": "[green]✔[/]",
    "skipped": "[dim]↷[/]",
    "failed": "[red]✘[/]",
    "upstream_failed": "[red]✘[/]",
    "up_for_retry": "[yellow]↻[/]",
}

Task = dict[str, Any]


class DemoError(StackError):
    """A DAG run failed; the message has each failed task with its error and its log file."""


def run_demo(settings: Settings, console: Console) -> dict[str, str]:
    """Run ``feature_eng`` and the DAGs that its asset triggers, and print the results.

    Needs the stack's connections in the environment.

    :return: run ids by DAG id
    :raises DemoError: if a run failed
    """
    airflow = Airflow(settings)
    with console.status("Airflow parses the DAGs"):
        airflow.wait_for_dags(DAGS)
    runs = {DAGS[0]: airflow.trigger(DAGS[0])}
    for dag_id, consumer in zip(DAGS, [*DAGS[1:], None], strict=True):
        _follow(airflow, dag_id, runs[dag_id], settings, console)
        if consumer:
            runs[consumer] = airflow.wait_for_consumer(dag_id, runs[dag_id], consumer)
    console.print(_tabulate_results(airflow, runs, settings))
    return runs


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
                    console.print(
                        f"  {MARKS[task['state']]} {escape(_title(task))} [dim]{_seconds(task['duration'])}[/]"
                    )
            status.update(_progress(dag_id, tasks))
    failures = [_describe(airflow, task, settings) for task in tasks if task["state"] == "failed"]
    if airflow.run(dag_id, run_id)["state"] != "success":
        raise DemoError(
            "\n".join(failures) or f"{dag_id} {run_id} failed without a failed task: {settings.airflow_url}"
        )
    for failure in failures:  # a tuning candidate, for example, may fail without failing the run
        console.print(f"  [yellow]continued without[/] {escape(failure)}")


def _progress(dag_id: str, tasks: list[Task]) -> str:
    done = sum(task["state"] in FINISHED for task in tasks)
    running = [task["task_id"].rpartition(".")[2] for task in tasks if task["state"] == "running"]
    return f"{dag_id}: {done} of {len(tasks)} tasks, running: {', '.join(running) or 'none'}"


def _title(task: Task) -> str:
    index = f" [{task['map_index']}]" if task["map_index"] >= 0 else ""
    return f"{task['task_id']}{index}"


def _seconds(duration: float | None) -> str:
    return f"{duration:.1f} s" if duration else ""


def _tabulate_results(airflow: Airflow, runs: dict[str, str], settings: Settings) -> Table:
    extras = {dag_id: airflow.events(dag_id, run_id)[-1]["extra"] for dag_id, run_id in runs.items()}
    durations = {dag_id: airflow.run(dag_id, run_id)["duration"] for dag_id, run_id in runs.items()}
    predicted = extras["predict"]
    sections = [
        [(dag_id, f"success in {_seconds(duration)}") for dag_id, duration in durations.items()],
        [
            *_describe_model(extras["train"]).items(),
            ("Gate", _describe_verdict(extras["promote"])),
            ("Predicted by", f"version {predicted['version']}, {predicted['alias'] or 'not the champion'}"),
        ],
        [
            *(("S3 keys", _list_folder(extras[dag_id]["uri"])) for dag_id in ("feature_eng", "predict")),
            ("Picture", str(settings.project / PLOTS.relative_to(PROJECT) / PROBLEM.picture)),
        ],
        [
            ("Airflow", settings.airflow_url),
            ("MLflow", settings.mlflow_url),
            ("Login", f"user {USER} for both; `make password` prints the passwords"),
            ("Stop", "make down"),
        ],
    ]
    table = Table("", Column(overflow="fold"), title=escape(PROBLEM.title), show_header=False)
    for rows in sections:
        table.add_section()
        for name, value in rows:
            table.add_row(name, escape(value))
    return table


def _list_folder(uri: str) -> str:
    """Return the folder of an object, and the names in it."""
    from include.platform import storage

    folder = uri.rpartition("/")[0]
    return "\n  ".join([folder, *(found.removeprefix(folder) for found in storage.list_objects(folder))])


def _describe_verdict(extra: dict[str, Any]) -> str:
    decision = "promoted to champion" if extra["promoted"] else f"not promoted, champion is {extra['champion']}"
    return f"version {extra['version']} {decision}: {extra['reason']}"


def _describe_model(trained: dict[str, Any]) -> dict[str, str]:
    """Return what MLflow has stored about the version just trained."""
    from include.evaluation.scores import format_value
    from include.mlflow_provider.hooks.client import MLflowClientHook

    hook = MLflowClientHook(mlflow_conn_id=MLFLOW_CONN_ID)
    version = hook.get_model_version(PROBLEM.registered_model, trained["version"])
    metrics = {metric["key"]: float(metric["value"]) for metric in hook.get_run(trained["run_id"])["data"]["metrics"]}
    return {
        "Model": f"{version['name']} version {version['version']}",
        "Stage, alias": f"{version['current_stage']}, {', '.join(version.get('aliases', []))}",
        "Cross-validation": f"RMSE {format_value(metrics['cv_rmse_mean'])} ± "
        f"{format_value(metrics['cv_rmse_std'], PROBLEM.unit)}, R2 {metrics['cv_r2_mean']:.2f}",
        "Holdout": f"RMSE {format_value(metrics['holdout_rmse'], PROBLEM.unit)}, R2 {metrics['holdout_r2']:.2f}",
    }


def _describe(airflow: Airflow, task: Task, settings: Settings) -> str:
    """Return the error of a failed task, and its log file."""
    dag_id, run_id = task["dag_id"], task["dag_run_id"]
    folder = settings.home / "airflow" / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}"
    index = [f"map_index={task['map_index']}"] if task["map_index"] >= 0 else []
    log = folder.joinpath(f"task_id={task['task_id']}", *index, f"attempt={task['try_number']}.log")
    return f"{dag_id}.{_title(task)} failed: {airflow.error(dag_id, run_id, task)}\n  log: {log}"
