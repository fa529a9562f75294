"""One evaluation of a challenger: what the models are asked, what is made of their answers, and what is kept of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from include import config
from include.charts.evaluation import plot_evaluation
from include.charts.style import render
from include.config import MLFLOW_CONN_ID, TARGET
from include.data.table import hash_table, select_training
from include.evaluation import gate, model_card
from include.evaluation import holdout as evaluation
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.mlflow_provider.hooks.pyfunc import MLflowPyfuncHook
from include.platform import champions, storage, tracking
from include.platform.assets import MODEL_EVALUATED, object_uri

log = logging.getLogger(__name__)


def list_contestants(trained: Mapping[str, str], run_id: str) -> list[dict[str, str]]:
    """Write down who is judged, and the rows that they are judged by; return what each model is asked.

    :param trained: ``version``, ``run_id`` and ``features_uri`` of the challenger
    :param run_id: of the DAG run, in whose folder the objects are
    :return: ``model_uri``, ``data`` and ``output_uri`` of the challenger and, if there is one, of the champion
    """
    contest = {**trained, "champion": champions.champion(_hook())}
    storage.write_bytes(json.dumps(contest).encode(), _place(run_id, "contest.json"))
    holdout = evaluation.select_holdout(storage.read_table(trained["features_uri"]))
    rows = storage.write_table(evaluation.add_shuffled(holdout), _place(run_id, "rows.parquet"))
    return [
        {"model_uri": champions.model_uri(version), "data": rows, "output_uri": _place(run_id, f"{role}.parquet")}
        for role, version in (("challenger", trained["version"]), ("champion", contest["champion"]))
        if version
    ]


def evaluate(run_id: str, rules: gate.Rules) -> dict[str, Any]:
    """Score the challenger and the champion, judge by the rules, and log all of it to the challenger's run.

    Who they are is what :func:`list_contestants` wrote down, whatever has been trained or promoted since.

    :param run_id: of the DAG run, in whose folder their predictions are
    :return: ``version`` and ``champion`` that were judged; the verdict: ``passed``, ``reason``, ``summary`` (Markdown);
        and ``uri`` of the whole evaluation as JSON
    """
    contest = json.loads(storage.read_bytes(_place(run_id, "contest.json")))
    table = storage.read_table(contest["features_uri"])
    holdout = evaluation.select_holdout(table)
    roles = ["challenger", "champion"] if contest["champion"] else ["challenger"]
    answers = [storage.read_table(_place(run_id, f"{role}.parquet")) for role in roles]
    found = contest | assess(holdout, answers, rules) | {"data_sha256": hash_table(table)}
    found |= {"training_rows": len(select_training(table)), "holdout_rows": len(holdout)}
    picture = _draw(holdout, answers[0], found)
    _log(found, holdout, answers[0], picture)
    storage.write_bytes(picture, _place(run_id, model_card.PICTURE))
    uri = storage.write_bytes(json.dumps(found).encode(), _place(run_id, "evaluation.json"))
    summary = model_card.summarize(found)
    log.info("%s\n\n%s", found["verdict"]["reason"], summary)
    judged = {"version": contest["version"], "champion": contest["champion"]}
    return {**judged, **found["verdict"], "summary": summary, "uri": uri}


def assess(holdout: pd.DataFrame, answers: Sequence[pd.DataFrame], rules: gate.Rules) -> dict[str, Any]:
    """Score and judge the models' answers to :func:`include.evaluation.holdout.add_shuffled`, the challenger's first.

    :return: ``scores`` of each model, ``subgroups``, ``importances``, ``checks`` and ``verdict``, fit for JSON
    """
    own = [evaluation.read_predictions(answer, holdout) for answer in answers]
    predicted = [rows["prediction"] for rows in own]
    groups = holdout[evaluation.SUBGROUPS]
    verdict = gate.judge(holdout[TARGET], predicted[0], predicted[1] if predicted[1:] else None, groups, rules)
    return {
        "scores": [
            {name: asdict(score) for name, score in evaluation.score(holdout[TARGET], rows).items()} for rows in own
        ],
        "subgroups": evaluation.score_subgroups(holdout, predicted[0]).to_dict("records"),
        "importances": evaluation.importances(holdout, answers[0]).to_dict("records"),
        "checks": [asdict(check) for check in verdict.checks],
        "verdict": {"passed": verdict.passed, "reason": verdict.reason},
    }


def promote(evaluated: Mapping[str, Any], by: str, answer: str) -> dict[str, Any]:
    """Make the challenger the champion, unless the one that it was compared with has been replaced meanwhile.

    :param evaluated: as :func:`evaluate` returned it
    :param by: who or what decided
    :param answer: what a person said, or nothing if nobody was asked
    :return: ``promoted``, ``reason`` and ``by``
    """
    now = champions.champion(_hook())
    if now not in (evaluated["champion"], evaluated["version"]):
        changed = f"version {now or 'none'} is champion now, the comparison was with {evaluated['champion'] or 'none'}"
        return keep(evaluated, by, f"{changed}: trigger promote again")
    reason = "; ".join(filter(None, [answer, evaluated["reason"]]))
    champions.promote(_hook(), evaluated["version"], by=by, why=reason)
    log.info("Version %s is champion: %s", evaluated["version"], reason)
    return {"promoted": True, "reason": reason, "by": by}


def keep(evaluated: Mapping[str, Any], by: str, answer: str) -> dict[str, Any]:
    """Leave the champion, and write down at the challenger why; arguments and result as of :func:`promote`."""
    reason = answer or evaluated["reason"]
    champions.refuse(_hook(), evaluated["version"], why=reason)
    log.warning("Version %s stays challenger: %s", evaluated["version"], reason)
    return {"promoted": False, "reason": reason, "by": by}


def write_card(evaluation_uri: str, decision: Mapping[str, Any]) -> dict[str, Any]:
    """Log the model card to the version's run, and lead to it from the descriptions in the registry.

    :param decision: ``promoted``, ``reason`` and ``by``
    :return: what is announced: the version's ``version``, ``run_id`` and ``features_uri``, the ``champion`` now (or
        nothing), ``promoted`` and ``reason``
    """
    found = json.loads(storage.read_bytes(evaluation_uri))
    picture = storage.read_bytes(evaluation_uri.replace("evaluation.json", model_card.PICTURE))
    hook = _hook()
    run = hook.get_run(found["run_id"])
    page = hook.server.page("experiments", run["info"]["experiment_id"], "runs", found["run_id"])
    markdown = model_card.render_markdown(_facts(found, decision, run, page))
    html = model_card.render_html(markdown, picture)
    tracking.log_files({"model_card.md": markdown.encode(), "model_card.html": html.encode()}, found["run_id"])
    card = f"[Model card]({page}/artifacts/model_card.html)"
    hook.update_model_version(config.REGISTERED_MODEL, found["version"], f"{_describe(found, decision)} {card}")
    announced = {name: found[name] for name in ("version", "run_id", "features_uri")}
    said = {"promoted": decision["promoted"], "reason": decision["reason"]}
    return {**announced, "champion": champions.champion(hook), **said}


def _place(run_id: str, name: str) -> str:
    return object_uri(MODEL_EVALUATED, run_id, name)


def _hook() -> MLflowClientHook:
    return MLflowClientHook("GET", MLFLOW_CONN_ID)


def _describe(found: Mapping[str, Any], decision: Mapping[str, Any]) -> str:
    error = model_card.format_score(found["scores"][0]["rmse"])
    became = f"Became champion, decided by {decision['by']}" if decision["promoted"] else "Not promoted"
    return f"RMSE {error} cm on {found['holdout_rows']} holdout animals. {became}: {decision['reason']}."


def _draw(holdout: pd.DataFrame, answer: pd.DataFrame, found: Mapping[str, Any]) -> bytes:
    own = evaluation.read_predictions(answer, holdout)
    importance, subgroups = pd.DataFrame(found["importances"]), pd.DataFrame(found["subgroups"])
    return render(plot_evaluation(holdout, own, importance, subgroups, f"How well version {found['version']} does"))


def _log(found: Mapping[str, Any], holdout: pd.DataFrame, answer: pd.DataFrame, picture: bytes) -> None:
    prefixes = ("evaluation_", "champion_")
    metrics = {
        name: value
        for prefix, scores in zip(prefixes, found["scores"], strict=False)
        for name, value in evaluation.flatten(scores, prefix).items()
    }
    tables = {
        f"evaluation_{name}.csv": pd.DataFrame(found[name]).to_csv(index=False).encode()
        for name in ("subgroups", "importances", "checks")
    }
    rows = evaluation.read_predictions(answer, holdout).assign(**{TARGET: holdout[TARGET]})
    tracking.log_evaluation(found["run_id"], rows, metrics, {model_card.PICTURE: picture, **tables})


def _facts(found: Mapping[str, Any], decision: Mapping[str, Any], run: Mapping[str, Any], page: str) -> dict[str, Any]:
    data = run["data"]
    parameters = {item["key"]: item["value"] for item in data.get("params", [])}
    tags = {item["key"]: item["value"] for item in data.get("tags", [])}
    pyfunc = MLflowPyfuncHook(MLFLOW_CONN_ID)
    packages = pyfunc.get_model_requirements(pyfunc.get_model_artifact_uri(champions.model_uri(found["version"])))
    return {
        **found,
        "model": config.REGISTERED_MODEL,
        "status": "champion" if decision["promoted"] else "not promoted",
        "outcome": model_card.plain(decision["reason"]),
        "decided_by": model_card.plain(decision["by"]),
        "evaluated_at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "run_page": page,
        "score_table": model_card.tabulate_scores(found),
        "subgroups": model_card.tabulate_subgroups(found["subgroups"]),
        "least_animals": evaluation.LEAST_ANIMALS,
        "code_version": tags.get("code_version", "unknown"),
        "parameters": model_card.plain(", ".join(f"{name} = {value}" for name, value in sorted(parameters.items()))),
        "environment": model_card.plain(", ".join(packages)),
    }
