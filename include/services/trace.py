"""The audit trail: from a file of predictions to the version, run, data and commit that it comes from."""

import json
from typing import Any

from include.services import champions, storage

SUFFIX = ".trace.json"  # an object next to the file: S3 servers do not agree on the case of metadata keys


class TraceError(LookupError):
    """A file has no trail; the message names the file and the remedy."""


def write_trace(uri: str, model: dict[str, str], rows_uri: str) -> str:
    """Write the trail of a file of predictions next to it, and return the trail's URI.

    :param uri: the file, already written
    :param model: ``version``, ``run_id`` and ``alias`` of the version that predicted
    :param rows_uri: the object with the rows that were predicted
    """
    from include.services.tracking import run_tags

    predicted = {name: model[name] for name in ("version", "run_id", "alias")}
    trail = {
        "file": uri,
        "sha256": storage.hash_object(uri),
        "rows": rows_uri,
        "model": champions.MODEL,
        **predicted,
        **run_tags(),
    }
    return storage.write_bytes(json.dumps(trail, indent=2).encode(), uri + SUFFIX)


def read_trace(uri: str) -> dict[str, list[str]]:
    """Follow the trail of a file of predictions.

    :return: a few lines on each of ``predictions``, ``model``, ``training``, ``data`` and ``code``; a line contains
        ``CHANGED`` if its content has changed
    :raises TraceError: the file has no trail
    :raises StorageError: S3 does not answer
    :raises MLflowError: MLflow does not answer, or no longer has the version or run
    """
    if not storage.exists(uri + SUFFIX):
        raise TraceError(
            f"{uri} has no trail: {uri + SUFFIX} does not exist. Give the CSV file that predict or predict_incoming "
            "wrote; their asset event and `make demo` name it"
        )
    trail = json.loads(storage.read_bytes(uri + SUFFIX))
    hook = champions.connect()
    version, run = hook.get_model_version(trail["model"], trail["version"]), hook.get_run(trail["run_id"])
    tags = champions.read_tags(run["data"])
    found = storage.hash_object(uri) if storage.exists(uri) else None
    return {
        "predictions": [
            uri,
            f"sha256 {trail['sha256']}, {_compare(trail['sha256'], found)}",
            f"written by {_airflow_run(trail)}",
            f"from the rows in {trail['rows']}",
        ],
        "model": [
            f"{trail['model']} version {trail['version']}",
            f"then {trail['alias'] or 'no champion, the newest version'}; "
            f"aliases now: {', '.join(version.get('aliases', [])) or 'none'}",
            f"logged as {version.get('source', '')}",
        ],
        "training": [
            f"MLflow run {trail['run_id']} ({run['info']['run_name']})",
            f"logged by {_airflow_run(tags)}",
        ],
        "data": [line for used in run.get("inputs", {}).get("dataset_inputs", []) for line in _data(used, version)],
        "code": [f"trained with {tags.get('code_version', 'unknown')}", f"predicted with {trail['code_version']}"],
    }


def _data(used: dict[str, Any], version: dict[str, Any]) -> list[str]:
    from include.services.tracking import TableDataset

    dataset = used["dataset"]
    source = json.loads(dataset["source"]).get("uri")
    if not source:
        return []  # mlflow.models.evaluate logs rows without an address
    # MLflow has one entry for all tables with the same content, with the address of the first: the version's is right.
    source = champions.read_tags(version).get("features_uri", source)
    found = TableDataset(source).digest if storage.exists(source) else None
    return [source, f"digest {dataset['digest']} ({dataset['name']}), {_compare(dataset['digest'], found)}"]


def _compare(expected: str, found: str | None) -> str:
    if found is None:
        return "CHANGED: it no longer exists"
    return "unchanged" if found == expected else f"CHANGED: it is {found} now"


def _airflow_run(tags: dict[str, str]) -> str:
    dag_id = tags.get("airflow.dag_id")
    return f"Airflow's {dag_id}, run {tags['airflow.dag_run_id']}" if dag_id else "no Airflow run"
