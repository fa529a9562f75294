"""Files of new possums, put into the folder that Airflow's triggerer watches."""

from __future__ import annotations

import time
from collections.abc import Iterator
from io import BytesIO

import pandas as pd
import pytest

from include import config
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.platform import storage, trace
from include.platform.assets import INCOMING, PROCESSING
from include.platform.champions import find_champion
from include.tasks import predict_incoming as incoming
from local.airflow import POLL, Airflow
from tests.end_to_end.conftest import Pipeline

DAG = "predict_incoming"
PREDICTED = "s3://data/predictions/incoming"
FOLDERS = (INCOMING.uri, PROCESSING, incoming.PROCESSED, incoming.REJECTED, PREDICTED)


def csv_of(cases: slice) -> bytes:
    return pd.read_csv(config.POSSUM_CSV).drop(columns=config.TARGET)[cases].to_csv(index=False).encode()


def contents() -> dict[str, dict[str, str]]:
    """The objects of each folder: the name of the uploaded file by that of the object."""
    return {
        folder.removeprefix("s3://data/"): {
            name: name.rpartition("-20")[0] for uri in storage.list_objects(folder) for name in [uri.rpartition("/")[2]]
        }
        for folder in FOLDERS
    }


def runs(airflow: Airflow) -> set[str]:
    return {run["dag_run_id"] for run in airflow.get(f"dags/{DAG}/dagRuns", limit=500)["dag_runs"]}


def wait_for_runs(airflow: Airflow, known: set[str]) -> list[str]:
    """Wait for the run that an upload sets off, then for the end of every new run."""
    deadline = time.monotonic() + 60
    while not (new := runs(airflow) - known):
        assert time.monotonic() < deadline, f"nothing has set off {DAG}"
        time.sleep(POLL)
    assert {airflow.wait(DAG, run_id) for run_id in new} == {"success"}
    return sorted(new)


def upload(files: dict[str, bytes]) -> None:
    for name, content in files.items():
        storage.write_bytes(content, f"{INCOMING.uri}/{name}")


@pytest.fixture(scope="module")
def together(airflow: Airflow, first: Pipeline) -> Iterator[list[str]]:
    """Three files, uploaded at once: two that can be used, and one with an animal of a third sex."""
    known = runs(airflow)
    upload({"one.csv": csv_of(slice(0, 5)), "two.csv": csv_of(slice(5, 8))})
    upload({"bad.csv": csv_of(slice(8, 9)).replace(b",f,", b",x,").replace(b",m,", b",x,")})
    new = wait_for_runs(airflow, known)
    while storage.list_objects(INCOMING.uri):  # the watcher looked between two uploads: there is one run more
        new += wait_for_runs(airflow, known | set(new))
    return new


def test_files_that_arrive_together_are_each_predicted_once(together: list[str]) -> None:
    found = contents()
    predicted = [file for name, file in found["predictions/incoming"].items() if name.endswith(".csv")]
    assert sorted(predicted) == sorted(found["processed"].values()) == ["one", "two"]
    assert found["incoming"] == found["processing"] == {}


def test_every_animal_has_a_prediction_with_its_interval(together: list[str], first: Pipeline) -> None:
    tables = [
        pd.read_csv(BytesIO(storage.read_bytes(uri))) for uri in storage.list_objects(PREDICTED) if uri.endswith(".csv")
    ]
    table = pd.concat(tables).set_index("case").sort_index()
    assert table.index.tolist() == list(range(1, 9))
    assert {"predicted", "lower", "upper"} <= set(table)
    whole = pd.read_csv(BytesIO(storage.read_bytes(first.said["predict"]["uri"]))).set_index("case")
    pd.testing.assert_series_equal(table["predicted"], whole["predicted"].loc[1:8])


def test_a_bad_file_is_put_away_with_the_reason_beside_it(together: list[str]) -> None:
    file, reason = storage.list_objects(incoming.REJECTED)
    assert reason == f"{file}.reason.txt"
    assert "row 2, column sex: x must be one of f, m" in storage.read_bytes(reason).decode()


def test_every_file_is_named_in_the_pages_of_airflow(airflow: Airflow, together: list[str]) -> None:
    tasks = [task for run_id in together for task in airflow.tasks(DAG, run_id)]
    checked = {task["rendered_map_index"] for task in tasks if task["task_id"] == "predict_file.check_rows"}
    assert {name.partition("-20")[0] for name in checked if name} == {"one", "two", "bad"}


def test_a_file_leads_to_version_run_data_and_commit(together: list[str]) -> None:
    champion = find_champion(MLflowClientHook("GET", config.MLFLOW_CONN_ID)) or {}
    uri = next(uri for uri in storage.list_objects(PREDICTED) if uri.endswith(".csv"))
    trail = trace.follow(uri)
    said = "\n".join(line for lines in trail.values() for line in lines)
    assert f"{config.REGISTERED_MODEL} version {champion['version']}" in said
    assert champion["run_id"] in said
    assert next(tag["value"] for tag in champion["tags"] if tag["key"] == "features_uri") in said
    assert f"Airflow's {DAG}" in said
    assert "CHANGED" not in said
    assert all(trail.values())


def test_an_upload_of_the_same_name_overwrites_nothing(airflow: Airflow, together: list[str]) -> None:
    before = set(contents()["predictions/incoming"])
    known = runs(airflow)
    upload({"one.csv": csv_of(slice(20, 22))})
    wait_for_runs(airflow, known)
    after = contents()["predictions/incoming"]
    (added,) = [name for name in set(after) - before if name.endswith(".csv")]
    assert before < set(after)
    assert pd.read_csv(BytesIO(storage.read_bytes(f"{PREDICTED}/{added}")))["case"].tolist() == [21, 22]


def test_a_run_with_nothing_to_do_changes_nothing(airflow: Airflow, together: list[str]) -> None:
    before = contents()
    run_id = airflow.trigger(DAG)
    assert airflow.wait(DAG, run_id) == "success"
    states = {task["task_id"]: task["state"] for task in airflow.tasks(DAG, run_id)}
    assert states["predict_file.check_rows"] == "skipped"
    assert contents() == before


def test_a_repeated_run_changes_nothing(airflow: Airflow, together: list[str]) -> None:
    before = contents()
    airflow.clear(DAG, together[0], ["claim_files", "predict_file.check_rows", "predict_file.save_predictions"])
    assert airflow.wait(DAG, together[0]) == "success"
    assert contents() == before
