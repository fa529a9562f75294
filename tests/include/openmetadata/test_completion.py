"""What is added to a model beyond what the connector sends; each test runs the real connector first."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from include import config

from .conftest import Registered, Run
from .programs import TOKEN, Catalogue

Runner = Callable[..., Run]


@pytest.fixture
def completed(run: Runner, catalogue: Catalogue, possum_model: Registered) -> dict[str, Any]:
    """The possum model in OpenMetadata, after both tasks."""
    run("ingest")
    ran = run("complete")
    assert ran.result == {possum_model.name: "1"}, ran.error + ran.log
    return catalogue.entity("mlmodels", f"possums_mlflow.{possum_model.name}")


def test_the_champion_is_described_with_its_metrics_and_pages(
    completed: dict[str, Any], services: dict[str, Any], possum_model: Registered
) -> None:
    description = completed["description"]
    print(description)  # noqa: T201 # what people would read
    pages = f"{json.loads(services['AIRFLOW_CONN_MLFLOW_DEFAULT'])['host']}/#"
    name = possum_model.name.replace(" ", "%20")
    assert description.startswith("Predicts how long a possum's tail is\n\n### In MLflow")
    assert f"| [1]({pages}/models/{name}/versions/1) | alias champion |" in description  # version 2 is newer
    assert f"/runs/{possum_model.run_id})" in description
    assert "| holdout_rmse | 1.2" in description
    assert "| promoted_by | gate |" in description


def test_aliases_are_tags_and_the_team_is_the_owner(completed: dict[str, Any], catalogue: Catalogue) -> None:
    assert [tag["tagFQN"] for tag in completed["tags"]] == ["MLflow.champion"]
    (owner,) = completed["owners"]
    assert owner["id"] == catalogue.entity("teams", "possum-team")["id"]


@pytest.mark.usefixtures("completed")
def test_lineage_leads_from_the_table_over_the_features_to_model_and_predictions(
    catalogue: Catalogue, possum_model: Registered
) -> None:
    edges = catalogue.look()["edges"]

    print(json.dumps(edges, indent=2))  # noqa: T201
    table, features, predictions = (
        f"possums_objects.{name}" for name in ('"possum.csv"', "possum_features", "possum_predictions")
    )
    model = f"possums_mlflow.{possum_model.name}"
    assert sorted(edges) == sorted([[table, features], [features, model], [model, predictions]])
    container = catalogue.entity("containers", features)
    assert container["fullPath"] == f"s3://{config.DATA_BUCKET}/features/catalogue/possum_features.parquet"
    columns = {column["name"]: column["dataType"] for column in container["dataModel"]["columns"]}
    assert columns["age"] == "DOUBLE"
    assert columns["sex"] == "STRING"
    assert "feature_age" in columns


def test_a_second_run_changes_nothing_and_keeps_what_people_wrote(
    run: Runner, catalogue: Catalogue, completed: dict[str, Any]
) -> None:
    url = f"{catalogue.url}/api/v1/mlmodels/{completed['id']}"
    written = completed["description"].replace("Predicts how long", "Ask Ann: predicts how long")
    edit = [{"op": "replace", "path": "/description", "value": written}]
    httpx.patch(url, headers={"Authorization": f"Bearer {TOKEN}"}, content=json.dumps(edit)).raise_for_status()
    before = catalogue.look()

    run("ingest")
    run("complete")

    after = catalogue.look()
    assert after["entities"] == before["entities"]
    assert after["edges"] == before["edges"]
    assert [call for call in after["said"][len(before["said"]) :] if call["method"] == "PATCH"] == []


@pytest.mark.parametrize(
    "fault",
    [
        {"path": "mlmodels/", "method": "PATCH", "status": 409},
        {"path": "lineage", "status": 500},
        {"path": "tags", "method": "PUT", "status": 500},
    ],
    ids=["model", "lineage", "tags"],
)
def test_what_the_server_refuses_fails_the_task_with_one_line(
    run: Runner, catalogue: Catalogue, fault: dict[str, Any]
) -> None:
    run("ingest")
    catalogue.fail(**fault)

    ran = run("complete")

    assert "a fault of this test" in ran.error
    assert "\n" not in ran.error


def test_a_model_that_the_connector_has_not_sent_is_named(run: Runner, possum_model: Registered) -> None:
    assert f"it has no model possums_mlflow.{possum_model.name}" in run("complete").error
