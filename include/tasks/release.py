"""The tasks of ``release``: the champion of another environment becomes champion here.

A version gets its verdict here before it gets the tag ``features_uri``, because ``promote`` judges those that have the
tag and no verdict.
"""

import logging
from collections.abc import Mapping
from tempfile import TemporaryFile
from typing import Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk.exceptions import AirflowFailException

from include.mlflow_provider.hooks.client import MLflowClientHook
from include.mlflow_provider.hooks.pyfunc import HASH_TAG, ORIGIN_TAG
from include.services import champions, samples, storage
from include.services.approval import describe_response, is_required
from include.services.assets import FEATURES, object_uri
from include.services.failures import fail_if_missing, fail_without_retry
from include.settings import AWS_CONN_ID, MLFLOW_CONN_ID
from include.tasks.promote import find_obstacle
from include.tasks.rollback import ROWS, check_predictions

# The other tags of a version are about the environment that it comes from, such as when it was champion there.
TAGS = {
    HASH_TAG: f"{{{{ ti.xcom_pull('choose_version')['{HASH_TAG}'] }}}}",
    ORIGIN_TAG: "{{ ti.xcom_pull('choose_version')['origin'] }}",
}

log = logging.getLogger(__name__)


def choose_version(params: Mapping[str, Any]) -> dict[str, str]:
    """Return the version to release, as the other environment describes it.

    :return: ``model_uri`` with its number, ``run_id``, ``artifact_sha256``, ``features_uri``, the page ``origin`` and
        the ``reason`` of its promotion; the ``champion`` here, or an empty string; and the connections
        ``mlflow_conn_id`` (empty for another model on this server) and ``aws_conn_id``
    :raises AirflowFailException: it does not exist, was never champion there, is on hold, or lacks its hash or table
    """
    source, uri = params["source"], params["model_uri"]
    hook = MLflowClientHook(mlflow_conn_id=f"mlflow_{source}")
    with fail_if_missing(f"no release: {uri} of {source}"):
        found = hook.read_version_of(uri)
    tags = champions.read_tags(found)
    lacking = [tag for tag in (champions.PROMOTED, HASH_TAG, champions.FEATURES_URI) if not tags.get(tag)]
    if lacking or champions.ON_HOLD in tags:
        why = f"lacks the tags {', '.join(lacking)}" if lacking else f"is on hold: {tags[champions.ON_HOLD]}"
        raise AirflowFailException(f"no release: version {found['version']} of {found['name']} of {source} {why}")
    own = hook.mlflow_conn_id == MLFLOW_CONN_ID
    return {
        "model_uri": f"models:/{found['name']}/{found['version']}",
        "run_id": found["run_id"],
        HASH_TAG: tags[HASH_TAG],
        champions.FEATURES_URI: tags[champions.FEATURES_URI],
        "origin": hook.server.page("models", found["name"], "versions", found["version"]),
        "reason": tags.get("promotion_reason", ""),
        "champion": champions.champion(),
        "mlflow_conn_id": "" if own else hook.mlflow_conn_id,
        "aws_conn_id": f"aws_{source}",
    }


def copy_table(chosen: Mapping[str, Any], run_id: str) -> dict[str, str]:
    """Copy the table that the version was trained from, and return its ``features_uri`` here.

    :return: also ``rows_uri``: its first rows, to try the version with
    """
    uri = chosen[champions.FEATURES_URI]
    if chosen["aws_conn_id"] != AWS_CONN_ID:
        bucket, key = S3Hook.parse_s3_url(uri)
        uri = object_uri(FEATURES, run_id, "features.parquet")
        with TemporaryFile() as file:
            S3Hook(chosen["aws_conn_id"]).get_conn().download_fileobj(bucket, key, file)
            file.seek(0)
            S3Hook(AWS_CONN_ID).load_file_obj(file, *reversed(S3Hook.parse_s3_url(uri)), replace=True)
    rows_uri = object_uri(FEATURES, run_id, "rows.parquet")
    storage.write_table(samples.read_head(uri)[0].head(ROWS), rows_uri)
    return {champions.FEATURES_URI: uri, "rows_uri": rows_uri}


