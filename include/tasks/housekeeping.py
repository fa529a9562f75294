"""The tasks of ``housekeeping``: delete what is older than ``RETENTION`` in ``include/settings.py`` and not needed.

Each kind has a task of its own, so that a failure does not stop the others. What tags of kept versions refer to, and
what an open DAG run may still read, is never deleted.
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from include.mlflow_provider.hooks.rest import API
from include.problem import PROBLEM
from include.services import champions, storage
from include.services.assets import FEATURES, MODEL_EVALUATED, MONITORING, PREDICTIONS, REQUESTS, scratch_uri
from include.services.retention import Item, group_objects, last_champions, name_file, name_folder, select_expired
from include.services.trace import SUFFIX
from include.settings import DATA_BUCKET, MAX_FILE, RETENTION, XCOM_BUCKET
from include.tasks.predict_incoming import PROCESSED, PUBLISHED, REJECTED

XCOMS, SCRATCH = f"s3://{XCOM_BUCKET}/xcom", f"s3://{DATA_BUCKET}/scratch"
FOLDERS = {
    "scratch": SCRATCH,
    "features": FEATURES.uri.rstrip("/"),
    "evaluations": MODEL_EVALUATED.uri.rstrip("/"),
    "monitoring": MONITORING.uri.rstrip("/"),
    "requests": REQUESTS,
    "logs": f"s3://{DATA_BUCKET}/logs",  # of Celery workers
}
OPEN = ["queued", "running"]  # states of a DAG run that has not ended

CountRuns = Callable[..., int]
IsNeeded = Callable[[Item], bool]

MAX_LOGGED = 20  # names of deleted items of a kind in the log

log = logging.getLogger(__name__)


def delete_expired(kind: str, params: Mapping[str, Any], ti: Any) -> dict[str, Any]:
    """Delete what has expired of a kind, or only list it in a dry run, and return how much that is.

    :param kind: one of ``RETENTION``
    :return: ``kind``, number of ``items`` and of their ``parts``, and ``bytes``
    :raises AirflowSkipException: ``feature_eng``, which creates buckets and experiment, has never run
    """
    if not _experiment_ids():
        raise AirflowSkipException("Nothing has been written yet: feature_eng has never run")
    expired = find_expired(kind, datetime.now(UTC), ti.get_dr_count)
    verb = "Would delete" if params["dry_run"] else "Deleting"
    for item in expired[:MAX_LOGGED]:
        log.info("%s %s, last used %s", verb, item.name, f"{item.last_used:%Y-%m-%d}")
    log.info("%s %s items of %s", verb, len(expired), kind)
    if not params["dry_run"]:
        delete(kind, expired)
        if kind == "runs":
            end_abandoned(ti.get_dr_count)
    return {
        "kind": kind,
        "items": len(expired),
        "parts": sum(len(item.parts) for item in expired),
        "bytes": sum(item.size for item in expired),
    }


def report(counts: Iterable[Mapping[str, Any]], params: Mapping[str, Any]) -> None:
    """Log a table of what was deleted, or would be."""
    lines = [f"{one['kind']:12} {one['items']:8} {one['parts']:8} {one['bytes'] / 1e6:10.1f}" for one in counts]
    title = "would be deleted" if params["dry_run"] else "deleted"
    log.info("%s:\n%s", title, "\n".join([f"{'kind':12} {'items':>8} {'parts':>8} {'MB':>10}", *lines]))


def find_expired(kind: str, now: datetime, count_runs: CountRuns) -> list[Item]:
    """Return the items of a kind that are old enough and that nothing needs.

    :param count_runs: as ``RuntimeTaskInstance.get_dr_count``: how many runs of a DAG are in some states
    """
    if kind == "versions":
        items, is_needed = _find_versions()
    elif kind == "runs":
        items, is_needed = _find_runs(count_runs)
    else:
        items, is_needed = _find_objects(kind, count_runs)
    return select_expired(items, RETENTION[kind], now, is_needed)


def delete(kind: str, expired: Iterable[Item]) -> None:
    """Delete items; repeating it changes nothing. MLflow only marks runs and models: ``mlflow gc`` removes them."""
    parts = [part for item in expired for part in item.parts]
    if kind == "versions":
        _delete_versions(parts)
    elif kind == "runs":
        _delete_runs(parts)
    else:
        storage.delete_all(parts)


def end_abandoned(count_runs: CountRuns) -> None:
    """Set the runs in MLflow to KILLED that are RUNNING although the run of the DAG that started them has ended."""
    hook = champions.connect()
    for run in hook.search_runs(_experiment_ids(), "attributes.status = 'RUNNING'"):
        tags = champions.read_tags(run["data"])
        dag_id, dag_run_id = tags.get("airflow.dag_id"), tags.get(champions.DAG_RUN_ID)
        if dag_id and not count_runs(dag_id=dag_id, run_ids=[dag_run_id], states=OPEN):
            hook.set_terminated(run["info"]["run_id"], "KILLED")


def _find_objects(kind: str, count_runs: CountRuns) -> tuple[list[Item], IsNeeded]:
    """Return the objects of a kind, by run or by file, and whether an open run or a version needs them."""
    open_runs = _find_open_runs(count_runs)
    if kind == "xcoms":
        return _list_xcoms(), lambda item: _run_of(item) in open_runs
    folders = {scratch_uri(run_id).rpartition("/")[2] for _, run_id in open_runs}
    references = _read_references()

    def is_needed(item: Item) -> bool:
        return item.name.rpartition("/")[2] in folders or f"{item.name}/" in references

    if kind == "rejected":
        return group_objects(storage.list_details(REJECTED), lambda uri: f"{REJECTED}/{name_file(uri)}"), is_needed
    if kind == "predictions":
        objects = storage.list_details(PREDICTIONS.uri) + storage.list_details(PROCESSED)
        return group_objects(objects, _name_predictions), is_needed
    root, depth = FOLDERS[kind], 2 if kind == "logs" else 1  # dag_id=.../run_id=.../
    return group_objects(storage.list_details(root), lambda uri: name_folder(uri, root, depth)), is_needed


def _name_predictions(uri: str) -> str:
    of_file = uri.startswith((f"{PUBLISHED}/", f"{PROCESSED}/"))
    return f"{PUBLISHED}/{name_file(uri)}" if of_file else name_folder(uri, PREDICTIONS.uri.rstrip("/"))


def _find_versions() -> tuple[list[Item], IsNeeded]:
    """Return the versions that ``train`` made, and whether they are needed.

    Needed are the last champions, the one to roll back to, those that predictions came from, those that are on hold
    or wait for a verdict, and the last look at each slice of the holdout, from which the next one counts on.
    """
    registered = champions.versions()
    former = [period.version for period in champions.history(registered)]
    needed = last_champions(former, max(RETENTION["versions"].at_least, 1))
    needed |= {version["version"] for version in champions.waiting()} | _read_traced() | _find_last_looks(registered)
    needed |= {version["version"] for version in registered if champions.ON_HOLD in champions.read_tags(version)}
    with suppress(LookupError):
        needed.add(champions.previous())
    items = [
        Item(version["version"], _time(version["creation_timestamp"]), (version["version"],))
        for version in champions.trained()
    ]
    return items, lambda item: item.name in needed


def _find_last_looks(versions: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the version with the highest number of a look at each slice of the holdout."""
    tags = {version["version"]: champions.read_tags(version) for version in versions}
    evaluations = {number: json.loads(tags[number].get(champions.EVALUATION, "{}")) for number in tags}
    looks = sorted((one["look"], one["slice"], number) for number, one in evaluations.items() if one.get("slice"))
    return set({slice_uri: number for _, slice_uri, number in looks}.values())


