"""The tasks of ``predict``: every row predicted by the champion, as a file and as a figure."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from itertools import starmap
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from include.mlflow_provider.hooks.pyfunc import HASH_TAG, MLflowPyfuncHook
from include.mlflow_provider.objects import hash_folder
from include.problem import PROBLEM
from include.services import champions, samples, storage
from include.services.assets import MODEL_EVALUATED, PREDICTIONS, object_uri, pin_event
from include.services.failures import fail_without_retry
from include.settings import INCLUDE, MLFLOW_CONN_ID, PLOTS
from include.spec import SPLIT

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
NEEDED = ("boto3", "pandas")  # to read rows from S3 and predict them
PART_ROWS = 500_000  # that a task predicts: workers share the parts
MAX_DRAWN = 100_000  # rows that the figure is made of


def fetch_model_run_id(run_id: str, inlet_events: Mapping[Any, Any]) -> dict[str, str]:
    """Return the version that predicts in the whole run, and which rows: those of the newest version's table.

    The newest evaluation may be of an older version, which would bring back the rows of an older table.

    :return: the champion, else the version that was evaluated, as :func:`include.services.champions.serving_version`
        describes it, and ``features_uri``
    """
    event = pin_event(MODEL_EVALUATED, PREDICTIONS, run_id, inlet_events, ["version", "features_uri"])
    features_uri = _pin_table(run_id, default=event["features_uri"])
    return champions.serving_version(fallback=event["version"]) | {"features_uri": features_uri}


def fetch_feature_df_no_target(features_uri: str, run_id: str) -> list[dict[str, str]]:
    """Write the inputs of all rows, indexed by their id, in parts.

    :return: for each part the arguments of its prediction: ``data`` and ``output_uri``
    """
    parts = samples.read_parts(features_uri, PART_ROWS, [PROBLEM.id, *PROBLEM.inputs])
    return [
        {
            "data": storage.write_table(rows.set_index(PROBLEM.id), _part_uri(run_id, "rows", number), index=True),
            "output_uri": _part_uri(run_id, "predicted", number),
        }
        for number, rows in enumerate(parts, start=1)
    ]


def fetch_target(features_uri: str, run_id: str) -> list[str]:
    """Write id, target and split of all rows in the same parts, and return their URIs."""
    parts = samples.read_parts(features_uri, PART_ROWS, [PROBLEM.id, PROBLEM.target.name, SPLIT])
    return [
        storage.write_table(target, _part_uri(run_id, "target", number)) for number, target in enumerate(parts, start=1)
    ]


def add_line_to_file(version: str) -> str:
    """Make sure that the model's ``requirements.txt`` names boto3 and pandas, and return its URI.

    If a line is added, the hash of the version's files changes. It is recorded before the file is written: a retry
    after a kill in between recognises it.

    :raises MLflowError: the files are not those that were registered
    """
    hook, model_uri = MLflowPyfuncHook(MLFLOW_CONN_ID), champions.model_uri(version)
    artifact_uri = hook.get_model_artifact_uri(model_uri)
    uri = f"{storage.artifact_uri(artifact_uri)}/requirements.txt"
    completed = complete_requirements(content := storage.read_bytes(uri))
    if completed == content:
        return uri
    with TemporaryDirectory() as folder, TemporaryDirectory() as checked:
        local = hook.download_model(artifact_uri, Path(folder))
        (local / "requirements.txt").write_bytes(completed)
        digest = hash_folder(local)
        if hook.get_recorded_hash(model_uri) != digest:
            hook.fetch_model(model_uri, Path(checked))  # compares the present files with the recorded hash
            hook.client.set_model_version_tag(champions.MODEL, version, HASH_TAG, digest)
    storage.write_bytes(completed, uri)
    return uri


def complete_requirements(content: bytes) -> bytes:
    """Return a ``requirements.txt`` that names all of ``NEEDED``; lines that are there stay as they are."""
    lines = content.decode().splitlines()
    named = {canonicalize_name(re.match(r"[\w.-]*", line.strip())[0]) for line in lines}  # type: ignore[index]
    missing = [package for package in NEEDED if package not in named]
    return "".join(f"{line}\n" for line in [*lines, *missing]).encode() if missing else content


def plot_predictions(targets: Sequence[str], predicted: Sequence[str], model: Mapping[str, str], run_id: str) -> str:
    """Draw the predictions, to disk, S3 and the version's run; arguments and URI as in :func:`save_predictions`."""
    from include.charts.predictions import plot_predictions
    from include.charts.style import render
    from include.services import tracking

    described = f"version {model['version']}, {model['alias'] or f'no {champions.CHAMPION_ALIAS} yet'}"
    rows, total = _sample_compared(targets, predicted)
    picture = render(plot_predictions(rows, PROBLEM, _illustration(), described, total))
    tracking.log_files({PROBLEM.picture: picture}, model["run_id"])
    uri = storage.write_bytes(picture, object_uri(PREDICTIONS, run_id, PROBLEM.picture))
    log.info("The figure is %s, and %s of MLflow's run %s", uri, PROBLEM.picture, model["run_id"])
    _write_to_disk(picture)
    return uri


