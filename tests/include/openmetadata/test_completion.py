"""What is added to a model that the connector has sent; each test runs the real connector first."""

import json
from typing import Any

import httpx
import pytest

from .conftest import FEATURES_URI, MODEL, ODD, PROBLEM, Runner
from .programs import TOKEN, Catalogue


@pytest.fixture
def completed(run: Runner, catalogue: Catalogue) -> dict[str, Any]:
    """The model in OpenMetadata after both tasks."""
    run("ingest")
    ran = run("complete")
    assert ran.result == {MODEL: "1"}, ran.error + ran.log
    return catalogue.entity("mlmodels", f"mlflow.{MODEL}")


def test_the_champion_is_described_with_its_metrics_and_pages(
    completed: dict[str, Any], services: dict[str, Any], run_id: str
) -> None:
    description = completed["description"]
    pages = f"{json.loads(services['AIRFLOW_CONN_MLFLOW_DEFAULT'])['host']}/#"
    name = MODEL.replace(" ", "%20")
    assert description.startswith(f"{PROBLEM.summary}\n\n### In MLflow")
    assert f"| version | [1]({pages}/models/{name}/versions/1), alias champion |" in description  # version 2 is newer
    assert f"/runs/{run_id})" in description
    assert "| metric holdout_rmse | 21.5 |" in description
    assert "| tag promoted_by | gate |" in description


def test_aliases_become_tags_and_the_team_becomes_the_owner(completed: dict[str, Any], catalogue: Catalogue) -> None:
    assert [tag["tagFQN"] for tag in completed["tags"]] == ["MLflow.champion"]
    (owner,) = completed["owners"]
    ((name, team),) = catalogue.state()["entities"]["teams"].items()
    assert name.endswith("-team")
    assert owner["id"] == team["id"]


@pytest.mark.usefixtures("completed")
def test_lineage_leads_from_the_table_through_the_features_to_model_and_predictions(
    catalogue: Catalogue,
) -> None:
    edges = catalogue.state()["edges"]
    (predictions,) = (end for start, end in edges if start == f"mlflow.{MODEL}")
    table, features = (f"house_objects.{name}" for name in ('"houses.csv"', "house_features"))
    assert sorted(edges) == sorted([[table, features], [features, f"mlflow.{MODEL}"], edges[-1]])

    described = {name: catalogue.entity("containers", name) for name in (table, features, predictions)}
    assert described[table]["fullPath"] == "include/houses.csv"
    assert described[features]["fullPath"] == FEATURES_URI
    columns = {
        name: {column["displayName"]: column for column in container["dataModel"]["columns"]}
        for name, container in described.items()
    }
    assert list(columns[table]) == ["address", *PROBLEM.inputs, "price"]
    assert list(columns[predictions]) == ["address", "true", "predicted", "lower", "upper", "split"]
    for name in (table, features):
        assert columns[name]["split"]["dataType"] == "STRING"
        assert columns[name]["split"]["description"] == "district"
        assert columns[name]["price"]["dataType"] == "DOUBLE"
        assert columns[name]["price"]["description"] == "price (k\u20ac)"
        assert ODD in columns[name]


def test_a_second_run_changes_nothing_and_keeps_what_people_wrote(
    run: Runner, catalogue: Catalogue, completed: dict[str, Any]
) -> None:
    url = f"{catalogue.url}/api/v1/mlmodels/{completed['id']}"
    written = f"Ask Ann. {completed['description']}"
    edit = [{"op": "replace", "path": "/description", "value": written}]
    httpx.patch(url, headers={"Authorization": f"Bearer {TOKEN}"}, content=json.dumps(edit)).raise_for_status()
    before = catalogue.state()

    run("ingest")
    run("complete")

    after = catalogue.state()
    assert after["entities"] == before["entities"]
    assert after["edges"] == before["edges"]
    assert [call for call in after["calls"][len(before["calls"]) :] if call["method"] == "PATCH"] == []


@pytest.mark.parametrize(
    "failure",
    [
        {"path": "mlmodels/", "method": "PATCH", "status": 409},
        {"path": "lineage", "status": 500},
        {"path": "tags", "method": "PUT", "status": 500},
    ],
    ids=["model", "lineage", "tags"],
)
def test_what_the_server_rejects_fails_the_task_with_one_line(
    run: Runner, catalogue: Catalogue, failure: dict[str, Any]
) -> None:
    run("ingest")
    catalogue.fail(**failure)

    ran = run("complete")

    assert "a failure of this test" in ran.error
    assert "\n" not in ran.error


def test_a_model_that_the_connector_has_not_sent_is_named(run: Runner) -> None:
    assert f"it has no model {MODEL}: run the connector first" in run("complete").error
