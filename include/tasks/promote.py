"""The tasks of ``promote``: evaluate a challenger, decide, record the decision."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include.problem import PROBLEM
from include.services import champions, storage
from include.services.approval import describe_response, is_required
from include.services.assets import MODEL_EVALUATED, MODEL_TRAINED, latest_extra, object_uri
from include.settings import INCLUDE, MLFLOW_CONN_ID, MODEL_SERVER
from include.spec import SPLIT

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def prepare_holdout(
    run_id: str, triggering_asset_events: Mapping[Any, Any], inlet_events: Mapping[Any, Any]
) -> list[dict[str, str]]:
    """Record which versions are compared, write the holdout rows, and return the arguments of each prediction.

    A champion that takes other inputs, because the problem has changed, cannot predict these rows: the challenger is
    evaluated alone, and replaces it if it passes.

    :return: ``model_uri``, ``data`` and ``output_uri`` of the challenger and, if it can be compared, of the champion
    """
    from include.evaluation import holdout

    trained = latest_extra(MODEL_TRAINED, triggering_asset_events, inlet_events)
    rows = holdout.select_holdout(storage.read_table(trained["features_uri"]), PROBLEM)
    present = champions.champion()
    compared = present if present and _read_inputs(present) == _read_inputs(trained["version"]) else ""
    if compared:
        rows = _remove_training_rows(compared, rows)
    elif present:
        log.warning("Champion %s takes other inputs than version %s: not compared", present, trained["version"])
    versions = {**trained, "champion": compared, "present": present}
    storage.write_bytes(json.dumps(versions).encode(), _uri(run_id, "versions.json"))
    storage.write_table(rows, _uri(run_id, "holdout.parquet"))
    data = storage.write_table(holdout.add_shuffled(rows, PROBLEM), _uri(run_id, "rows.parquet"))
    return [
        {"model_uri": champions.model_uri(version), "data": data, "output_uri": _uri(run_id, f"{role}.parquet")}
        for role, version in (("challenger", trained["version"]), ("champion", versions["champion"]))
        if version
    ]


def evaluate_challenger(params: Mapping[str, Any], run_id: str) -> dict[str, Any]:
    """Score challenger and champion, apply the gate of the form, and log the result to the challenger's run.

    The versions are those that :func:`prepare_holdout` recorded, even if others were trained or promoted since.

    :return: ``version`` and the ``champion`` at that time; ``passed``, ``reason`` and ``summary`` (Markdown) of the
        verdict; and ``uri`` of the evaluation as JSON
    """
    from include.data.identity import hash_table
    from include.data.split import select_training
    from include.evaluation import holdout, model_card
    from include.spec import Gate

    gate = Gate(**{name: params[name] for name in Gate.__dataclass_fields__})
    versions = json.loads(storage.read_bytes(_uri(run_id, "versions.json")))
    table = storage.read_table(versions["features_uri"])
    rows = storage.read_table(_uri(run_id, "holdout.parquet"))
    roles = ["challenger", "champion"] if versions["champion"] else ["challenger"]
    answers = [storage.read_table(_uri(run_id, f"{role}.parquet")) for role in roles]
    evaluated = {
        **versions,
        **holdout.assess(rows, answers, PROBLEM, gate),
        "data_sha256": hash_table(table),
        "training_rows": len(select_training(table, PROBLEM)),
        "holdout_rows": len(rows),
    }
    _log_evaluation(evaluated, rows, holdout.read_predictions(answers[0], rows, PROBLEM), run_id)
    uri = storage.write_bytes(json.dumps(evaluated).encode(), _uri(run_id, "evaluation.json"))
    summary = model_card.summarize(evaluated, PROBLEM.unit)
    log.info("%s\n\n%s", evaluated["verdict"]["reason"], summary)
    decided = {"version": versions["version"], "champion": versions["present"]}
    return {**decided, **evaluated["verdict"], "summary": summary, "uri": uri}


def check_gate(evaluated: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    """Return the task to continue with: reject, ask a person, or promote."""
    if not evaluated["passed"]:
        return "keep_challenger"
    return "approve" if is_required(params["approval"]) else "promote_to_champion"


def promote_to_champion(evaluated: Mapping[str, Any], response: dict[str, Any] | None) -> dict[str, Any]:
    """Make the challenger the champion, unless the champion has changed since the comparison.

    :param evaluated: as :func:`evaluate_challenger` returns it
    :param response: of a person; None if none was required
    :return: ``promoted``, ``reason`` and ``by``
    """
    by, decision = describe_response(response)
    now = champions.champion()
    if now not in (evaluated["champion"], evaluated["version"]):
        changed = f"version {now or 'none'} is champion now, the comparison was with {evaluated['champion'] or 'none'}"
        return _reject(evaluated["version"], by, f"{changed}: trigger promote again")
    reason = "; ".join(filter(None, [decision, evaluated["reason"]]))
    champions.promote(evaluated["version"], by=by, why=reason)
    log.info("Version %s is champion: %s", evaluated["version"], reason)
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
    picture = storage.read_bytes(evaluated["uri"].replace("evaluation.json", model_card.PICTURE))
    hook = champions.connect()
    run = hook.get_run(evaluation["run_id"])
    page = hook.server.page("experiments", run["info"]["experiment_id"], "runs", evaluation["run_id"])
    markdown = model_card.render_markdown(_card_facts(evaluation, decision, run, page))
    html = model_card.render_html(markdown, picture)
    tracking.log_files({"model_card.md": markdown.encode(), "model_card.html": html.encode()}, evaluation["run_id"])
    became = f"Promoted to champion by {decision['by']}" if decision["promoted"] else "Not promoted"
    score = model_card.describe_score(evaluation["scores"][0]["rmse"], PROBLEM.unit)
    description = (
        f"RMSE {score} on {evaluation['holdout_rows']} holdout rows. {became}: {decision['reason']}. "
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
    from include.serving import model_client

    if not (event["promoted"] and model_client.is_up(MODEL_SERVER)):
        raise AirflowSkipException("Nothing was promoted, or no model server is running (make serve)")
    rows = storage.read_table(event["features_uri"]).head()[PROBLEM.inputs]
    return model_client.smoke_test(MODEL_SERVER, rows, version=event["version"])


def _read_inputs(version: str) -> dict[str, str]:
    """Return the type of each input of a version, from its signature; nothing if it has none."""
    from include.services import tracking

    with tracking.connected():
        signature = tracking.mlflow.models.get_model_info(champions.model_uri(version)).signature
    return {column.name: str(column.type) for column in signature.inputs} if signature else {}


def _remove_training_rows(champion: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Leave out rows that the champion was trained on: the split changes with `holdout_share` and `row_id`."""
    from include.data.identity import remove_known
    from include.data.split import select_training
    from include.evaluation.scores import MIN_ROWS

    uri = champions.read_tags(champions.connect().get_model_version(champions.MODEL, champion)).get("features_uri", "")
    if not uri or not storage.exists(uri):
        return rows
    table = storage.read_table(uri)
    if not {PROBLEM.id, SPLIT, *PROBLEM.inputs, PROBLEM.target.name} <= set(table):
        return rows
    unseen = remove_known(rows, select_training(table, PROBLEM), PROBLEM).reset_index(drop=True)
    if len(unseen) < MIN_ROWS:
        raise AirflowFailException(
            f"the champion, version {champion}, was trained on all but {len(unseen)} of the holdout rows: too few to "
            "compare. Remove its alias champion in MLflow, or change the split back"
        )
    return unseen