def save_predictions(
    targets: Sequence[str],
    predicted: Sequence[str],
    parts: Sequence[Mapping[str, str]],
    model: Mapping[str, str],
    run_id: str,
    outlet_events: Mapping[Any, Any],
) -> str:
    """Publish the predictions of all parts beside the true values, with their audit trail, and return the URI.

    :param targets: as :func:`fetch_target` returns them; `parts` as :func:`fetch_feature_df_no_target`
    :raises AirflowFailException: a row has no prediction, or one that is impossible
    """
    from include.data.predictions import PredictionError
    from include.services import trace

    rows = [part["data"] for part in parts]
    with fail_without_retry(PredictionError):
        compared = starmap(_compare, zip(targets, predicted, rows, strict=True))
        uri = storage.write_batches(compared, object_uri(PREDICTIONS, run_id, PROBLEM.predictions_file))
    trace.write_trace(uri, dict(model), ", ".join(rows))
    outlet_events[PREDICTIONS].extra = {"uri": uri, "version": model["version"], "alias": model["alias"]}
    return uri


def _pin_table(run_id: str, default: str) -> str:
    """Return the table that a DAG run predicts: that of the newest version when first called, else the default."""
    pinned = object_uri(PREDICTIONS, run_id, "features_uri")
    if not storage.exists(pinned):
        uris = (champions.read_tags(version)[champions.FEATURES_URI] for version in reversed(champions.trained()))
        storage.write_bytes(next(filter(storage.exists, uris), default).encode(), pinned)
    return storage.read_bytes(pinned).decode()


def _part_uri(run_id: str, name: str, number: int) -> str:
    """Return the URI of a part, from 1; the first one's name has no number, because mostly it is the only one."""
    return object_uri(PREDICTIONS, run_id, f"{name}.parquet" if number == 1 else f"{name}-{number}.parquet")


def _compare(target_uri: str, predicted_uri: str, rows_uri: str | None = None) -> pd.DataFrame:
    from include.data.predictions import compare

    target = storage.read_table(target_uri)
    rows = target.join(storage.read_table(rows_uri), on=PROBLEM.id) if rows_uri else target
    return compare(rows, storage.read_table(predicted_uri), PROBLEM)


def _sample_compared(targets: Sequence[str], predicted: Sequence[str]) -> tuple[pd.DataFrame, int]:
    """Return predictions beside true values, of some rows of each part if there are many, and the number of all."""
    import pandas as pd

    from include.data.predictions import PredictionError
    from include.data.sampling import draw_rows

    most, rows, total = ceil(MAX_DRAWN / len(targets)), [], 0
    with fail_without_retry(PredictionError):
        for part in starmap(_compare, zip(targets, predicted, strict=True)):
            rows.append(draw_rows(part, most, PROBLEM))
            total += len(part)
    return pd.concat(rows, ignore_index=True), total


def _write_to_disk(picture: bytes) -> None:
    file = PLOTS / PROBLEM.picture
    try:
        PLOTS.mkdir(exist_ok=True)
        file.unlink(missing_ok=True)  # with Docker and without, it belongs to different users
        file.write_bytes(picture)
    except OSError as error:  # a worker may have the project read-only
        log.warning("The figure is not on this machine's disk: %s", error)


def _illustration() -> Path | None:
    """Return the image beside the chart: a photograph of the same name (.jpeg) takes the place of the drawing."""
    if not PROBLEM.illustration:
        return None
    drawing = INCLUDE / PROBLEM.illustration
    photograph = drawing.with_suffix(".jpeg")
    return photograph if photograph.exists() else drawing
