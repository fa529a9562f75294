"""The assets that link the DAGs, and where each run keeps its objects of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import Asset, AssetWatcher

from include.config import AWS_CONN_ID, DATA_BUCKET
from include.platform.watcher import S3FolderTrigger

FEATURES = Asset("possum_features", uri=f"s3://{DATA_BUCKET}/features")
MODEL_TRAINED = Asset("model_trained")
PREDICTIONS = Asset("possum_predictions", uri=f"s3://{DATA_BUCKET}/predictions")
MODEL_EVALUATED = Asset("model_evaluated", uri=f"s3://{DATA_BUCKET}/evaluations")
PROCESSING = f"s3://{DATA_BUCKET}/processing"  # what a run has taken out of INCOMING, until it is done with
INCOMING = Asset(
    "possums_incoming",
    uri=f"s3://{DATA_BUCKET}/incoming",
    watchers=[
        AssetWatcher("incoming_files", trigger=S3FolderTrigger(f"s3://{DATA_BUCKET}/incoming", AWS_CONN_ID, PROCESSING))
    ],
)
LABELLED = Asset(
    "possum_tails_measured",
    uri=f"s3://{DATA_BUCKET}/labelled",
    watchers=[AssetWatcher("labelled_files", trigger=S3FolderTrigger(f"s3://{DATA_BUCKET}/labelled", AWS_CONN_ID))],
)
MONITORING = Asset("possum_monitoring", uri=f"s3://{DATA_BUCKET}/monitoring")
RETRAINING = Asset("retraining")  # an event: the champion no longer fits what it meets


def object_uri(asset: Asset, run_id: str, name: str) -> str:
    """Return the URI of an object of one DAG run: ``<asset>/<run>/<name>``."""
    return f"{asset.uri.rstrip('/')}/{_slug(run_id)}/{name}"


def scratch_uri(run_id: str) -> str:
    """Return the URI of the folder that a DAG run may write to and deletes at its end."""
    return f"s3://{DATA_BUCKET}/scratch/{_slug(run_id)}"


def latest_extra(
    asset: Asset,
    triggering_asset_events: Mapping[Any, Sequence[Any]],
    inlet_events: Mapping[Any, Sequence[Any]],
) -> dict[str, Any]:
    """Return what the producer said in the event that triggered this run, else in the asset's last event.

    :raises LookupError: if the asset has never been produced
    """
    events = triggering_asset_events.get(asset) or inlet_events[asset]
    try:
        return dict(events[-1].extra)
    except IndexError:
        raise LookupError(f"asset {asset.name} has never been produced: trigger feature_eng first") from None


def _slug(run_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", run_id)
