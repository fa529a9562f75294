"""The tasks of ``promote`` around the evaluation: choose a version, decide, record the decision, hand over.

MLflow's registry is the queue: a version waits until it has a verdict. Events of ``model_trained`` only wake the DAG,
because Airflow 3.3 may lose or reorder them.
"""

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include.problem import PROBLEM
from include.services import champions, samples, storage
from include.services.approval import describe_response, is_required
from include.services.assets import MODEL_EVALUATED, MODEL_TRAINED, is_by_hand, object_uri
from include.services.failures import fail_if_missing
from include.settings import INCLUDE, MLFLOW_CONN_ID, MODEL_SERVER

log = logging.getLogger(__name__)


def choose_version(params: Mapping[str, Any], dag_run: Any, run_id: str) -> str:
    """Return the version that this run judges, the same one whenever the task is repeated.

    :return: the version of the form, else the oldest one without a verdict, else, if the run was triggered manually,
        the newest one; empty if there is nothing to judge
    :raises AirflowFailException: the version of the form cannot be judged
    """
    pinned = object_uri(MODEL_EVALUATED, run_id, "version")
    if storage.exists(pinned):
        return storage.read_bytes(pinned).decode()
    version = _check_version(params["version"]) if params["version"] else _next_version(is_by_hand(dag_run))
    if version:
        storage.write_bytes(version.encode(), pinned)
    else:
        log.info("Every version of %s that train made has a verdict: there is nothing to judge", champions.MODEL)
    return version


