"""A year of runs on a real S3 and a real MLflow: what is kept, and that it is bounded."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from include.mlflow_provider.hooks.client import MLflowClientHook
from include.mlflow_provider.hooks.rest import API
from include.problem import PROBLEM
from include.services import champions, storage, trace
from include.services.retention import Item
from include.settings import AWS_CONN_ID, DATA_BUCKET, RETENTION, XCOM_BUCKET
from include.tasks import housekeeping
from local.housekeeping import remove_deleted
from local.stack import Stack
from tests.conftest import CONNECTIONS, create_buckets, run_stack

NOW = datetime.now(UTC)
ROUNDS = 26  # one every fortnight instead of every week: so half as many things are kept
KEEP = {kind: keep._replace(at_least=keep.at_least // 2) for kind, keep in RETENTION.items()}
ARTIFACTS = f"{PROBLEM.artifact_bucket}/1"
SLICE = "s3://data/evaluations/first/slice.parquet"
KEPT = "s3://data/incoming/waiting.csv", "s3://data/processing/claimed.csv", "s3://data/labelled/2025.csv"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of its own, because this module deletes what is old."""
    with run_stack(tmp_path_factory.mktemp("year")) as stack, pytest.MonkeyPatch.context() as patch:
        patch.setattr(housekeeping, "RETENTION", KEEP)
        environment = stack.settings.environment()
        for name in CONNECTIONS:
            patch.setenv(name, environment[name])
        create_buckets()
        yield stack


class Past:
    """Writes what the DAGs leave behind, with times in the past."""

    def __init__(self, database: Path) -> None:
        self.database, self.hook, self.s3 = database, MLflowClientHook(), S3Hook(AWS_CONN_ID).get_conn()
        self.experiment_id = self.hook.create_experiment(PROBLEM.experiment, exist_ok=True)
        if not self.hook.get_registered_model(champions.MODEL):
            self.hook.create_registered_model(champions.MODEL)

    def write(self, uri: str, time: datetime, content: bytes = b"x" * 100) -> None:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self.s3.put_object(Bucket=bucket, Key=key, Body=content, Metadata={"mtime": str(time.timestamp())})

    def log_run(self, name: str, time: datetime, **tags: str) -> str:
        start = int(time.timestamp() * 1000)
        tags = {"airflow.dag_id": "train", "airflow.dag_run_id": f"at {time}"} | tags
        run_id = self.hook.create_run(self.experiment_id, start, tags, name)["info"]["run_id"]
        self.hook.set_terminated(run_id, end_time=start + 1000)
        return run_id

    def register(self, run_id: str, time: datetime, tags: dict[str, str]) -> str:
        """Log a model with one file, register it, and return the version."""
        body = {"experiment_id": self.experiment_id, "name": "model", "source_run_id": run_id}
        model = self.hook.call("POST", f"{API}/logged-models", body, "model")["info"]
        self.hook.call(
            "PATCH", f"{API}/logged-models/{model['model_id']}", {"model_id": model["model_id"], "status": 2}
        )
        self.write(storage.artifact_uri(f"{model['artifact_uri']}/MLmodel"), time)
        uri = f"models:/{model['model_id']}"
        version = self.hook.create_model_version(champions.MODEL, uri, run_id, tags=tags)["version"]
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute(
                "UPDATE model_versions SET creation_time = ? WHERE version = ?", (int(time.timestamp() * 1000), version)
            )
        return version

    def promote(self, version: str, time: datetime) -> None:
        self.hook.set_registered_model_alias(champions.MODEL, champions.CHAMPION_ALIAS, version)
        decision = json.dumps({"by": "the gate", "why": "better"})
        self.hook.set_model_version_tag(champions.MODEL, version, f"champion.{time.strftime(champions.TIME)}", decision)

    def run_pipeline(self, number: int, time: datetime) -> str:
        """Leave behind what a run of each DAG does, and return the version."""
        data, run = f"s3://{DATA_BUCKET}", f"scheduled__{number:02}"
        names = ("features/{}/raw.parquet", "features/{}/features.parquet", "evaluations/{}/holdout.parquet")
        names += ("evaluations/{}/evaluation.json", "monitoring/{}/recent.parquet", "requests/{}/120000.parquet")
        names += ("predictions/{}/rows.parquet", "rejected/{}.csv", "rejected/{}.csv.reason.txt", "scratch/{}/rows")
        names += ("processed/{}.csv", "predictions/incoming/{}.csv")
        for name in names:
            self.write(f"{data}/{name.format(run)}", time)
        for task in range(5):
            self.write(f"s3://{XCOM_BUCKET}/xcom/train/{run}/task_{task}/1.json", time)
        tuning = self.log_run("Tuning", time)
        for name in ("RidgeCV", "Lasso"):
            self.log_run(name, time, **{"mlflow.parentRunId": tuning})
        self.log_run("Scaler", time)
        trained = self.log_run("RidgeCV", time)
        look = {"slice": SLICE, "look": 9 if number == 3 else 1, "predictions": str(number)}
        tags = {
            champions.FEATURES_URI: f"{data}/features/{run}/features.parquet",
            champions.EVALUATION: json.dumps(look | {"uri": f"{data}/evaluations/{run}/evaluation.json"}),
        }
        version = self.register(trained, time, tags | {champions.REJECTED: "worse"})
        trail = {"version": champions.champion() or version, "run_id": trained, "file": f"{run}.csv"}
        self.write(f"{data}/predictions/incoming/{run}.csv{trace.SUFFIX}", time, json.dumps(trail).encode())
        return version


