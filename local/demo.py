"""The demonstration: run the DAGs of the pipeline, print each task as it ends, then the results."""

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
    runs = {}
    for dag_id, run_id in airflow.run_chain(DAGS):
        runs[dag_id] = run_id
        _follow(airflow, dag_id, run_id, settings, console)
    console.print(_tabulate_results(airflow, runs, settings))
    return runs


def _follow(airflow: Airflow, dag_id: str, run_id: str, settings: Settings, console: Console) -> None:
    """Print a line for each task as it ends."""
    console.print(f"\n[bold]{dag_id}[/] [dim]{run_id}[/]")
    seen = set()
    with console.status("") as status:
        for tasks in airflow.follow(dag_id, run_id):
            for task in sorted(tasks, key=lambda task: task["end_date"] or "~"):
                key = (task["task_id"], task["map_index"], task["try_number"], task["state"])
                if task["state"] in MARKS and key not in seen:
                    seen.add(key)
                    duration = f"[dim]{task['duration'] or 0:.1f} s[/]"
                    console.print(f"  {MARKS[task['state']]} {escape(_title(task))} {duration}")
            done = sum(task["state"] in FINISHED for task in tasks)
            running = [task["task_id"].rpartition(".")[2] for task in tasks if task["state"] == "running"]
            status.update(f"{dag_id}: {done} of {len(tasks)} tasks, running: {', '.join(running) or 'none'}")
    failures = [_describe_failure(airflow, task, settings) for task in tasks if task["state"] == "failed"]
    if airflow.run(dag_id, run_id)["state"] != "success":
        no_task = f"{dag_id} {run_id} failed without a failed task: {settings.url('airflow')}"
        raise DemoError("\n".join(failures) or no_task)
    for failure in failures:  # a tuning candidate, for example, may fail without failing the run
        console.print(f"  [yellow]continued without[/] {escape(failure)}")


def _title(task: Task) -> str:
    index = f" [{task['map_index']}]" if task["map_index"] >= 0 else ""
    return f"{task['task_id']}{index}"


def _describe_failure(airflow: Airflow, task: Task, settings: Settings) -> str:
    """Return the error of a failed task, and its log file."""
    dag_id, run_id = task["dag_id"], task["dag_run_id"]
    folder = settings.home / "airflow" / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}"
    index = [f"map_index={task['map_index']}"] if task["map_index"] >= 0 else []
    log = folder.joinpath(f"task_id={task['task_id']}", *index, f"attempt={task['try_number']}.log")
    return f"{dag_id}.{_title(task)} failed: {airflow.error(dag_id, run_id, task)}\n  log: {log}"


def _tabulate_results(airflow: Airflow, runs: dict[str, str], settings: Settings) -> Table:
    # The first event: promote announces another version after its own decision, if one waits.
    extras = {dag_id: airflow.events(dag_id, run_id)[0]["extra"] for dag_id, run_id in runs.items()}
    promoted, predicted = extras["promote"], extras["predict"]
    decision = "promoted to champion" if promoted["promoted"] else f"not promoted, champion is {promoted['champion']}"
    picture = settings.project / PLOTS.relative_to(PROJECT) / PROBLEM.picture  # a worker elsewhere cannot write there
    sections = [
        {dag_id: f"success in {airflow.run(dag_id, run_id)['duration']:.1f} s" for dag_id, run_id in runs.items()},
        {
            **_describe_model(extras["train"]),
            "Gate": f"version {promoted['version']} {decision}: {promoted['reason']}",
            "Predicted by": f"version {predicted['version']}, {predicted['alias'] or 'not the champion'}",
        },
        {
            "Features in S3": _list_folder(extras["feature_eng"]["uri"]),
            "Predictions in S3": _list_folder(predicted["uri"]),
            "Picture": str(picture) if picture.exists() else f"{predicted['uri'].rpartition('/')[0]}/{picture.name}",
        },
        {
            "Airflow": settings.url("airflow"),
            "MLflow": settings.url("mlflow"),
            "Login": f"user {USER} for both; `make password` prints the passwords",
            "Stop": "make down",
        },
    ]
    table = Table("", Column(overflow="fold"), title=escape(PROBLEM.title), show_header=False)
    for rows in sections:
        table.add_section()
        for name, value in rows.items():
            table.add_row(name, escape(value))
    return table


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


def _list_folder(uri: str) -> str:
    """Return the folder of an object, and the names in it."""
    from include.services import storage

    folder = uri.rpartition("/")[0]
    return "\n  ".join([folder, *(found.removeprefix(folder) for found in storage.list_objects(folder))])
