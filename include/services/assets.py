"""The assets that link the DAGs, and where each run keeps its objects."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import Asset, AssetWatcher

from include.problem import PROBLEM
from include.services import storage
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
REQUESTS = f"s3://{DATA_BUCKET}/requests"  # to the model server, with its answers
MEASURED = f"s3://{DATA_BUCKET}/measured"  # labelled files with the inputs of the requests that they are about
MAX_EVENTS = 100  # the newest ones, among which a run looks for one with data


def object_uri(asset: Asset, run_id: str, name: str) -> str:
    """Return the URI of an object of one DAG run: ``<asset>/<run>/<name>``."""
    return f"{asset.uri.rstrip('/')}/{_slug(run_id)}/{name}"


def scratch_uri(run_id: str) -> str:
    """Return the URI of the folder that a DAG run may write to and deletes at its end."""
    return f"s3://{DATA_BUCKET}/scratch/{_slug(run_id)}"


def pin_event(
    asset: Asset, own: Asset, run_id: str, inlet_events: Mapping[Any, Any], needed: Sequence[str]
) -> dict[str, Any]:
    """Return the ``extra`` of the event that a DAG run works on: the asset's newest one when this is first called.

    Events that lack a key, such as those created in Airflow's UI, are skipped.

    A run keeps its event when its tasks are retried or cleared. The events that triggered the run are not used, because
    Airflow 3.3 neither starts a run for every event nor passes events in order
    (https://github.com/apache/airflow/issues/56050). An event that started no run is older than the next run.

    :param own: an asset in S3, beside whose objects of this run the event is kept
    :param needed: the keys that its ``extra`` must have
    :raises LookupError: the asset has never been updated, or its newest events lack a key
    """
    pinned = object_uri(own, run_id, "event.json")
    if not storage.exists(pinned):
        extra = _find_extra(asset, inlet_events[asset].ascending(False).limit(MAX_EVENTS), needed)
        storage.write_bytes(json.dumps(extra).encode(), pinned)
    return json.loads(storage.read_bytes(pinned))


def is_by_hand(dag_run: Any) -> bool:
    """Return whether a person, not an asset's event, started a DAG run."""
    return dag_run.run_type != "asset_triggered"


def _find_extra(asset: Asset, events: Sequence[Any], needed: Sequence[str]) -> dict[str, Any]:
    """Return the first ``extra`` that has all needed keys."""
    for event in events:
        if set(needed) <= set(event.extra or {}):
            return event.extra
    lack = f"has no event with {' and '.join(needed)} among its newest {len(events)}"
    reason = lack if len(events) else "has never been updated"
    raise LookupError(f"asset {asset.name} {reason}: trigger feature_eng first")


def _slug(run_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", run_id)