def check_gate(evaluated: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    """Return the task to continue with: reject, ask a person, or promote."""
    if not evaluated["passed"]:
        return "keep_challenger"
    return "approve" if is_required(params["approval"]) else "promote_to_champion"


def promote_to_champion(evaluated: Mapping[str, Any], response: dict[str, Any] | None) -> dict[str, Any]:
    """Make the challenger the champion, unless the situation has changed since the comparison.

    It has changed if another version is champion, a newer one has been, or the challenger was put on hold: only
    ``rollback`` goes back.

    :param evaluated: as :func:`include.tasks.evaluate.evaluate_challenger` returns it
    :param response: of a person; None if none was required
    :return: ``promoted``, ``reason`` and ``by``
    """
    version, (by, decision) = evaluated["version"], describe_response(response)
    if obstacle := find_obstacle(version):
        return _reject(version, by, obstacle)
    reason = "; ".join(filter(None, [decision, evaluated["reason"], _read_shadow(version).get("summary")]))
    try:
        champions.promote(version, by=by, why=reason, expected=evaluated["champion"])
    except champions.ChampionChangedError as error:
        return _reject(version, by, f"{error}: trigger promote with version {version}")
    log.info("Version %s is champion: %s", version, reason)
    return {"promoted": True, "reason": reason, "by": by}


def keep_challenger(evaluated: Mapping[str, Any], response: dict[str, Any] | None) -> dict[str, Any]:
    """Keep the champion, and record at the challenger why; arguments and result as :func:`promote_to_champion`."""
    by, decision = describe_response(response)
    return _reject(evaluated["version"], by, decision or evaluated["reason"])


def write_model_card(
    evaluated: Mapping[str, Any],
    promoted: Mapping[str, Any] | None,
    kept: Mapping[str, Any] | None,
    outlet_events: Mapping[Any, Any],
) -> dict[str, Any]:
    """Log the model card to the version's run, link to it in the registry, and announce the decision.

    :return: the event: ``version``, ``run_id`` and ``features_uri``, the ``champion`` now (or an empty string),
        ``promoted`` and ``reason``
    """
    from include.evaluation import model_card
    from include.services import tracking

    decision = promoted or kept or {}
    evaluation = json.loads(storage.read_bytes(evaluated["uri"]))
    scores, picture = evaluation["scores"], b""
    if scores:
        picture = storage.read_bytes(evaluated["uri"].replace("evaluation.json", model_card.PICTURE))
    hook = champions.connect()
    run = hook.get_run(evaluation["run_id"])
    page = hook.server.page("experiments", run["info"]["experiment_id"], "runs", evaluation["run_id"])
    markdown = model_card.render_markdown(_card_facts(evaluation, decision, run, page))
    html = model_card.render_html(markdown, picture)
    tracking.log_files({"model_card.md": markdown.encode(), "model_card.html": html.encode()}, evaluation["run_id"])
    became = f"Promoted to champion by {decision['by']}" if decision["promoted"] else "Not promoted"
    score = f"RMSE {model_card.describe_score(scores['challenger']['rmse'], PROBLEM.unit)} on " if scores else ""
    description = (
        f"{score}{evaluation['holdout_rows']} holdout rows. {became}: {decision['reason']}. "
        f"[Model card]({page}/artifacts/model_card.html)"
    )
    hook.update_model_version(champions.MODEL, evaluation["version"], description)
    event = {name: evaluation[name] for name in ("version", "run_id", "features_uri")}
    event |= {"champion": champions.champion(), "promoted": decision["promoted"], "reason": decision["reason"]}
    outlet_events[MODEL_EVALUATED].extra = event
    return event


def call_model_server(event: Mapping[str, Any]) -> str:
    """Send a few rows to the model server, and check that the promoted version answers.

    :raises AirflowSkipException: nothing was promoted, or no model server is running
    """
    from include.data.checks import describe_unexpected
    from include.serving import model_client

    if not (event["promoted"] and model_client.is_up(MODEL_SERVER)):
        raise AirflowSkipException("Nothing was promoted, or no model server is running (make serve)")
    rows = samples.read_head(event["features_uri"])[0][PROBLEM.inputs]
    usual = rows[describe_unexpected(rows, PROBLEM) == ""]  # the server may refuse others: `limits.unexpected`
    return model_client.smoke_test(MODEL_SERVER, usual.head(), version=event["version"])


def hand_over(chosen: str | None, run_id: str, outlet_events: Mapping[Any, Any]) -> None:
    """Announce the oldest version without a verdict, which starts the next run.

    If this run failed, its own version gets the verdict that it did, so that each run leaves fewer versions waiting.

    :param chosen: the version of this run; None if there was none
    :raises AirflowSkipException: no version waits
    """
    waiting = {version["version"]: version for version in champions.waiting()} if chosen else {}
    if waiting.pop(chosen, None):
        why = f"the evaluation failed in run {run_id}: clear the failed task, or trigger promote with version {chosen}"
        _reject(str(chosen), "the gate", why)
    if not waiting:
        raise AirflowSkipException("No version waits for a verdict")
    outlet_events[MODEL_TRAINED].extra = champions.describe(next(iter(waiting.values())))


def _check_version(version: str) -> str:
    with fail_if_missing("there is no version to judge"):
        found = champions.connect().get_model_version(champions.MODEL, version)
    if champions.FEATURES_URI not in champions.read_tags(found):
        raise AirflowFailException(f"version {version} has no tag {champions.FEATURES_URI}: train did not make it")
    if found["version"] == champions.champion():
        raise AirflowFailException(f"version {version} is the champion already: name another one")
    return found["version"]  # the form may say 03


def _next_version(by_hand: bool) -> str:
    trained = champions.trained()
    waiting = [version["version"] for version in trained if not champions.has_verdict(version)]
    newest = [version["version"] for version in trained[-1:] if by_hand and version["version"] != champions.champion()]
    return next(iter([*waiting, *newest]), "")


def find_obstacle(version: str) -> str:
    """Return why a version must not become champion even if it passed the evaluation, or an empty string."""
    newest = champions.newest_champion()
    if champions.champion() == version:
        return ""
    if int(version) < newest:
        return f"version {newest}, which is newer, has been champion: only rollback goes back"
    on_hold = champions.read_tags(champions.connect().get_model_version(champions.MODEL, version))
    if champions.ON_HOLD in on_hold:
        return f"on hold, {on_hold[champions.ON_HOLD]}"
    shadow = _read_shadow(version)
    return shadow["summary"] if shadow.get("verdict") == "worse" else ""


def _read_shadow(version: str) -> dict[str, Any]:
    """Return how a version did beside the present champion in the model server, if they were compared."""
    return champions.read_shadow(champions.connect().get_model_version(champions.MODEL, version), champions.champion())


def _reject(version: str, by: str, reason: str) -> dict[str, Any]:
    champions.reject(version, why=reason)
    log.warning("Version %s stays challenger: %s", version, reason)
    return {"promoted": False, "reason": reason, "by": by}


def _card_facts(
    evaluated: Mapping[str, Any], decision: Mapping[str, Any], run: Mapping[str, Any], page: str
) -> dict[str, Any]:
    from include.evaluation import holdout, model_card
    from include.mlflow_provider.hooks.pyfunc import MLflowPyfuncHook

    pyfunc = MLflowPyfuncHook(MLFLOW_CONN_ID)
    uri = champions.model_uri(evaluated["version"])
    requirements = pyfunc.get_model_requirements(pyfunc.get_model_artifact_uri(uri))
    packages = [line for line in requirements if not line.startswith("-")]  # without the lock
    parameters = ", ".join(f"{name} = {value}" for name, value in sorted(champions.read_params(run).items()))
    return {
        **evaluated,
        "model": champions.MODEL,
        "summary": model_card.plain(PROBLEM.summary),
        "prose": (INCLUDE / "problem.md").read_text().strip(),
        "unit": PROBLEM.unit,
        "status": "champion" if decision["promoted"] else "not promoted",
        "outcome": model_card.plain(decision["reason"]),
        "decided_by": model_card.plain(decision["by"]),
        "evaluated_at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "run_page": page,
        "score_table": model_card.tabulate_scores(evaluated, PROBLEM.unit),
        "subgroups": model_card.tabulate_subgroups(evaluated["subgroups"]),
        "min_rows": holdout.MIN_ROWS,
        "code_version": champions.read_tags(run["data"]).get("code_version", "unknown"),
        "parameters": model_card.plain(parameters),
        "environment": model_card.plain(", ".join(packages)),
    }
