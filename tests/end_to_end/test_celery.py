"""The pipeline on two Celery workers that share nothing but services and the code of the DAGs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from include.problem import PROBLEM
from include.services import champions, storage
from include.settings import PLOTS
from local.bench_scale import resample
from local.settings import PROJECT, temporary
from local.stack import Stack
from tests.airflow import Airflow
from tests.end_to_end.conftest import TABLE, Pipeline, paused, run_pipeline, task_of, wait_for_success, wait_for_task
from tests.sandbox import Workers, find_missing

pytestmark = pytest.mark.skipif(bool(missing := find_missing()), reason=missing)
WORKERS = ("worker-1", "worker-2")
CONNECTIONS = ("AIRFLOW_CONN_MLFLOW_DEFAULT", "AIRFLOW_CONN_AWS_DEFAULT")
# Of the measurement: as many rows as tuning looks at, with grids that take about ten seconds of a processor for each
# candidate; rows to predict, in eight parts; and the share of a processor a worker may use, alone or not. Two leave
# enough of two processors for scheduler, database, S3 and MLflow, which would not be on a worker's machine.
ROWS, LARGE, CORES = 20_000, 4_000_000, 0.6
GRIDS = {
    "ElasticNet": {"alpha": [number / 1000 for number in range(10, 350)]},
    "ExtraTreesRegressor": {"min_samples_leaf": [2, 4, 6, 8, 10, 12]},
    "GradientBoostingRegressor": {"max_depth": [1, 2, 3]},
    "HistGradientBoostingRegressor": {"max_leaf_nodes": [7, 11, 15, 19, 23, 27, 31, 35, 39, 43]},
}


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
def test_two_workers_of_one_slot_are_nearly_twice_as_fast_as_one(
    cluster: Cluster, pipeline: Pipeline, report: Callable[[str], None]
) -> None:
    airflow, seconds = cluster.airflow, {}
    pd.concat(resample(pd.read_csv(TABLE), ROWS, PROBLEM)).to_csv(
        cluster.stack.settings.project / PROBLEM.table, index=False
    )
    if len(cluster.workers.names) < 2:
        cluster.workers.start("worker-3")
    for name in cluster.workers.names:
        cluster.workers.limit(name, CORES)
    with paused(airflow, "train"):
        wait_for_success(airflow, "feature_eng", airflow.trigger("feature_eng"))
    large = write_large(pipeline.events["feature_eng"]["uri"])
    with paused(airflow, "promote"):
        register_version(pipeline.events["train"], large)
        measure(cluster, "predict", "run_prediction", 2)  # each worker builds the model's environment
        for workers in (2, 1):
            for name in cluster.workers.names[workers:]:
                cluster.workers.kill(name)
            register_version(pipeline.events["train"], large)
            seconds["prediction", workers] = measure(cluster, "predict", "run_prediction", workers)
            conf = {"candidates": GRIDS}
            seconds["tuning", workers] = measure(cluster, "train", "tune.tune_candidate", workers, conf)
    ratios = {name: seconds[name, 1] / seconds[name, 2] for name in ("prediction", "tuning")}
    for name, ratio in ratios.items():
        one, two = (seconds[name, workers] for workers in (1, 2))
        report(f"{name}: one worker of one slot {one:.1f} s, two {two:.1f} s, {ratio:.2f} x")
    assert min(ratios.values()) >= 1.7


def write_large(features_uri: str) -> str:
    """Write a feature table of ``LARGE`` rows like those of another one, and return its URI."""
    rows, rng = storage.read_table(features_uri), np.random.default_rng(0)

    def draw(first: int) -> pd.DataFrame:
        ids = [f"row {number}" for number in range(first, first + storage.BATCH_ROWS)]
        return rows.iloc[rng.integers(0, len(rows), len(ids))].assign(**{PROBLEM.id: ids}).reset_index(drop=True)

    return storage.write_batches(map(draw, range(0, LARGE, storage.BATCH_ROWS)), "s3://data/features/large.parquet")


def register_version(trained: dict[str, str], features_uri: str) -> None:
    """Register a version of a model that was trained before as if it was of another table, which ``predict`` takes."""
    hook = champions.connect()
    source = hook.get_model_version(champions.MODEL, trained["version"])["source"]
    hook.create_model_version(champions.MODEL, source, trained["run_id"], {champions.FEATURES_URI: features_uri})


def measure(cluster: Cluster, dag_id: str, task_id: str, workers: int, conf: dict[str, Any] | None = None) -> float:
    """Run a DAG, and return the seconds from the start of a task's first instance to the end of its last one."""
    wait_for_success(cluster.airflow, dag_id, run_id := cluster.airflow.trigger(dag_id, conf))
    tasks = [task for task in cluster.airflow.tasks(dag_id, run_id) if task["task_id"] == task_id]
    assert len({task["hostname"] for task in tasks}) == workers
    starts, ends = ([datetime.fromisoformat(task[key]) for task in tasks] for key in ("start_date", "end_date"))
    return (max(ends) - min(starts)).total_seconds()
