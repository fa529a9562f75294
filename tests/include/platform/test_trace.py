from __future__ import annotations

import pytest

from include import config
from include.platform import storage
from include.platform.trace import TraceError, follow, leave_trail
from tests.include.conftest import Tails

FILE = "s3://data/traced/possum_tail_length.csv"


@pytest.fixture
def file(tails: Tails, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of predictions by version 1, the champion of that time; today version 2 is."""
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "predict")
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "manual__2")
    monkeypatch.setenv("CODE_VERSION", "77aa01")
    storage.write_bytes(b"case,predicted\n1,36.0\n", FILE)
    leave_trail(FILE, {"version": "1", "run_id": tails.run_id, "alias": "champion"}, "s3://data/traced/rows.parquet")
    tails.crown("2")
    return FILE


def test_a_file_leads_to_its_airflow_run_and_its_rows(file: str) -> None:
    said = "\n".join(follow(file)["predictions"])

    assert file in said
    assert "unchanged" in said
    assert "Airflow's predict, run manual__2" in said
    assert "s3://data/traced/rows.parquet" in said


def test_a_file_leads_to_its_version_and_says_who_is_champion_now(file: str, tails: Tails) -> None:
    said = follow(file)["model"]

    assert said[0] == f"{tails.name} version 1"
    assert said[1] == "then champion; aliases now: none"


def test_a_file_leads_to_the_run_that_trained(file: str, tails: Tails) -> None:
    assert follow(file)["training"] == [
        f"MLflow run {tails.run_id} (Tails)",
        "logged by Airflow's train, run manual__1",
    ]


def test_a_file_leads_to_the_data_and_its_hash(file: str) -> None:
    uri, digest = follow(file)["data"]

    assert uri == "s3://data/tails/features.parquet"
    assert digest.startswith("digest ")
    assert digest.endswith("(possum_features), unchanged")


def test_a_file_leads_to_both_commits(file: str) -> None:
    assert follow(file)["code"] == ["trained with 1f0c9d", "predicted with 77aa01"]


def test_a_file_that_was_changed_says_so(file: str) -> None:
    storage.write_bytes(b"case,predicted\n1,42.0\n", file)

    assert "CHANGED: it is " in follow(file)["predictions"][1]


def test_a_file_that_is_gone_says_so(file: str) -> None:
    storage.delete(file)

    assert "CHANGED: it is nothing: the file is gone" in follow(file)["predictions"][1]


def test_data_that_were_changed_say_so(file: str) -> None:
    uri = "s3://data/tails/features.parquet"
    before = storage.read_bytes(uri)
    try:
        storage.write_table(storage.read_table(uri).assign(age=1.0), uri)
        assert "CHANGED: it is " in follow(file)["data"][1]
        storage.delete(uri)
        assert "CHANGED: the object is gone" in follow(file)["data"][1]
    finally:
        storage.write_bytes(before, uri)


def test_a_file_without_a_trail_is_named_with_the_remedy(buckets: None) -> None:
    with pytest.raises(TraceError, match=r"s3://data/traced/other\.csv has no trail.*Give the CSV file"):
        follow("s3://data/traced/other.csv")


def test_the_trail_names_no_champion_when_there_was_none(file: str, tails: Tails) -> None:
    leave_trail(file, {"version": "2", "run_id": tails.run_id, "alias": ""}, "s3://data/traced/rows.parquet")

    assert follow(file)["model"][1] == f"then no champion, the newest version; aliases now: {config.CHAMPION_ALIAS}"


def test_the_data_are_those_of_the_version_though_mlflow_knows_their_content_by_another_address(
    file: str, tails: Tails
) -> None:
    same = storage.write_table(storage.read_table("s3://data/tails/features.parquet"), "s3://data/tails/same.parquet")
    tails.hook.set_model_version_tag(tails.name, "1", "features_uri", same)

    source, found = follow(file)["data"]

    assert source == same
    assert found.endswith("unchanged")
