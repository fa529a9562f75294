from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.io.xcom import backend

from include.services.storage import read_bytes
from include.services.xcom import XComBackend
from include.settings import AWS_CONN_ID, XCOM_BUCKET

COORDINATES = {"dag_id": "train", "task_id": "check", "run_id": "manual__1", "map_index": -1}
S3 = f"s3://{AWS_CONN_ID}@{XCOM_BUCKET}/xcom"


@pytest.fixture(autouse=True)
def _keep_xcoms_in_s3(buckets: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH", S3)
    monkeypatch.setenv("AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD", "0")
    _forget_settings()
    yield
    _forget_settings()


def _forget_settings() -> None:
    """The backend reads its settings once a process."""
    for setting in (backend._get_base_path, backend._get_threshold, backend._get_compression):
        setting.cache_clear()


def stored(value: Any, key: str) -> Any:
    return XComBackend.serialize_value(value, key=key, **COORDINATES)


def read(value: Any) -> Any:
    return XComBackend.deserialize_value(SimpleNamespace(value=value))


def test_a_value_is_in_object_storage_and_its_path_in_the_database() -> None:
    path = stored({"uri": "s3://data/features"}, key="return_value")

    assert path.startswith(f"{S3}/train/manual__1/check/")
    assert b"s3://data/features" in read_bytes(path.replace(f"{AWS_CONN_ID}@", ""))
    assert read(path) == {"uri": "s3://data/features"}


def test_the_decision_of_a_branch_is_in_the_database_itself() -> None:
    decision = {"followed": ["register_model.create_registered_model"]}

    assert stored(decision, key="skipmixin_key") == decision
    assert read(decision) == decision
