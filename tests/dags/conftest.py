from __future__ import annotations

from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

DAGS = Path(__file__).parents[2] / "dags"


@pytest.fixture(scope="module")
def dag(request: pytest.FixtureRequest) -> DAG:
    """The DAG that the test module is named after."""
    name = request.path.stem.removeprefix("test_")
    return DagBag(DAGS / f"{name}.py").dags[name]