def _read_traced() -> set[str]:
    """Return the versions that predictions with a trail came from; the task for predictions may delete some now."""
    trails = [uri for uri in storage.list_objects(PREDICTIONS.uri) if uri.endswith(SUFFIX)]
    found = filter(None, (storage.read_upload(uri, MAX_FILE) for uri in trails))
    return {json.loads(content)["version"] for content, *_ in found if content}


def _delete_versions(versions: Iterable[str]) -> None:
    hook = champions.connect()
    for version in versions:
        # Read again right before, because a search returns no aliases, and one may have been set since.
        if not hook.get_model_version(champions.MODEL, version).get("aliases"):
            hook.delete_model_version(champions.MODEL, version, missing_ok=True)


def _find_runs(count_runs: CountRuns) -> tuple[list[Item], IsNeeded]:
    """Return the runs that tasks logged, each with its children, and whether a version or an open run needs them."""
    hook, open_runs = champions.connect(), _find_open_runs(count_runs)
    families: dict[str, list[Mapping[str, Any]]] = {}
    for run in hook.search_runs(_experiment_ids()):
        tags = champions.read_tags(run["data"])
        if tags.get("airflow.dag_id"):
            families.setdefault(tags.get("mlflow.parentRunId", run["info"]["run_id"]), []).append(run)
    references = _read_references()

    def is_needed(item: Item) -> bool:
        family = families[item.name]
        tags = [champions.read_tags(run["data"]) for run in family]
        is_open = any((found["airflow.dag_id"], found[champions.DAG_RUN_ID]) in open_runs for found in tags)
        return is_open or any(run["info"]["run_id"] in references for run in family)

    items = []
    for name, family in families.items():
        infos = [run["info"] for run in family]
        last_used = max(_time(info.get("end_time") or info["start_time"]) for info in infos)
        items.append(Item(name, last_used, tuple(info["run_id"] for info in infos)))
    return items, is_needed


