"""The receiver of MLflow's webhooks, with Airflow's database; tests/end_to_end has MLflow itself send them."""

import hmac
import json
import subprocess
import sys
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import pytest
from airflow import settings
from airflow.models import DagModel, import_all_models
from airflow.models.asset import AssetActive, AssetDagRunQueue, AssetEvent, AssetModel, DagScheduleAssetReference
from airflow.models.base import Base
from airflow.models.dagbundle import DagBundleModel
from airflow.utils.session import create_session
from fastapi.testclient import TestClient
from sqlalchemy import delete, select

from include.mlflow_provider import webhooks

SECRET = "not the word"
ALIAS = {"name": "tail lengths", "alias": "champion", "version": "3"}


@pytest.fixture(scope="module", autouse=True)
def database():
    if settings.engine is None:
        settings.configure_orm()
    import_all_models()
    Base.metadata.create_all(settings.engine)
    with create_session() as session:
        session.add(DagBundleModel(name="dags"))
        session.flush()
        for name, uri in {
            "model": "mlflow://hooked/tail lengths",
            "alias": "mlflow://hooked/tail%20lengths/champion",
            "other_alias": "mlflow://hooked/tail lengths/candidate",
            "other_model": "mlflow://hooked/tail",
            "other_server": "mlflow://hooked2/tail lengths",
        }.items():
            session.add(DagModel(dag_id=name, bundle_name="dags", is_paused=False))
            asset = AssetModel(name=name, uri=uri, group="asset")
            asset.scheduled_dags.append(DagScheduleAssetReference(dag_id=name))
            asset.active = AssetActive(name=name, uri=uri)
            session.add(asset)


@pytest.fixture(autouse=True)
def connection(connect):
    connect("hooked", host="mlflow.example", extra={"webhook_secret": SECRET})
    yield
    with create_session() as session:
        session.execute(delete(AssetEvent))
        session.execute(delete(AssetDagRunQueue))


def message(entity="model_version_alias", action="created", **data):
    return json.dumps({"entity": entity, "action": action, "data": data or ALIAS}).encode()


def send(body=None, secret=SECRET, age=0, conn_id="hooked", delivery=None, **headers):
    body, delivery, moment = body or message(), delivery or uuid4().hex, str(int(time.time()) - age)
    signed = f"{delivery}.{moment}.".encode() + body
    sent = {
        "X-MLflow-Delivery-Id": delivery,
        "X-MLflow-Timestamp": moment,
        "X-MLflow-Signature": f"v1,{b64encode(hmac.digest(secret.encode(), signed, sha256)).decode()}",
    }
    return TestClient(webhooks.app).post(f"/webhooks/{conn_id}", content=body, headers=sent | headers)


def events():
    """Return the payload of each event by its asset, after a look at which DAGs wait to run."""
    with create_session() as session:
        names = dict(session.execute(select(AssetModel.id, AssetModel.name)).all())
        waiting = {names[number] for number in session.scalars(select(AssetDagRunQueue.asset_id))}
        found = [(names[event.asset_id], event.extra["payload"]) for event in session.scalars(select(AssetEvent))]
        assert waiting == {name for name, _ in found}
    return found


def test_an_alias_is_an_event_of_the_assets_of_its_model_and_of_itself():
    assert send().status_code == 204
    page = "http://mlflow.example/#/models/tail%20lengths/versions/3"
    payload = {"event": "model_version_alias.created", "model": "tail lengths", "alias": "champion", "version": "3"}
    assert sorted(events()) == [("alias", payload | {"page": page}), ("model", payload | {"page": page})]


def test_every_kind_of_event_of_mlflow_is_accepted():
    from mlflow.entities.webhook import VALID_ENTITY_ACTIONS, WebhookEvent
    from mlflow.webhooks.types import get_example_payload_for_event

    kinds = [WebhookEvent(entity, action) for entity, actions in VALID_ENTITY_ACTIONS.items() for action in actions]
    for kind in kinds:
        example = dict(get_example_payload_for_event(kind))
        data = example | ({"name": "tail lengths"} if "name" in example else {})
        assert send(message(kind.entity.value, kind.action.value, **data)).status_code == 204
    found = [payload["event"] for name, payload in events() if name == "model"]
    assert len(kinds) == 15
    assert sorted(found) == sorted(str(kind) for kind in kinds if kind.entity.value != "budget_policy")


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"secret": "another"}, "the signature is not"),
        ({"X-MLflow-Signature": ""}, "the signature is not"),
        ({"X-MLflow-Timestamp": "1"}, "the signature is not"),
        ({"X-MLflow-Delivery-Id": "another"}, "the signature is not"),
        ({"age": webhooks.MAX_AGE + 60}, "sent more than"),
        ({"age": -webhooks.MAX_AGE - 60}, "sent more than"),
    ],
)
def test_what_was_not_signed_just_now_is_refused(how, reason):
    response = send(**how)
    assert (response.status_code, response.json()["detail"][: len(reason)]) == (401, reason)
    assert events() == []


def test_a_connection_without_a_secret_has_no_receiver_nor_has_one_that_does_not_exist(connect):
    connect("silent", host="mlflow.example")
    answers = [send(conn_id=name, secret=secret) for name in ("silent", "missing") for secret in ("", SECRET)]
    assert {(answer.status_code, answer.text) for answer in answers} == {(404, '{"detail":"no such receiver"}')}


def test_a_body_that_is_too_big_is_refused_before_it_is_read():
    assert send(b"x" * (webhooks.MAX_BODY + 1)).status_code == 413


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"data": 1}'])
def test_a_signed_body_that_is_not_mlflows_is_refused(body):
    assert send(body).status_code == 400


def test_a_delivery_that_comes_again_is_dropped_even_at_the_same_moment():
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: send(delivery="d").status_code, range(8)))
    assert answers == [204] * 8
    assert len(events()) == 2


def test_the_plugin_adds_the_receiver_only_where_the_setting_says_so():
    code = "from airflow.plugins_manager import get_fastapi_plugins as p; print([app['url_prefix'] for app in p()[0]])"
    inherited = {"AIRFLOW_HOME": settings.AIRFLOW_HOME, "PYTHONPATH": str(Path(webhooks.__file__).parents[1])}

    def prefixes(**setting):
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=inherited | setting, capture_output=True, text=True, check=True).stdout

    assert prefixes().endswith("[]\n")
    assert prefixes(AIRFLOW__MLFLOW__WEBHOOK_RECEIVER="True").endswith("['/mlflow']\n")
