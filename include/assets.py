"""The assets that link the DAGs, and where each run keeps its objects of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import Asset

from include.config import DATA_BUCKET

FEATURES = Asset("possum_features", uri=f"s3://{DATA_BUCKET}/features")
MODEL_TRAINED = Asset("model_trained")
PREDICTIONS = Asset("possum_predictions", uri=f"s3://{DATA_BUCKET}/predictions")
LABELLED = Asset("possum_tails_measured", uri=f"s3://{DATA_BUCKET}/labelled")  # an event: new files are there
MONITORING = Asset("possum_monitoring", uri=f"s3://{DATA_BUCKET}/monitoring")
RETRAINING = Asset("retraining")  # an event: the champion no longer fits what it meets


def object_uri(asset: Asset, run_id: str, name: str) -> str:
    """Return the URI of an object of one DAG run: ``<asset>/<run>/<name>``."""
    return f"{asset.uri.rstrip('/')}/{re.sub(r'[^A-Za-z0-9_.-]+', '-', run_id)}/{name}"


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
