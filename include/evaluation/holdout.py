"""The quality of a model on the holdout, beside the champion if there is one.

Every interval is of 95 %; :mod:`include.evaluation.intervals` says which, and docs/promotion.md how often they hold.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from include.evaluation.gate import Check, Contest, Verdict, judge
from include.evaluation.intervals import Interval, limit_mae, limit_r2, limit_rmse
from include.evaluation.looks import count_look, fingerprint, recorded_errors, spend
from include.evaluation.scores import MIN_ROWS, SEED, mae, r2, rmse
from include.spec import Gate, Problem

CONFIDENCE = 0.95
MIN_SHUFFLES, MAX_SHUFFLES = 3, 10  # of each column, for its permutation importance
ENOUGH_ROWS = 20_000  # in all shuffles of a column together: a large holdout needs fewer, and not all of its rows
MAX_ROWS = 100_000  # that a model is judged by: they give an RMSE a standard error of 0.2 %, 1 / sqrt(2 n)
MISSING = "missing"  # the group of rows without a category

Score = dict[str, float]  # value, and low and high of its interval, which are NaN for too few rows


def add_shuffled(holdout: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Return the inputs of the holdout, and below them copies of them, or of 6,666 rows, with one column shuffled.

    One call of the model then gives its predictions and its permutation importance. The model runs in another
    process, out of reach of ``sklearn.inspection.permutation_importance``, whose definition this follows.
    """
    rng = np.random.default_rng(SEED)
    shuffled = holdout.iloc[_choose_shuffled(len(holdout))]
    shuffles = min(max(ENOUGH_ROWS // len(shuffled), MIN_SHUFFLES), MAX_SHUFFLES)
    rows = shuffled[problem.inputs]
    blocks = [holdout[problem.inputs]]
    for column in np.repeat(problem.inputs, shuffles):
        block = rows.copy()
        block[column] = rows[column].to_numpy()[rng.permutation(len(rows))]
        blocks.append(block)
    return pd.concat(blocks, ignore_index=True)


def read_predictions(answer: pd.DataFrame, holdout: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Return a model's predictions of the unshuffled holdout rows.

    :param answer: for the rows of :func:`add_shuffled`: ``prediction``, and ``lower`` and ``upper`` if the model has
        intervals
    :raises ValueError: a row has no finite prediction
    """
    own = answer.iloc[: len(holdout)].reset_index(drop=True)
    bad = holdout.loc[~np.isfinite(own["prediction"].astype(float)), problem.id].tolist()
    if bad:
        raise ValueError(
            f"the model predicts no finite number for {len(bad)} holdout rows, such as {problem.id} {bad[:5]}: "
            "it cannot be evaluated"
        )
    return own


def score(true: pd.Series, predicted: pd.DataFrame) -> dict[str, Score]:
    """Return RMSE and MAE (target's unit) and R2 with their intervals, and the coverage of prediction intervals.

    The interval of the coverage is exact: Clopper and Pearson (1934), Biometrika 26: 404-413.

    :param predicted: as :func:`read_predictions` returns it
    """
    values, errors = true.to_numpy(float), (true - predicted["prediction"]).to_numpy(float)
    scores = {"rmse": _score_rmse(errors), "mae": _with_interval(float(mae(errors, 0)), limit_mae, errors)}
    if np.ptp(values) > 0:
        scores["r2"] = _with_interval(float(r2(values, values - errors)), partial(limit_r2, values), errors)
    if {"lower", "upper"} <= set(predicted):
        inside = int(true.between(predicted["lower"], predicted["upper"]).sum())
        exact = binomtest(inside, len(true)).proportion_ci(CONFIDENCE)
        scores["coverage"] = {"value": inside / len(true), "low": float(exact.low), "high": float(exact.high)}
    return scores


def score_subgroups(holdout: pd.DataFrame, predicted: pd.Series, problem: Problem) -> pd.DataFrame:
    """Score every group of every category in ``gate.subgroup_max_rmse``.

    :return: ``column``, ``group``, ``rows``, ``rmse``, ``rmse_low``, ``rmse_high``, ``mae`` (target's unit); limits
        are NaN for fewer than ``MIN_ROWS``
    """
    true, groups, rows = holdout[problem.target.name], _groups(holdout, [*problem.gate.subgroup_max_rmse]), []
    for column in groups:
        for group, index in groups.groupby(column).groups.items():
            errors = (true[index] - predicted[index]).to_numpy(float)
            rows.append((column, group, len(index), *_score_rmse(errors).values(), float(mae(errors, 0))))
    columns = ["column", "group", "rows", "rmse", "rmse_low", "rmse_high", "mae"]
    return pd.DataFrame(rows, columns=columns)


def importances(holdout: pd.DataFrame, predicted: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Return by how much the RMSE (target's unit) grows when a column is shuffled.

    :param predicted: for the rows of :func:`add_shuffled`
    :return: ``column``, ``mean`` and ``std`` over the shuffles, the most important first
    """
    shuffled, predictions = _choose_shuffled(len(holdout)), predicted["prediction"].to_numpy(float)
    own, others = predictions[: len(holdout)][shuffled], predictions[len(holdout) :].reshape(-1, len(shuffled))
    errors = rmse(holdout[problem.target.name].to_numpy(float)[shuffled], np.vstack([own, others]))
    growth = (errors[1:] - errors[0]).reshape(len(problem.inputs), -1)
    ranked = pd.DataFrame({"column": problem.inputs, "mean": growth.mean(axis=1), "std": growth.std(axis=1)})
    return ranked.sort_values("mean", ascending=False, ignore_index=True)


def assess(
    rows: pd.DataFrame,
    answers: Mapping[str, pd.DataFrame],
    problem: Problem,
    gate: Gate,
    *,
    version: str,
    mean: float,
    champion: str = "",
    earlier: Sequence[Mapping[str, Any]] = (),
    held: Collection[str] = (),
    newest_champion: int = 0,
) -> dict[str, Any]:
    """Score and judge the models' answers for the rows of :func:`add_shuffled`.

    :param rows: of one slice of the holdout; for fewer than ``MIN_ROWS`` no answer is read, and the verdict says so
    :param answers: by role: of the ``challenger`` and, where there is one, of the ``champion`` that it is compared with
        and of the ``best`` earlier champion on these rows
    :param champion: the champion's number, if there is an answer of it
    :param earlier: what was returned when other versions were judged by this slice, with their ``version`` and the
        ``champion`` that they were compared with; the other arguments are those of :class:`Contest`
    :return: ``scores`` by role and of predicting the ``mean``; the challenger's ``subgroups``, ``importances``,
        ``checks`` and ``verdict``; the number of the ``look`` and its ``confidence``; the fingerprint of the
        ``predictions``; ``rmse`` and ``champion_rmse``; the number of rows with a level that no training row had
        (``unseen``). All of it is fit for JSON
    """
    if len(rows) < MIN_ROWS:
        return _keep_for_few_rows(len(rows), problem, gate)
    true = rows[problem.target.name]
    own = {role: read_predictions(answer, rows, problem) for role, answer in answers.items()}
    predictions = fingerprint(own["challenger"]["prediction"])
    contest = Contest(
        target=problem.target,
        true=true,
        predictions={role: answer["prediction"] for role, answer in own.items()},
        mean=mean,
        groups=_groups(rows, problem.categories),
        look=count_look(predictions, earlier),
        recorded=recorded_errors(earlier).get(champion),
        held=frozenset(held),
        version=int(version),
        newest_champion=newest_champion,
    )
    scores = {role: score(true, answer) for role, answer in own.items()}
    scores["mean"] = {"rmse": _score_rmse((true - mean).to_numpy(float))}
    return {
        "scores": scores,
        "subgroups": score_subgroups(rows, own["challenger"]["prediction"], problem).to_dict("records"),
        "importances": importances(rows, answers["challenger"], problem).to_dict("records"),
        **_record(judge(contest, gate), contest.look, gate, predictions),
        "rmse": scores["challenger"]["rmse"]["value"],
        "champion_rmse": scores["champion"]["rmse"]["value"] if "champion" in scores else None,
        "unseen": int((own["challenger"]["unseen"] != "").sum()) if "unseen" in own["challenger"] else 0,
    }


def flatten(scores: Mapping[str, Mapping[str, float]], prefix: str) -> dict[str, float]:
    """Return scores as metrics ``<prefix>rmse``, ``<prefix>rmse_low`` and ``<prefix>rmse_high``, without NaN."""
    named = {
        f"{prefix}{name}{'' if part == 'value' else f'_{part}'}": value
        for name, score in scores.items()
        for part, value in score.items()
    }
    return {name: value for name, value in named.items() if np.isfinite(value)}


def _choose_shuffled(count: int) -> np.ndarray:
    """Return the positions of the holdout rows whose columns are shuffled: all, or a random sample."""
    most = ENOUGH_ROWS // MIN_SHUFFLES
    return np.sort(np.random.default_rng(SEED).permutation(count)[:most])


def _groups(holdout: pd.DataFrame, categories: list[str]) -> pd.DataFrame:
    return holdout[categories].astype(object).fillna(MISSING)


def _keep_for_few_rows(count: int, problem: Problem, gate: Gate) -> dict[str, Any]:
    missing = (
        f"{count} holdout rows with {problem.target.name} that no compared model was trained on, at least {MIN_ROWS} "
        "are needed: add rows"
    )
    verdict = Verdict(False, missing, [Check("enough rows", False, missing)])
    nothing: dict[str, Any] = {"scores": {}, "subgroups": [], "importances": [], "unseen": 0}
    return nothing | {"rmse": None, "champion_rmse": None} | _record(verdict, 0, gate, "")


def _record(verdict: Verdict, look: int, gate: Gate, predictions: str) -> dict[str, Any]:
    facts = asdict(verdict)
    confidence = 1 - spend(gate.confidence, max(look, 1))
    return {
        "checks": facts.pop("checks"),
        "verdict": facts,
        "look": look,
        "confidence": confidence,
        "predictions": predictions,
    }


def _score_rmse(errors: np.ndarray) -> Score:
    return _with_interval(float(rmse(errors, 0)), limit_rmse, errors)


def _with_interval(value: float, limit: Callable[[np.ndarray, float], Interval], errors: np.ndarray) -> Score:
    low, high = limit(errors, CONFIDENCE) if len(errors) >= MIN_ROWS else (np.nan, np.nan)
    return {"value": value, "low": low, "high": high}
