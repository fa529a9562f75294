"""The quality of a model on the holdout, beside the champion if there is one.

Every interval is a bootstrap over rows, 95 % unless stated otherwise: Efron and Tibshirani (1993), An Introduction to
the Bootstrap, chapters 13 and 14, as ``scipy.stats.bootstrap`` computes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from include.data import split
from include.evaluation.gate import judge
from include.evaluation.scores import LARGE, MIN_ROWS, SEED, mae, r2, resample, rmse
from include.spec import Gate, Problem

CONFIDENCE = 0.95
MIN_SHUFFLES, MAX_SHUFFLES = 3, 10  # of each column, for its permutation importance
ENOUGH_ROWS = 20_000  # in all shuffles of a column together: a large holdout needs fewer
MISSING = "missing"  # the group of rows without a category

Score = dict[str, float]  # value, and low and high of its interval, which are NaN for too few rows


def select_holdout(features: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Return the rows that models are evaluated on: held out, and with a target.

    :raises ValueError: there are fewer than ``MIN_ROWS``
    """
    holdout = split.select_holdout(features, problem).reset_index(drop=True)
    if len(holdout) < MIN_ROWS:
        raise ValueError(
            f"{len(holdout)} holdout rows with {problem.target.name}, at least {MIN_ROWS} are needed: add rows"
        )
    return holdout


def add_shuffled(holdout: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Return the inputs of the holdout, and below them copies in which one column is shuffled.

    One call of the model then gives its predictions and its permutation importance. The model runs in another
    process, out of reach of ``sklearn.inspection.permutation_importance``, whose definition this follows.
    """
    rng = np.random.default_rng(SEED)
    shuffles = min(max(ENOUGH_ROWS // len(holdout), MIN_SHUFFLES), MAX_SHUFFLES)
    rows = holdout[problem.inputs]
    blocks = [rows]
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
    pair = (true.to_numpy(float), predicted["prediction"].to_numpy(float))
    scores = {metric.__name__: _with_interval(metric, pair) for metric in (rmse, mae, r2)}
    if {"lower", "upper"} <= set(predicted):
        inside = int(true.between(predicted["lower"], predicted["upper"]).sum())
        exact = binomtest(inside, len(true)).proportion_ci(CONFIDENCE)
        scores["coverage"] = {"value": inside / len(true), "low": float(exact.low), "high": float(exact.high)}
    return scores


def score_subgroups(holdout: pd.DataFrame, predicted: pd.Series, problem: Problem) -> pd.DataFrame:
    """Score every group of every category in ``problem.subgroups``.

    :return: ``column``, ``group``, ``rows``, ``rmse``, ``rmse_low``, ``rmse_high``, ``mae`` (target's unit); limits
        are NaN for fewer than ``MIN_ROWS``
    """
    true, groups, rows = holdout[problem.target.name], _groups(holdout, problem.subgroups), []
    for column in groups:
        for group, index in groups.groupby(column).groups.items():
            pair = (true[index].to_numpy(float), predicted[index].to_numpy(float))
            rows.append((column, group, len(index), *_with_interval(rmse, pair).values(), float(mae(*pair))))
    columns = ["column", "group", "rows", "rmse", "rmse_low", "rmse_high", "mae"]
    return pd.DataFrame(rows, columns=columns)


def importances(holdout: pd.DataFrame, predicted: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Return by how much the RMSE (target's unit) grows when a column is shuffled.

    :param predicted: for the rows of :func:`add_shuffled`
    :return: ``column``, ``mean`` and ``std`` over the shuffles, the most important first
    """
    blocks = predicted["prediction"].to_numpy(float).reshape(-1, len(holdout))
    errors = rmse(holdout[problem.target.name].to_numpy(float), blocks)
    growth = (errors[1:] - errors[0]).reshape(len(problem.inputs), -1)
    ranked = pd.DataFrame({"column": problem.inputs, "mean": growth.mean(axis=1), "std": growth.std(axis=1)})
    return ranked.sort_values("mean", ascending=False, ignore_index=True)


def assess(holdout: pd.DataFrame, answers: Sequence[pd.DataFrame], problem: Problem, gate: Gate) -> dict[str, Any]:
    """Score and judge the models' answers for the rows of :func:`add_shuffled`, the challenger's first.

    :return: ``scores`` of each model, and the challenger's ``subgroups``, ``importances``, ``checks`` and
        ``verdict``, fit for JSON
    """
    true = holdout[problem.target.name]
    own = [read_predictions(answer, holdout, problem) for answer in answers]
    challenger, champion = ([rows["prediction"] for rows in own] + [None])[:2]
    groups = _groups(holdout, problem.categories)
    verdict = asdict(judge(true, challenger, champion, groups, gate, problem.unit))
    return {
        "scores": [score(true, rows) for rows in own],
        "subgroups": score_subgroups(holdout, challenger, problem).to_dict("records"),
        "importances": importances(holdout, answers[0], problem).to_dict("records"),
        "checks": verdict.pop("checks"),
        "verdict": verdict,
    }


def flatten(scores: Mapping[str, Mapping[str, float]], prefix: str) -> dict[str, float]:
    """Return scores as metrics ``<prefix>rmse``, ``<prefix>rmse_low`` and ``<prefix>rmse_high``, without NaN."""
    named = {
        f"{prefix}{name}{'' if part == 'value' else f'_{part}'}": value
        for name, score in scores.items()
        for part, value in score.items()
    }
    return {name: value for name, value in named.items() if np.isfinite(value)}


def _groups(holdout: pd.DataFrame, categories: list[str]) -> pd.DataFrame:
    return holdout[categories].astype(object).fillna(MISSING)


def _with_interval(metric: Callable[..., Any], pair: tuple[np.ndarray, np.ndarray]) -> Score:
    value = float(metric(*pair))
    if len(pair[0]) < MIN_ROWS:
        return {"value": value, "low": np.nan, "high": np.nan}
    method = "BCa" if len(pair[0]) <= LARGE else "percentile"
    interval = resample(metric, pair, confidence_level=CONFIDENCE, method=method).confidence_interval
    return {"value": value, "low": float(interval.low), "high": float(interval.high)}