def _uri(run_id: str, name: str) -> str:
    return object_uri(MODEL_EVALUATED, run_id, name)


def _reject(version: str, by: str, reason: str) -> dict[str, Any]:
    champions.reject(version, why=reason)
    log.warning("Version %s stays challenger: %s", version, reason)
    return {"promoted": False, "reason": reason, "by": by}


def _log_evaluation(evaluated: Mapping[str, Any], rows: pd.DataFrame, predicted: pd.DataFrame, run_id: str) -> None:
    """Add scores, tables and figure to the run that trained the challenger; repeating it changes nothing."""
    import pandas as pd

    from include.charts.evaluation import plot_evaluation
    from include.charts.style import render
    from include.evaluation import holdout, model_card
    from include.services import tracking

    tables = {name: pd.DataFrame(evaluated[name]) for name in ("subgroups", "importances", "checks")}
    title = f"Evaluation of version {evaluated['version']}"
    figure = plot_evaluation(rows, predicted, tables["importances"], tables["subgroups"], title, PROBLEM)
    picture = render(figure)
    storage.write_bytes(picture, _uri(run_id, model_card.PICTURE))
    metrics: dict[str, float] = {}
    for prefix, scores in zip(("evaluation_", "champion_"), evaluated["scores"], strict=False):
        metrics |= holdout.flatten(scores, prefix)
    name = PROBLEM.target.name
    with tracking.connected(), tracking.mlflow.start_run(run_id=evaluated["run_id"]):
        tracking.mlflow.models.evaluate(
            data=pd.DataFrame({"prediction": predicted["prediction"].to_numpy(), name: rows[name].to_numpy()}),
            targets=name,
            predictions="prediction",
            model_type="regressor",
            evaluators="regressor",  # the default ones complain that SHAP is not installed
            evaluator_config={"metric_prefix": "evaluation_"},
        )
        tracking.mlflow.log_metrics(metrics)
    files = {f"evaluation_{name}.csv": table.to_csv(index=False).encode() for name, table in tables.items()}
    tracking.log_files({model_card.PICTURE: picture, **files}, evaluated["run_id"])


def _card_facts(
    evaluated: Mapping[str, Any], decision: Mapping[str, Any], run: Mapping[str, Any], page: str
) -> dict[str, Any]:
    from include.evaluation import holdout, model_card
    from include.mlflow_provider.hooks.pyfunc import MLflowPyfuncHook

    pyfunc = MLflowPyfuncHook(MLFLOW_CONN_ID)
    uri = champions.model_uri(evaluated["version"])
    packages = pyfunc.get_model_requirements(pyfunc.get_model_artifact_uri(uri))
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
