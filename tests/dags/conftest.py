from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG


@pytest.fixture(scope="session")
def dag_bag() -> DagBag:
    return DagBag(Path(__file__).parents[2] / "dags")


@pytest.fixture
def dag(dag_bag: DagBag, request: pytest.FixtureRequest) -> DAG:
    """The DAG that the test module is named after."""
    return dag_bag.dags[request.path.stem.removeprefix("test_")]
