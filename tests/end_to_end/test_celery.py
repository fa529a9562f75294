"""The pipeline on two Celery workers that share nothing but services and the code of the DAGs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd
import pytest

from include.problem import PROBLEM
from include.services import storage
from include.settings import PLOTS
from local.bench_scale import resample
from local.demo import DAGS
from local.settings import PROJECT, temporary
from local.stack import Stack
from tests.airflow import Airflow
from tests.end_to_end.conftest import TABLE, Pipeline, paused, run_pipeline, task_of, wait_for_success, wait_for_task
from tests.sandbox import Workers, find_missing

pytestmark = pytest.mark.skipif(bool(missing := find_missing()), reason=missing)
WORKERS = ("worker-1", "worker-2")
CONNECTIONS = ("AIRFLOW_CONN_MLFLOW_DEFAULT", "AIRFLOW_CONN_AWS_DEFAULT")
ROWS = 20_000  # of the measurement: what tuning looks at, however long the table


@dataclass(frozen=True)
class Cluster:
    """A stack whose tasks run on the workers."""

    stack: Stack
    workers: Workers
    airflow: Airflow

    def tasks(self, pipeline: Pipeline) -> list[dict[str, Any]]:
        """Return the task instances of a pipeline that ran on a worker."""
        found = (self.airflow.tasks(dag_id, run_id) for dag_id, run_id in pipeline.runs.items())
        return [task for tasks in found for task in tasks if task["hostname"]]


@pytest.fixture(scope="module")
def on_one_machine(first: Pipeline) -> bytes:
    """What the pipeline publishes where all tasks run on one machine."""
    return storage.read_bytes(first.events["predict"]["uri"])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, on_one_machine: bytes) -> Iterator[Cluster]:
    """A stack with its connections in this process, and no worker yet."""
    folder = tmp_path_factory.mktemp("celery")
    stack = Stack(temporary(folder, executor="celery", database="postgresql", workers=0))
    with Workers(stack, folder) as workers, pytest.MonkeyPatch.context() as patch:
        for name, value in stack.settings.environment().items():
            if name in CONNECTIONS:
                patch.setenv(name, value)
        try:
            stack.start(["s3", "mlflow", "airflow"])
            yield Cluster(stack, workers, Airflow(stack.settings))
        finally:
            stack.stop()


@pytest.fixture(scope="module")
def pipeline(cluster: Cluster) -> Pipeline:
    """The pipeline on both workers."""
    for name in WORKERS:
        cluster.workers.start(name)
    return run_pipeline(cluster.stack, cluster.airflow)


def test_tasks_run_on_both_workers(cluster: Cluster, pipeline: Pipeline) -> None:
    tasks = cluster.tasks(pipeline)
    assert {task["hostname"] for task in tasks} == set(WORKERS)
    assert {task["try_number"] for task in tasks} == {1}


def test_the_results_are_those_of_one_machine(on_one_machine: bytes, pipeline: Pipeline) -> None:
    assert storage.read_bytes(pipeline.events["predict"]["uri"]) == on_one_machine


def test_the_figure_is_in_s3_where_workers_cannot_write_to_the_project(cluster: Cluster, pipeline: Pipeline) -> None:
    uri = f"{pipeline.events['predict']['uri'].rpartition('/')[0]}/{PROBLEM.picture}"
    assert storage.exists(uri)
    assert not (cluster.stack.settings.project / PLOTS.relative_to(PROJECT)).exists()
    task = task_of(cluster.airflow, "predict", pipeline.runs["predict"], "plot_predictions")
    log = cluster.airflow.log("predict", pipeline.runs["predict"], task)  # which the worker left in S3
    assert f"The figure is {uri}" in log


def test_each_worker_that_predicts_keeps_the_models_environment(cluster: Cluster, pipeline: Pipeline) -> None:
    tasks = cluster.tasks(pipeline)
    predicting = {task["hostname"] for task in tasks if task["task_id"] in ("predict_holdout", "run_prediction")}
    kept = {name for name in WORKERS if list((cluster.workers.folder / name / "models").glob("model-*/complete.json"))}
    assert kept == predicting


def test_a_run_succeeds_on_the_other_worker_after_one_was_killed(cluster: Cluster, pipeline: Pipeline) -> None:
    airflow, task_id = cluster.airflow, "build_features"
    with paused(airflow, "train"):
        run_id = airflow.trigger("feature_eng")
        wait_for_task(airflow, "feature_eng", run_id, task_id, "running", timeout=120)
        killed = task_of(airflow, "feature_eng", run_id, task_id)["hostname"]
        cluster.workers.kill(killed)
        wait_for_success(airflow, "feature_eng", run_id)
    task = task_of(airflow, "feature_eng", run_id, task_id)
    assert (task["hostname"], task["try_number"]) == (next(name for name in WORKERS if name != killed), 2)


@pytest.mark.extended
def test_two_workers_of_one_slot_tune_faster_than_one(cluster: Cluster, report: Callable[[str], None]) -> None:
    file, airflow = cluster.stack.settings.project / PROBLEM.table, cluster.airflow
    pd.concat(resample(pd.read_csv(TABLE), ROWS, PROBLEM)).to_csv(file, index=False)
    airflow.wait_for_dags(DAGS)
    seconds = []
    with paused(airflow, "promote"):
        for name in ("measured-1", "measured-2"):
            cluster.workers.start(name)
            wait_for_success(airflow, "feature_eng", made := airflow.trigger("feature_eng"))
            run_id = airflow.wait_for_consumer("feature_eng", made, "train")
            wait_for_success(airflow, "train", run_id)
            tasks = [task for task in airflow.tasks("train", run_id) if task["task_id"] == "tune.tune_candidate"]
            starts, ends = ([datetime.fromisoformat(task[key]) for task in tasks] for key in ("start_date", "end_date"))
            seconds.append((max(ends) - min(starts)).total_seconds())
            workers = len({task["hostname"] for task in tasks})
            assert workers == len(seconds)
            report(f"{len(tasks)} candidates on {ROWS:,} rows, {workers} worker(s) of one slot: {seconds[-1]:.1f} s")
    report(f"one worker / two workers: {seconds[0] / seconds[1]:.2f}")
    assert seconds[0] > seconds[1]
