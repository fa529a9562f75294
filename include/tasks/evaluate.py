"""The tasks of ``promote`` that evaluate a version: on which rows, beside which other versions, and how well."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from include.problem import PROBLEM
from include.services import champions, samples, storage
from include.services.assets import MODEL_EVALUATED, object_uri
from include.spec import SPLIT

if TYPE_CHECKING:
    import pandas as pd

SLICE = "holdout."  # tag prefix of the registered model, followed by a time: URI of rows to compare versions on
RECORDED = ("slice", "look", "rmse", "champion", "champion_rmse", "predictions", "uri")

Version = Mapping[str, Any]  # as MLflow describes it

log = logging.getLogger(__name__)


def prepare_holdout(version: str, run_id: str) -> list[dict[str, str]]:
    """Choose which versions are compared on which rows, record it, and return the arguments of each prediction.

    Rows that challenger or champion were trained on are left out. A champion that takes other inputs, because the
    problem has changed, cannot predict these rows: the challenger is evaluated without it.

    :return: ``model_uri``, ``data`` and ``output_uri`` of the challenger and, if there are such, of the champion and of
        the best earlier champion on these rows; empty if there are too few rows
    :raises AirflowFailException: the table that the version was trained from is gone
    """
    from include.evaluation import holdout

    challenger, present = champions.connect().get_model_version(champions.MODEL, version), champions.find_champion()
    features_uri = champions.find_features(challenger)
    if not features_uri:
        raise AirflowFailException(f"the feature table of version {version} is gone: it cannot be evaluated")
    compared = present if present and _can_compare(challenger, present) else None
    slices = _read_slices()
    held_out = samples.read_sample(
        features_uri, PROBLEM, training=0, holdout=holdout.MAX_ROWS, slices=[*slices.values()]
    )
    unseen = _leave_out_trained(held_out, [features_uri, champions.find_features(compared or {})])
    rows, slice_uri = _select_slice(unseen, slices, run_id)
    contest = {
        **_describe(challenger, features_uri),
        "present": present["version"] if present else "",
        "champion": compared["version"] if compared else "",
        "slice": slice_uri,
        "holdout_rows": len(rows),
        "left_out": len(held_out) - len(unseen),
    }
    contest |= _look_back(challenger, contest)
    log.info("%s holdout rows; %s left out, which a compared version was trained on", len(rows), contest["left_out"])
    storage.write_bytes(json.dumps(contest).encode(), _uri(run_id, "versions.json"))
    storage.write_table(rows, _uri(run_id, "holdout.parquet"))
    if not contest["contestants"]:
        return []
    data = storage.write_table(holdout.add_shuffled(rows, PROBLEM), _uri(run_id, "rows.parquet"))
    return [
        {"model_uri": champions.model_uri(number), "data": data, "output_uri": _uri(run_id, f"{role}.parquet")}
        for role, number in contest["contestants"].items()
    ]


def evaluate_challenger(params: Mapping[str, Any], run_id: str) -> dict[str, Any]:
    """Score the versions that were compared, apply the gate of the form, and log the result to the challenger's run.

    :return: ``version`` and the ``champion`` at the time of the comparison; ``passed``, ``reason`` and ``summary``
        (Markdown) of the verdict; and ``uri`` of the evaluation as JSON
    """
    from include.evaluation import holdout, model_card
    from include.spec import Gate

    gate = Gate(**{name: params[name] for name in Gate.__dataclass_fields__})
    contest = json.loads(storage.read_bytes(_uri(run_id, "versions.json")))
    rows = storage.read_table(_uri(run_id, "holdout.parquet"))
    answers = {role: storage.read_table(_uri(run_id, f"{role}.parquet")) for role in contest["contestants"]}
    names = ("version", "mean", "champion", "earlier", "held", "newest_champion")
    assessed = holdout.assess(rows, answers, PROBLEM, gate, **{name: contest[name] for name in names})
    evaluated = {**contest, **assessed, "uri": _uri(run_id, "evaluation.json")}
    if evaluated["scores"]:
        predicted = holdout.read_predictions(answers["challenger"], rows, PROBLEM)
        _log_evaluation(evaluated, rows, predicted, run_id)
        recorded = json.dumps({name: evaluated[name] for name in RECORDED})
        champions.connect().set_model_version_tag(champions.MODEL, contest["version"], champions.EVALUATION, recorded)
    storage.write_bytes(json.dumps(evaluated).encode(), evaluated["uri"])
    summary = model_card.summarize(evaluated, PROBLEM.unit)
    log.info("%s\n\n%s", evaluated["verdict"]["reason"], summary)
    decided = {"version": contest["version"], "champion": contest["present"], "uri": evaluated["uri"]}
    return {**decided, **evaluated["verdict"], "summary": summary}


def _describe(challenger: Version, features_uri: str) -> dict[str, Any]:
    """Return what the evaluation says about a version and the table that it was trained from."""
    counts = samples.count_rows(features_uri, PROBLEM)
    return {
        **champions.describe(challenger),
        "data_sha256": storage.hash_object(features_uri),
        "training_rows": min(counts.training, PROBLEM.limits.max_training_rows),
        "mean": counts.mean,
    }


def _can_compare(challenger: Version, other: Version) -> bool:
    """Return whether another version takes the same inputs as the challenger."""
    from include.services import tracking

    if other["version"] == challenger["version"]:
        return False
    inputs, others = (tracking.read_inputs(champions.model_uri(one["version"])) for one in (challenger, other))
    if inputs != others:
        log.warning("Version %s takes other inputs than %s: not compared", other["version"], challenger["version"])
    return inputs == others


def _leave_out_trained(rows: pd.DataFrame, tables: Sequence[str]) -> pd.DataFrame:
    """Leave out rows that challenger or champion learned from, under the same id or another.

    :param tables: the challenger's, and the champion's or an empty string. The champion's split may differ, because
        that changes with `holdout_share` and `row_id`. Rows of a table without the present id are recognised by their
        content
    """
    from include.data.identity import remove_trained

    for uri in filter(None, dict.fromkeys(tables)):
        wanted = {SPLIT, *PROBLEM.columns}
        columns = wanted.intersection(samples.list_columns(uri))
        if wanted - {PROBLEM.id} <= columns:
            training = samples.read_training(uri, PROBLEM, sorted(columns))
            learned = (batch if PROBLEM.id in batch else batch.assign(**{PROBLEM.id: ""}) for batch in training)
            rows = remove_trained(rows, learned, PROBLEM)
    return rows.reset_index(drop=True)


def _read_slices() -> dict[str, pd.Series]:
    """Return the ids of the rows of each slice that versions were compared on, by URI, the oldest first."""
    tags = champions.read_tags(champions.connect().get_registered_model(champions.MODEL) or {})
    uris = [uri for name, uri in sorted(tags.items()) if name.startswith(SLICE) and storage.exists(uri)]
    usable = [uri for uri in uris if {SPLIT, *PROBLEM.columns}.issubset(samples.list_columns(uri))]
    return {uri: storage.read_table(uri, [PROBLEM.id])[PROBLEM.id] for uri in usable}


def _select_slice(rows: pd.DataFrame, slices: dict[str, pd.Series], run_id: str) -> tuple[pd.DataFrame, str]:
    """Return the rows to compare on and the URI of their slice, which is recorded at the registered model if it is new.

    Not at the versions: they can be deleted, but rows that were looked at are not fresh again.
    """
    from include.evaluation import looks

    selected, is_new = looks.select_slice(rows, [*slices.values()], PROBLEM)
    if not is_new:
        return selected, next(reversed(slices), "")
    uri = storage.write_table(selected, _uri(run_id, "slice.parquet"))
    now = datetime.now(UTC).strftime(champions.TIME)
    champions.connect().set_registered_model_tag(champions.MODEL, f"{SLICE}{now}", uri)
    return selected, uri


def _look_back(challenger: Version, contest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what earlier evaluations on the same slice mean for this one, and the versions that take part in it."""
    from include.evaluation import looks
    from include.evaluation.scores import MIN_ROWS

    found = {version["version"]: version for version in champions.versions()}
    tags = {number: champions.read_tags(version) for number, version in found.items()}
    evaluations = [{**json.loads(tags[number].get(champions.EVALUATION, "{}")), "version": number} for number in found]
    earlier = [one for one in evaluations if one.get("slice") == contest["slice"]]
    on_hold = {number for number in found if champions.ON_HOLD in tags[number]}
    past = {period.version for period in champions.history(found.values())}
    best = looks.best_champion(earlier, past - on_hold, contest["champion"], contest["version"])
    if best and not _can_compare(challenger, found[best]):
        best = ""
    roles = {"challenger": contest["version"], "champion": contest["champion"], "best": best}
    enough = contest["holdout_rows"] >= MIN_ROWS
    return {
        "best": best,
        "earlier": earlier,
        "held": [one["predictions"] for one in earlier if one["version"] in on_hold],
        "newest_champion": max(map(int, past), default=0),
        "contestants": {role: number for role, number in roles.items() if number} if enough else {},
    }


def _uri(run_id: str, name: str) -> str:
    return object_uri(MODEL_EVALUATED, run_id, name)


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
    for role, scores in evaluated["scores"].items():
        metrics |= holdout.flatten(scores, "evaluation_" if role == "challenger" else f"{role}_")
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
