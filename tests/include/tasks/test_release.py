"""A champion travels from one MLflow server and S3 to others, all of them real."""

import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from airflow import settings
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.io import store
from airflow.utils.db import initdb

from include.mlflow_provider.hooks.client import MLflowClientHook
from include.mlflow_provider.hooks.pyfunc import HASH_TAG, ORIGIN_TAG, MLflowPyfuncHook
from include.services import champions, storage, tracking
from include.settings import DATA_BUCKET, INCLUDE
from include.tasks import release
from tests.conftest import CONNECTIONS, create_buckets, run_stack

from ..conftest import Registered

RUN = "manual__unit-release"
ERRORS = b"error,absolute\n0.5,0.5\n"


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The environment of a stack with an S3 and an MLflow of its own."""
    with run_stack(tmp_path_factory.mktemp("production")) as stack:
        yield stack.settings.environment()


@pytest.fixture
def staged(registered: Registered, project_table: pd.DataFrame) -> Registered:
    """Two versions as ``train`` makes them; the first is champion."""
    uri = storage.write_table(project_table, f"s3://{DATA_BUCKET}/unit-release/features.parquet")
    digest = MLflowPyfuncHook().hash_model(f"models:/{registered.name}/1")
    for version in ("1", "2"):
        for tag, value in ((champions.FEATURES_URI, uri), (HASH_TAG, digest)):
            registered.tag(version, tag, value)
    tracking.log_files({tracking.OUT_OF_FOLD_ERRORS: ERRORS}, registered.run_id)
    champions.promote("1", by="the gate", why="better")
    return registered


@pytest.fixture
def production(staged: Registered, elsewhere: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> MLflowClientHook:
    """Another environment, for which that of the versions is staging."""
    # A process of Airflow keeps the file system of a connection, and the one of this process may know the old S3.
    monkeypatch.setattr(store, "_STORE_CACHE", {})
    for variable in CONNECTIONS:
        monkeypatch.setenv(variable.replace("DEFAULT", "STAGING"), os.environ[variable])
        monkeypatch.setenv(variable, elsewhere[variable])
    create_buckets()
    return champions.connect()


def params(name: str, source: str = "staging", version: str = "@champion") -> dict[str, Any]:
    return {"source": source, "model_uri": f"models:/{name}{version}", "approval": False, "approval_minutes": 1}


@pytest.fixture
def dags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of Airflow with the DAG only, and a database; tasks run in this process, which keeps its memory."""
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    initdb()
    shutil.copy(INCLUDE.parent / "dags/release.py", tmp_path)
    monkeypatch.setattr(settings, "DAGS_FOLDER", str(tmp_path))
    return tmp_path


def test_a_champion_arrives_with_its_files_its_table_and_its_record(
    staged: Registered, production: MLflowClientHook, dags: Path, project_table: pd.DataFrame
) -> None:
    dag = DagBag(dags).dags["release"]
    dag.deadline = None  # which DAG.test of Airflow 3.3.2 cannot read

    run: Any = dag.test(run_conf=params(staged.name))

    assert run.state == "success"
    (version,) = champions.versions()
    tags = champions.read_tags(version)
    assert tags[HASH_TAG] == MLflowPyfuncHook().hash_model(f"models:/{staged.name}/1")
    assert tags[HASH_TAG] == MLflowPyfuncHook("mlflow_staging").hash_model(f"models:/{staged.name}/1")
    (period,) = champions.history()  # without that of staging
    assert (champions.champion(), period.version) == ("1", "1")
    assert period.why.startswith(f"released, without approval: {tags[ORIGIN_TAG]}, trained with code 1f0c9d")
    pd.testing.assert_frame_equal(storage.read_table(tags[champions.FEATURES_URI]), project_table)
    assert tracking.load_model(f"models:/{staged.name}/1").predict(project_table)["prediction"].unique() == [36.0]
    assert tracking.read_artifact(version["run_id"], tracking.OUT_OF_FOLD_ERRORS) == ERRORS
    assert champions.read_tags(production.get_run(version["run_id"])["data"])["code_version"] == "1f0c9d"


def test_a_version_is_released_from_another_model_of_the_same_server(staged: Registered) -> None:
    chosen = release.choose_version(params(staged.name, source="default"))

    assert (chosen["mlflow_conn_id"], chosen["model_uri"]) == ("", f"models:/{staged.name}/1")
    assert release.copy_table(chosen, RUN)[champions.FEATURES_URI] == chosen[champions.FEATURES_URI]


@pytest.mark.parametrize(
    ("version", "tag", "why"),
    [
        ("/9", None, "no release: models:/.*/9 of staging"),
        ("/2", None, r"no release: version 2 of .* of staging lacks the tags promoted_at"),
        ("@champion", champions.ON_HOLD, "no release: version 1 of .* is on hold: too low"),
    ],
)
def test_only_a_champion_that_is_not_on_hold_is_released(
    staged: Registered, production: MLflowClientHook, version: str, tag: str | None, why: str
) -> None:
    if tag:
        staged.tag("1", tag, "too low")

    with pytest.raises(AirflowFailException, match=why):
        release.choose_version(params(staged.name, version=version))


# What copy_version and copy_table return of a version that has arrived.
RECORDED = {"version": "1", "model_uri": "models:/x/1", "summary": "from staging", "champion": ""}
TABLE = {"features_uri": "s3://data/features/x/features.parquet", "rows_uri": ""}


@pytest.mark.parametrize(("approval", "branch"), [(True, "approve"), (False, "promote_to_champion")])
def test_the_form_decides_whether_a_person_is_asked(registered: Registered, approval: bool, branch: str) -> None:
    assert release.check_version(RECORDED, [36.0] * 5, {"approval": approval}) == branch


def test_a_version_that_is_on_hold_here_is_not_released_again(registered: Registered) -> None:
    champions.hold("1", why="rolled back")

    assert release.check_version(RECORDED, [36.0] * 5, {"approval": False}) == "keep_version"
    assert release.keep_version(RECORDED, TABLE, None)["reason"] == "on hold, rolled back"


def test_a_version_that_predicts_no_numbers_fails(registered: Registered) -> None:
    with pytest.raises(AirflowFailException, match=r"no release: version 1 predicts \[nan\], not 5 finite numbers"):
        release.check_version(RECORDED, [float("nan")], {"approval": False})


def test_a_rejection_is_recorded_and_the_version_is_not_judged_by_promote(registered: Registered) -> None:
    response = {"chosen_options": ["Reject"], "responded_by_user": {"name": "ann"}}

    assert release.keep_version(RECORDED, TABLE, response)["promoted"] is False

    tags = registered.tags("1")
    assert (tags[champions.REJECTED], tags[champions.FEATURES_URI]) == ("rejected by ann", TABLE["features_uri"])
    assert (champions.champion(), champions.waiting()) == ("", [])


def test_a_release_does_not_replace_a_champion_that_it_did_not_know(registered: Registered) -> None:
    champions.promote("2", by="the gate", why="better")

    with pytest.raises(AirflowFailException, match="version 2 is champion now"):
        release.promote_to_champion(RECORDED, TABLE, None)
    assert champions.champion() == "2"