def count(stack: Stack) -> dict[str, int]:
    """Return the number of objects of each folder, and of runs and models in MLflow."""
    home = stack.settings.home
    files = [file.relative_to(home / "s3").parts for file in (home / "s3").rglob("*") if file.is_file()]
    counts = {f"{bucket}/{folder}": 0 for bucket, folder, *_ in files}
    for bucket, folder, *_ in files:
        counts[f"{bucket}/{folder}"] += 1
    with closing(sqlite3.connect(home / "mlflow" / "mlflow.db")) as connection:
        for table in ("runs", "logged_models"):
            query = f"SELECT count(*) FROM {table} WHERE lifecycle_stage = 'active'"  # noqa: S608
            counts[table] = connection.execute(query).fetchone()[0]
    return counts


def clean(now: datetime, open_runs: tuple[str, ...] = ()) -> dict[str, list[Item]]:
    """Delete everything that has expired, as the DAG does; the runs with these ids have not ended."""

    def count_runs(dag_id: str, states: list[str], run_ids: list[str] | None = None) -> int:
        return len(open_runs) if run_ids is None else len(set(run_ids).intersection(open_runs))

    expired = {}
    for kind in RETENTION:
        expired[kind] = housekeeping.find_expired(kind, now, count_runs)
        housekeeping.delete(kind, expired[kind])
    return expired


@pytest.fixture(scope="module")
def year(stack: Stack) -> dict[str, Any]:
    """A year of runs, cleaned every fourth week; version 2 is champion from the second run on."""
    past = Past(stack.settings.home / "mlflow" / "mlflow.db")
    begin = NOW - timedelta(weeks=2 * ROUNDS)
    for uri in KEPT:
        past.write(uri, begin)
    counts = []
    for number in range(ROUNDS):
        time = begin + timedelta(weeks=2 * number)
        version = past.run_pipeline(number, time)
        if number < 2:
            past.promote(version, time)
        if number % 2:
            clean(time, open_runs=("scheduled__04",))
            counts.append(count(stack) | {"versions": len(champions.versions())})
    return {"counts": counts}


def test_a_year_of_runs_reaches_a_plateau(year: dict[str, Any]) -> None:
    first, *_, before, last = year["counts"]

    assert {**last, ARTIFACTS: 0} == {**before, ARTIFACTS: 0}  # which mlflow gc removes
    assert last["versions"] > first["versions"]


