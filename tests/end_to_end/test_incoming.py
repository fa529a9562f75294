"""Files of new rows, uploaded into the folder that Airflow's triggerer watches."""

from collections.abc import Iterator
from io import BytesIO

import pandas as pd
import pytest

from include.problem import PROBLEM
from include.services import storage, trace
from include.services.assets import INCOMING, PROCESSING
from include.services.champions import MODEL, find_champion, read_tags
from include.tasks.predict_incoming import PROCESSED, PUBLISHED, REJECTED
from tests.airflow import Airflow
from tests.end_to_end.conftest import (
    Pipeline,
    read_rows,
    spoil,
    wait_for_success,
    wait_for_task,
    without_target,
)
from tests.toy import in_csv
from tests.waiting import wait_until

DAG = "predict_incoming"
FOLDERS = (INCOMING.uri, PROCESSING, PROCESSED, REJECTED, PUBLISHED)
ROWS = without_target(read_rows())  # the pipeline has predicted them too
BAD, REASONS = spoil(ROWS[8:9])


def contents() -> dict[str, dict[str, str]]:
    """The objects of each folder: the name of the uploaded file by that of the object."""
    return {
        folder.removeprefix("s3://data/"): {
            name: name.rpartition("-20")[0] for uri in storage.list_objects(folder) for name in [uri.rpartition("/")[2]]
        }
        for folder in FOLDERS
    }


def published() -> list[str]:
    return [uri for uri in storage.list_objects(PUBLISHED) if uri.endswith(".csv")]


def read_csv(uri: str) -> pd.DataFrame:
    texts = dict.fromkeys([PROBLEM.id, *PROBLEM.categories], str)
    return pd.read_csv(BytesIO(storage.read_bytes(uri)), dtype=texts)


def wait_for_runs(airflow: Airflow, known: list[str]) -> list[str]:
    """Wait for the run that an upload triggers, then for the end of every new run."""
    new = airflow.wait_for_new_runs(DAG, known)
    for run_id in new:
        wait_for_success(airflow, DAG, run_id)
    return sorted(new)


def upload(files: dict[str, bytes]) -> None:
    for name, content in files.items():
        storage.write_bytes(content, f"{INCOMING.uri}/{name}")


@pytest.fixture(scope="module")
def together(airflow: Airflow, first: Pipeline) -> Iterator[list[str]]:
    """The runs for three files, uploaded at once: two that can be used, and one with errors."""
    known = airflow.run_ids(DAG)
    upload({"one.csv": in_csv(ROWS[:5]), "two.csv": in_csv(ROWS[5:8])})
    upload({"bad.csv": in_csv(BAD)})
    new = wait_for_runs(airflow, known)
    while storage.list_objects(INCOMING.uri):  # the watcher listed the folder between two uploads: one more run
        new += wait_for_runs(airflow, [*known, *new])
    return new


def test_files_that_arrive_together_are_each_predicted_once(together: list[str]) -> None:
    found = contents()
    predicted = [file for name, file in found["predictions/incoming"].items() if name.endswith(".csv")]
    assert sorted(predicted) == sorted(found["processed"].values()) == ["one", "two"]
    assert found["incoming"] == found["processing"] == {}


def test_every_row_has_the_prediction_of_the_pipeline_with_its_interval(together: list[str], first: Pipeline) -> None:
    table = pd.concat([read_csv(uri) for uri in published()], ignore_index=True)
    whole = read_csv(first.events["predict"]["uri"])
    answer = ["predicted", "lower", "upper"]
    assert list(table) == [PROBLEM.id, *PROBLEM.inputs, *answer, "warnings"]
    pd.testing.assert_frame_equal(
        table.set_index(PROBLEM.id)[answer].sort_index(), whole[:8].set_index(PROBLEM.id)[answer].sort_index()
    )


def test_a_bad_file_is_moved_away_with_every_reason_beside_it(together: list[str]) -> None:
    file, reason = storage.list_objects(REJECTED)
    text = storage.read_bytes(reason).decode()
    assert reason == f"{file}.reason.txt"
    assert [expected for expected in REASONS if f"row 2, {expected}" not in text] == []


def test_a_file_leads_to_version_run_data_and_commit(together: list[str]) -> None:
    champion = find_champion() or {}
    trail = trace.read_trace(published()[0])
    text = "\n".join(line for lines in trail.values() for line in lines)
    assert f"{MODEL} version {champion['version']}" in text
    assert champion["run_id"] in text
    assert read_tags(champion)["features_uri"] in text
    assert f"Airflow's {DAG}" in text
    assert "CHANGED" not in text
    assert all(trail.values())


def test_files_that_arrive_during_a_run_are_each_predicted(airflow: Airflow, together: list[str]) -> None:
    known, before = airflow.run_ids(DAG), set(published())
    upload({"early.csv": in_csv(ROWS[22:24])})
    (run_id,) = airflow.wait_for_new_runs(DAG, known)
    wait_for_task(airflow, DAG, run_id, "claim_files", "success", timeout=60)
    for number, rows in enumerate((ROWS[24:26], ROWS[26:28], ROWS[28:30])):
        upload({f"late-{number}.csv": in_csv(rows)})
    wait_until(lambda: len(set(published()) - before) >= 4, 120, lambda: f"not predicted: {contents()}")
    airflow.wait_until_idle(DAG)

    names = [uri.rpartition("/")[2].rpartition("-20")[0] for uri in set(published()) - before]
    assert sorted(names) == ["early", "late-0", "late-1", "late-2"]
    assert contents()["incoming"] == contents()["processing"] == {}


def test_a_run_with_nothing_to_do_changes_nothing(airflow: Airflow, together: list[str]) -> None:
    before = contents()
    run_id = airflow.trigger(DAG)
    assert wait_for_success(airflow, DAG, run_id)["predict_file.check_rows"] == "skipped"
    assert contents() == before


def test_a_repeated_run_changes_nothing(airflow: Airflow, together: list[str]) -> None:
    before = contents()
    airflow.clear(DAG, together[0], ["claim_files", "predict_file.check_rows", "predict_file.save_predictions"])
    wait_for_success(airflow, DAG, together[0])
    assert contents() == before