def copy_record(chosen: Mapping[str, Any], copied: Mapping[str, Any]) -> dict[str, str]:
    """Copy what the run that trained the version has of parameters, tags and errors.

    :param copied: as ``CopyModelVersionOperator`` returns it
    :return: of the version here: ``version``, ``model_uri`` and a ``summary`` for the person who approves; and the
        ``champion`` of :func:`choose_version`
    """
    from include.services import tracking

    version = copied["model_version"]
    hook, source = champions.connect(), chosen["mlflow_conn_id"]
    run = MLflowClientHook(mlflow_conn_id=source or MLFLOW_CONN_ID).get_run(chosen["run_id"])
    tags = champions.read_tags(run["data"])
    if source:
        own = {name: value for name, value in tags.items() if not name.startswith("mlflow.")}
        hook.log_batch(version["run_id"], params=champions.read_params(run), tags=own)
        errors = tracking.read_artifact(chosen["run_id"], tracking.OUT_OF_FOLD_ERRORS, source)
        if errors is not None:
            tracking.log_files({tracking.OUT_OF_FOLD_ERRORS: errors}, version["run_id"])
    summary = (
        f"{chosen['origin']}, trained with code {tags.get('code_version', 'unknown')}, SHA-256 {chosen[HASH_TAG]}, "
        f"was promoted there: {chosen['reason']}. Here it is version {version['version']}; "
        f"champion is version {chosen['champion'] or 'none'}."
    )
    uri = champions.model_uri(version["version"])
    return {"version": version["version"], "model_uri": uri, "summary": summary, "champion": chosen["champion"]}


def check_version(recorded: Mapping[str, str], predicted: Any, params: Mapping[str, Any]) -> str:
    """Return the task to continue with: keep the version, ask a person, or promote it.

    :param recorded: as :func:`copy_record` returns it
    :param predicted: as ``ModelLoadAndPredictOperator`` returns it
    :raises AirflowFailException: it predicts no numbers, or needs inputs that ``include/problem.py`` does not have here
    """
    version = recorded["version"]
    check_predictions(predicted, f"no release: version {version}")
    champions.check_inputs(version)
    if find_obstacle(version):
        return "keep_version"
    return "approve" if is_required(params["approval"]) else "promote_to_champion"


def promote_to_champion(
    recorded: Mapping[str, str], table: Mapping[str, str], response: dict[str, Any] | None
) -> dict[str, Any]:
    """Make the version champion, and record who approved it.

    :param response: of a person; None if none was required
    :return: ``version``, ``promoted``, ``reason`` and ``by``
    :raises AirflowFailException: another version has become champion since; nothing has changed
    """
    by, decision = describe_response(response)
    reason = f"released, {decision or 'without approval'}: {recorded['summary']}"
    with fail_without_retry(champions.ChampionChangedError):
        champions.promote(recorded["version"], by=by, why=reason, expected=recorded["champion"])
    return _finish(recorded, table, by, reason, promoted=True)


def keep_version(
    recorded: Mapping[str, str], table: Mapping[str, str], response: dict[str, Any] | None
) -> dict[str, Any]:
    """Keep the champion, and record at the version why; arguments and result as :func:`promote_to_champion`."""
    by, decision = describe_response(response)
    reason = decision or find_obstacle(recorded["version"])
    champions.reject(recorded["version"], why=reason)
    return _finish(recorded, table, by, reason, promoted=False)


def _finish(
    recorded: Mapping[str, str], table: Mapping[str, str], by: str, reason: str, promoted: bool
) -> dict[str, Any]:
    uri = table[champions.FEATURES_URI]
    champions.connect().set_model_version_tag(champions.MODEL, recorded["version"], champions.FEATURES_URI, uri)
    log.info("Version %s: %s, by %s", recorded["version"], reason, by)
    return {"version": recorded["version"], "promoted": promoted, "reason": reason, "by": by}
