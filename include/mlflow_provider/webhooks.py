"""Receiver of MLflow's webhooks in Airflow's API server: it turns signed requests into asset events."""

import hmac
import json
import time
from base64 import b64encode
from collections.abc import Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import unquote, urlsplit

from airflow.assets.manager import asset_manager
from airflow.models.asset import AssetEvent, AssetModel
from airflow.sdk import timezone
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.utils.session import create_session
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from .exceptions import MLflowError
from .hooks.base import MLflowBaseHook
from .hooks.server import MLflowServer

MAX_AGE = 300  # seconds between MLflow's clock and this one
MAX_BODY = 1 << 20  # bytes

app = FastAPI(title="MLflow webhooks", openapi_url=None)


@app.post("/webhooks/{conn_id}", status_code=204)
async def receive(conn_id: str, request: Request) -> Response:
    """Create asset events from a request that was signed with the connection's secret."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"more than {MAX_BODY} bytes")
    await run_in_threadpool(_accept, conn_id, request.headers, body)
    return Response(status_code=204)


def _accept(conn_id: str, headers: Mapping[str, str], body: bytes) -> None:
    try:
        server = MLflowBaseHook(conn_id).server
    except (AirflowNotFoundException, MLflowError):
        server = None
    if server is None or not server.webhook_secret:
        raise HTTPException(404, "no such receiver")
    delivery = headers.get("X-MLflow-Delivery-Id", "")
    moment = headers.get("X-MLflow-Timestamp", "")
    signed = f"{delivery}.{moment}.".encode() + body
    signature = b64encode(hmac.digest(server.webhook_secret.encode(), signed, sha256)).decode()
    if not hmac.compare_digest(f"v1,{signature}".encode(), headers.get("X-MLflow-Signature", "").encode()):
        raise HTTPException(401, "the signature is not that of the connection's webhook_secret")
    if not moment.isdecimal() or abs(time.time() - int(moment)) > MAX_AGE:
        raise HTTPException(401, f"sent more than {MAX_AGE} s from this server's time")
    try:
        message = json.loads(body)
        event, data = f"{message['entity']}.{message['action']}", dict(message["data"])
    except (ValueError, TypeError, KeyError):
        raise HTTPException(400, "not an event of MLflow's") from None
    if isinstance(data.get("name"), str):  # the events of budgets have none
        with create_session() as session:
            create_events(server, delivery, event, data, session)


def create_events(server: MLflowServer, delivery: str, event: str, data: dict[str, Any], session: Session) -> None:
    """Create an event for each asset of the message's model, unless this delivery was already processed.

    :param event: such as ``model_version_alias.created``
    :param data: MLflow's payload: ``name`` and fields that depend on the event
    """
    of_connection = AssetModel.uri.startswith(f"mlflow://{server.conn_id}/", autoescape=True)
    # Locks the assets, so that a repeated delivery waits until the first one is stored. It must precede the first
    # read, whose snapshot a database may use for later reads.
    session.execute(update(AssetModel).where(of_connection).values(uri=AssetModel.uri), {"synchronize_session": False})
    assets = [asset for asset in session.scalars(select(AssetModel).where(of_connection)) if _stands_for(asset, data)]
    recent = AssetEvent.timestamp > timezone.utcnow() - timedelta(seconds=2 * MAX_AGE)
    of_assets = AssetEvent.asset_id.in_([asset.id for asset in assets])
    events = session.scalars(select(AssetEvent).where(of_assets, recent))
    if any(stored.extra.get("delivery") == delivery for stored in events):
        return
    kind = "prompts" if event.startswith("prompt") else "models"
    version = ("versions", str(data["version"])) if "version" in data and kind == "models" else ()
    page = server.page(kind, data["name"], *version)
    others = {name: value for name, value in data.items() if name != "name"}
    payload = {"event": event, "model": data["name"], **others, "page": page}
    for asset in assets:
        extra = {"from_webhook": True, "delivery": delivery, "payload": payload}
        asset_manager.register_asset_change(asset=asset, extra=extra, source_is_api=True, session=session)


def _stands_for(asset: AssetModel, data: dict[str, Any]) -> bool:
    names = [unquote(name) for name in urlsplit(asset.uri).path.split("/")[1:]]
    return names in ([data["name"]], [data["name"], data.get("alias")])
