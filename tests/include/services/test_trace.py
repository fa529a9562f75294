import pytest

from include.services import storage
from include.services.champions import CHAMPION_ALIAS
from include.services.trace import TraceError, read_trace, write_trace
from tests.include.conftest import Registered

FILE, ROWS = "s3://data/traced/predictions.csv", "s3://data/traced/rows.parquet"
FEATURES = "s3://data/constant/features.parquet"


@pytest.fixture
def file(registered: Registered, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of predictions by version 1, the champion of that time; now version 2 is."""
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "predict")
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "manual__2")
    monkeypatch.setenv("CODE_VERSION", "77aa01")
    storage.write_bytes(b"id,predicted\n1,36.0\n", FILE)
    write_trace(FILE, {"version": "1", "run_id": registered.run_id, "alias": "champion"}, ROWS)
    registered.promote("2")
    return FILE


def test_a_file_leads_to_its_rows_version_runs_data_and_commits(file: str, registered: Registered) -> None:
    trail = read_trace(file)

    uri, digest, *origin = trail["predictions"]
    assert uri == file
    assert digest.endswith("unchanged")
    assert origin == ["written by Airflow's predict, run manual__2", f"from the rows in {ROWS}"]
    version, aliases, source = trail["model"]
    assert version == f"{registered.name} version 1"
    assert aliases == "then champion; aliases now: none"
    assert source.startswith("logged as models:/m-")
    run = registered.hook.get_run(registered.run_id)["info"]["run_name"]
    assert trail["training"] == [
        f"MLflow run {registered.run_id} ({run})",
        "logged by Airflow's train, run manual__1",
    ]
    uri, digest = trail["data"]
    assert uri == FEATURES
    assert digest.startswith("digest ")
    assert digest.endswith("(features), unchanged")
    assert trail["code"] == ["trained with 1f0c9d", "predicted with 77aa01"]


def test_a_changed_or_deleted_file_is_reported(file: str) -> None:
    storage.write_bytes(b"id,predicted\n1,42.0\n", file)
    assert "CHANGED: it is " in read_trace(file)["predictions"][1]

    storage.delete(file)
    assert "CHANGED: it no longer exists" in read_trace(file)["predictions"][1]


def test_changed_or_deleted_data_is_reported(file: str) -> None:
    before = storage.read_bytes(FEATURES)
    try:
        storage.write_table(storage.read_table(FEATURES).iloc[1:], FEATURES)
        assert "CHANGED: it is " in read_trace(file)["data"][1]
        storage.delete(FEATURES)
        assert "CHANGED: it no longer exists" in read_trace(file)["data"][1]
    finally:
        storage.write_bytes(before, FEATURES)


@pytest.mark.usefixtures("buckets")
def test_a_file_without_a_trail_is_named_with_the_remedy() -> None:
    with pytest.raises(TraceError, match=r"s3://data/traced/other\.csv has no trail.*Give the CSV file"):
        read_trace("s3://data/traced/other.csv")


def test_the_trail_names_no_champion_and_no_airflow_run_if_there_was_none(
    file: str, registered: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CTX_DAG_ID")
    write_trace(file, {"version": "2", "run_id": registered.run_id, "alias": ""}, ROWS)

    trail = read_trace(file)

    assert trail["model"][1] == f"then no champion, the newest version; aliases now: {CHAMPION_ALIAS}"
    assert trail["predictions"][2] == "written by no Airflow run"


def test_the_data_is_the_versions_even_if_mlflow_has_its_content_under_another_address(
    file: str, registered: Registered
) -> None:
    same = storage.write_table(storage.read_table(FEATURES), "s3://data/traced/same.parquet")
    registered.tag("1", "features_uri", same)

    source, found = read_trace(file)["data"]

    assert source == same
    assert found.endswith("unchanged")
