"""The catalogue's DAG in a running Airflow, after the pipeline: what OpenMetadata receives, and a hidden token."""

from collections.abc import Iterator

import pytest

from include.problem import PROBLEM
from include.services.champions import MODEL
from local.airflow import Airflow
from local.stack import Stack
from tests.end_to_end.conftest import Pipeline, places_with, task_of
from tests.environments import build
from tests.include.openmetadata.programs import TOKEN, Catalogue, Program

DAG_ID = "openmetadata_mlflow"


@pytest.fixture(scope="module")
def catalogue() -> Iterator[Catalogue]:
    program = Program(build("openmetadata") / "bin" / "python", "stub.py")
    yield Catalogue(program.ask(TOKEN))
    program.end()


@pytest.fixture
def switched_on(stack: Stack, airflow: Airflow) -> Iterator[None]:
    """The DAG, for the project's model alone: other tests leave models that are incomplete."""
    file = stack.settings.project / "include" / "openmetadata" / "mlflow.yaml"
    text = file.read_text()
    pattern = f"mlModelFilterPattern: {{includes: ['^{MODEL}$']}}"
    file.write_text(text.replace("type: MlModelMetadata", f"type: MlModelMetadata\n      {pattern}"))
    airflow.wait_for_dags([DAG_ID])
    yield
    airflow.send("PATCH", f"dags/{DAG_ID}", {"is_paused": True})
    file.write_text(text)


@pytest.mark.usefixtures("switched_on")
def test_the_model_is_in_the_catalogue_and_the_token_in_no_file(
    stack: Stack, airflow: Airflow, first: Pipeline, catalogue: Catalogue
) -> None:
    run_id = airflow.trigger(DAG_ID)
    assert airflow.wait(DAG_ID, run_id) == "failed"
    error = airflow.error(DAG_ID, run_id, task_of(airflow, DAG_ID, run_id, "ingest"))
    assert "There is no connection openmetadata_default: define it with type HTTP" in error

    airflow.create_connection("openmetadata_default", conn_type="http", host=catalogue.url, password=TOKEN)
    run_id = airflow.trigger(DAG_ID)
    assert airflow.wait(DAG_ID, run_id) == "success"

    model = catalogue.entity("mlmodels", f"mlflow.{MODEL}")
    assert [feature["name"] for feature in model["mlFeatures"]] == PROBLEM.inputs
    assert "alias champion" in model["description"]
    assert len(catalogue.state()["edges"]) == 3
    assert places_with(stack, f"{PROBLEM.name}_objects")  # the search finds what is there
    assert places_with(stack, TOKEN) == []