def test_what_was_deleted_in_mlflow_is_removed_with_its_files(year: dict[str, Any], stack: Stack) -> None:
    before = count(stack)
    removed = remove_deleted(stack.settings, days=0)
    after = count(stack)

    assert before[ARTIFACTS] == ROUNDS
    assert after[ARTIFACTS] == before["logged_models"] == after["logged_models"]
    assert removed == 5 * ROUNDS - before["runs"] + ROUNDS - before["logged_models"]


def test_the_champion_and_the_one_before_it_keep_their_run_table_and_evaluation(year: dict[str, Any]) -> None:
    assert champions.champion() == "2"
    assert champions.previous() == "1"
    for version in champions.versions()[:2]:
        tags = champions.read_tags(version)
        assert storage.exists(tags[champions.FEATURES_URI])
        assert storage.exists(json.loads(tags[champions.EVALUATION])["uri"])
        assert MLflowClientHook().get_run(version["run_id"])["info"]["lifecycle_stage"] == "active"
        model = MLflowClientHook().get_logged_model(version["source"].rpartition("/")[2])
        assert storage.exists(storage.artifact_uri(f"{model['info']['artifact_uri']}/MLmodel"))


def test_the_number_of_looks_at_a_slice_of_the_holdout_is_not_forgotten(year: dict[str, Any]) -> None:
    kept = [json.loads(champions.read_tags(version)[champions.EVALUATION]) for version in champions.versions()]

    assert len(kept) < ROUNDS
    assert max(evaluation["look"] for evaluation in kept) == 9


def test_files_that_were_not_processed_yet_stay(year: dict[str, Any]) -> None:
    assert all(map(storage.exists, KEPT))


def test_what_an_open_run_may_read_stays(year: dict[str, Any]) -> None:
    assert len(storage.list_objects(f"{housekeeping.XCOMS}/train/scheduled__04")) == 5
    assert storage.exists("s3://data/scratch/scheduled__04/rows")
    assert not storage.list_objects(f"{housekeeping.XCOMS}/train/scheduled__05")


def test_every_kept_trail_leads_to_a_kept_version(year: dict[str, Any]) -> None:
    kept = {version["version"] for version in champions.versions()}

    assert housekeeping._read_traced() <= kept


def test_a_trail_that_another_task_deletes_meanwhile_does_not_count(
    year: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    traced, listed = housekeeping._read_traced(), storage.list_objects(housekeeping.PREDICTIONS.uri)
    gone = f"{housekeeping.PREDICTIONS.uri}/gone.csv{trace.SUFFIX}"
    monkeypatch.setattr(storage, "list_objects", lambda uri: [*listed, gone])

    assert housekeeping._read_traced() == traced != set()


def test_runs_that_a_killed_task_left_open_are_ended(stack: Stack) -> None:
    past = Past(stack.settings.home / "mlflow" / "mlflow.db")
    tags = [{"airflow.dag_id": "train", "airflow.dag_run_id": dag_run_id} for dag_run_id in ("ended", "open")]
    ids = [past.hook.create_run(past.experiment_id, tags=one)["info"]["run_id"] for one in [*tags, {}]]
    housekeeping.end_abandoned(lambda dag_id, run_ids, states: int(run_ids == ["open"]))

    assert [past.hook.get_run(run_id)["info"]["status"] for run_id in ids] == ["KILLED", "RUNNING", "RUNNING"]


def test_a_dry_run_deletes_nothing(year: dict[str, Any], stack: Stack) -> None:
    class Task:
        get_dr_count = staticmethod(lambda **_: 0)

    before = count(stack)
    listed = housekeeping.delete_expired("xcoms", {"dry_run": True}, Task())

    assert listed == {"kind": "xcoms", "items": 2, "parts": 10, "bytes": 1000}  # one was open
    assert count(stack) == before