def _experiment_ids() -> list[str]:
    """Return the id of the project's experiment, if there is one."""
    experiment = champions.connect().get_experiment_by_name(PROBLEM.experiment)
    return [experiment["experiment_id"]] if experiment else []


def _delete_runs(run_ids: Iterable[str]) -> None:
    """Delete runs and the models that they logged."""
    hook = champions.connect()
    experiment_id = _experiment_ids()[0]
    for run_id in run_ids:
        for model in hook.search_logged_models([experiment_id], f"source_run_id = '{run_id}'"):
            hook.call("DELETE", f"{API}/logged-models/{model['info']['model_id']}")
        hook.call("POST", f"{API}/runs/delete", {"run_id": run_id})


def _read_references() -> str:
    """Return all that versions and the registered model refer to: run ids, sources and tags, one text."""
    hook = champions.connect()
    model = hook.get_registered_model(champions.MODEL) or {}
    found = [*champions.read_tags(model).values()]
    for version in hook.search_model_versions():
        found += [version.get("run_id", ""), version.get("source", ""), *champions.read_tags(version).values()]
    return "\n".join(found)


def _list_xcoms() -> list[Item]:
    return group_objects(storage.list_details(XCOMS), lambda uri: name_folder(uri, XCOMS, depth=2))


def _run_of(item: Item) -> tuple[str, str]:
    dag_id, _, run_id = item.name.removeprefix(f"{XCOMS}/").partition("/")
    return dag_id, run_id


def _find_open_runs(count_runs: CountRuns) -> set[tuple[str, str]]:
    """Return DAG and id of the runs that have written an XCom and have not ended."""
    runs = {_run_of(item) for item in _list_xcoms()}
    busy = {dag_id for dag_id in {dag_id for dag_id, _ in runs} if count_runs(dag_id=dag_id, states=OPEN)}
    return {
        (dag_id, run_id)
        for dag_id, run_id in runs
        if dag_id in busy and count_runs(dag_id=dag_id, run_ids=[run_id], states=OPEN)
    }


def _time(milliseconds: Any) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
