"""The audit trail: from a file of predictions to the version, run, data and commit that it comes from."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from typing import Any

from include import config
from include.config import MLFLOW_CONN_ID
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.platform import champions, storage

SUFFIX = ".trace.json"  # an object of its own: S3 servers do not agree on the case of metadata keys


class TraceError(LookupError):
    """A file leads nowhere; the message names it and the remedy."""


def leave_trail(uri: str, model: dict[str, str], rows_uri: str) -> str:
    """Write beside a file of predictions where it comes from, and return the URI of that.

    :param uri: the file, written already
    :param model: ``version``, ``run_id`` and ``alias`` of the version that predicted
    :param rows_uri: the object with the rows that it predicted
    """
    from include.platform.tracking import code_version

    trail = {
        "file": uri,
        "sha256": _hash(uri),
        "rows": rows_uri,
        "model": config.REGISTERED_MODEL,
        **{name: model[name] for name in ("version", "run_id", "alias")},
        "airflow": {name: os.environ.get(f"AIRFLOW_CTX_{name.upper()}", "") for name in ("dag_id", "dag_run_id")},
        "code_version": os.environ.get("CODE_VERSION") or code_version(),
    }
    return storage.write_bytes(json.dumps(trail, indent=2).encode(), uri + SUFFIX)


def follow(uri: str) -> dict[str, list[str]]:
    """Follow the trail of a file of predictions.

    :return: a few lines on each of ``predictions``, ``model``, ``training``, ``data`` and ``code``; what is no
        longer as it was says so with ``CHANGED``
    :raises TraceError: if the file has no trail
    :raises StorageError: if S3 does not answer
    :raises MLflowError: if MLflow does not answer, or no longer knows version or run
    """
    if not storage.exists(uri + SUFFIX):
        raise TraceError(
            f"{uri} has no trail: there is no {uri + SUFFIX}. Give the CSV file that predict or predict_incoming "
            "wrote; their asset event and `make demo` name it"
        )
    trail = json.loads(storage.read_bytes(uri + SUFFIX))
    hook = MLflowClientHook("GET", MLFLOW_CONN_ID)
    version = hook.get_model_version(trail["model"], trail["version"])
    run = hook.get_run(trail["run_id"])
    tags = champions.read_tags(run["data"])
    return {
        "predictions": _predictions(uri, trail),
        "model": _model(version, trail),
        "training": _training(run, tags),
        "data": [line for used in run.get("inputs", {}).get("dataset_inputs", []) for line in _data(used, version)],
        "code": [f"trained with {tags.get('code_version', 'unknown')}", f"predicted with {trail['code_version']}"],
    }


def _predictions(uri: str, trail: dict[str, Any]) -> list[str]:
    found = _hash(uri) if storage.exists(uri) else "nothing: the file is gone"
    state = "unchanged" if found == trail["sha256"] else f"CHANGED: it is {found} now"
    written = f"written by {_airflow_run(**trail['airflow'])}"
    return [uri, f"sha256 {trail['sha256']}, {state}", written, f"from the rows in {trail['rows']}"]


def _model(version: dict[str, Any], trail: dict[str, Any]) -> list[str]:
    then = trail["alias"] or "no champion, the newest version"
    now = ", ".join(version.get("aliases", [])) or "none"
    source = version.get("source", "")
    return [f"{trail['model']} version {trail['version']}", f"then {then}; aliases now: {now}", f"logged as {source}"]


def _training(run: dict[str, Any], tags: dict[str, str]) -> list[str]:
    info = run["info"]
    by = _airflow_run(tags.get("airflow.dag_id", ""), tags.get("airflow.dag_run_id", ""))
    return [f"MLflow run {info['run_id']} ({info['run_name']})", f"logged by {by}"]


def _data(used: dict[str, Any], version: dict[str, Any]) -> list[str]:
    dataset = used["dataset"]
    source = json.loads(dataset["source"]).get("uri")
    if not source:
        return []  # rows that were never an object of their own, such as those of mlflow.models.evaluate
    # The version knows better: MLflow keeps one entry for all tables of the same content, with the first one's address.
    source = champions.read_tags(version).get("features_uri", source)
    return [source, f"digest {dataset['digest']} ({dataset['name']}), {_compare(source, dataset['digest'])}"]


def _compare(source: str, digest: str) -> str:
    """Say whether an object still has the digest that MLflow computed of it."""
    from mlflow.data.digest_utils import compute_pandas_digest

    if not storage.exists(source):
        return "CHANGED: the object is gone"
    found = compute_pandas_digest(storage.read_table(source))
    return "unchanged" if found == digest else f"CHANGED: it is {found} now"


def _airflow_run(dag_id: str, dag_run_id: str) -> str:
    return f"Airflow's {dag_id}, run {dag_run_id}" if dag_id else "no Airflow run"


def _hash(uri: str) -> str:
    return sha256(storage.read_bytes(uri)).hexdigest()
