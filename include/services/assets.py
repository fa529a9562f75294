"""The assets that link the DAGs, and where each run keeps its objects."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import Asset, AssetWatcher

from include.problem import PROBLEM
from include.services.watcher import S3FolderTrigger
from include.settings import AWS_CONN_ID, DATA_BUCKET

FEATURES = Asset(f"{PROBLEM.name}_features", uri=f"s3://{DATA_BUCKET}/features")
MODEL_TRAINED = Asset("model_trained")
MODEL_EVALUATED = Asset("model_evaluated", uri=f"s3://{DATA_BUCKET}/evaluations")
PREDICTIONS = Asset(f"{PROBLEM.name}_predictions", uri=f"s3://{DATA_BUCKET}/predictions")
PROCESSING = f"s3://{DATA_BUCKET}/processing"  # files that a run has taken out of INCOMING and not finished yet
INCOMING = Asset(
    f"{PROBLEM.name}_incoming",
    uri=f"s3://{DATA_BUCKET}/incoming",
    watchers=[
        AssetWatcher("incoming_files", trigger=S3FolderTrigger(f"s3://{DATA_BUCKET}/incoming", AWS_CONN_ID, PROCESSING))
    ],
)
LABELLED = Asset(
    f"{PROBLEM.name}_labelled",
    uri=f"s3://{DATA_BUCKET}/labelled",
    watchers=[AssetWatcher("labelled_files", trigger=S3FolderTrigger(f"s3://{DATA_BUCKET}/labelled", AWS_CONN_ID))],
)
MONITORING = Asset(f"{PROBLEM.name}_monitoring", uri=f"s3://{DATA_BUCKET}/monitoring")
RETRAINING = Asset("retraining")  # an event without data: the champion no longer fits


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
    """Return the ``extra`` of the event that triggered this run, else of the asset's last event.

    :raises LookupError: the asset has never been updated
    """
    events = triggering_asset_events.get(asset) or inlet_events[asset]
    try:
        return dict(events[-1].extra)
    except IndexError:
        raise LookupError(f"asset {asset.name} has never been updated: trigger feature_eng first") from None


def _slug(run_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", run_id)
