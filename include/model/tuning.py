"""Repeated cross-validation of the candidates, and the choice among them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import ParameterGrid, RepeatedKFold

from include.data.features import build_transformer, compute_features
from include.evaluation.scores import format_value, score_predictions
from include.model.candidates import NAMES, find_candidate
from include.spec import Problem

log = logging.getLogger(__name__)

FOLDS, MAX_REPEATS = 5, 10
ENOUGH_ROWS = 20_000  # tested in all repeats together: large tables need fewer repeats
TARGET, FOLD, TESTED = "_target", "_fold", "_tested"
SETTING = ["candidate", "estimator", "hyper_parameters"]


class CandidateError(ValueError):
    """A candidate cannot be fitted or scored; the message names it and its hyper-parameters."""


def make_folds(training: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Return the folds that all candidates are scored on: 5-fold cross-validation, repeated up to 10 times.

    The transformer is fitted in each fold on its training rows only, once for all candidates.

    :param training: training rows: ``problem.inputs`` and the target
    :return: a row for each fold and training row: the fold's features, ``_target``, ``_fold`` and ``_tested``; a
        feature that a fold does not have is missing in all of its rows
    """
    repeats = min(max(ENOUGH_ROWS // len(training), 1), MAX_REPEATS)
    splits = RepeatedKFold(n_splits=FOLDS, n_repeats=repeats, random_state=0).split(training)
    folds = [_make_fold(training, problem, fold, seen) for fold, (seen, _) in enumerate(splits)]
    return pd.concat(folds, ignore_index=True)


def score_candidate(candidate: Mapping[str, Any], folds: pd.DataFrame) -> pd.DataFrame:
    """Score each setting of a candidate on each fold.

    :param candidate: ``name``, ``estimator`` and ``grid``
    :param folds: as ``make_folds`` returns them
    :return: a row for each fold and setting: ``candidate``, ``estimator``, ``fold``, ``hyper_parameters`` (JSON),
        ``rmse`` and ``mae`` in the target's unit, ``r2``
    :raises CandidateError: a setting cannot be fitted
    """
    rows = [
        {"candidate": candidate["name"], "estimator": candidate["estimator"], "fold": fold, **score}
        for fold, table in folds.groupby(FOLD)
        for score in _score_fold(candidate, table)
    ]
    return pd.DataFrame(rows)


def summarize(scores: pd.DataFrame) -> pd.DataFrame:
    """Return mean, standard deviation and, for the RMSE, standard error over the folds of each setting.

    The standard error is corrected for the overlap of the folds (Nadeau and Bengio 2003, Inference for the
    Generalization Error, Machine Learning 52; for repeated folds Bouckaert and Frank 2004). Without the correction,
    more repeats would make it arbitrarily small, although there are no more rows.

    :param scores: as ``score_candidate`` returns them, of one or several candidates
    :return: a row for each setting, best first: ``candidate``, ``estimator``, ``hyper_parameters``,
        ``cv_rmse_mean``, ``cv_rmse_std``, ``cv_rmse_se``, and mean and standard deviation of MAE and R2
    """
    folds = scores.groupby(SETTING, sort=False)
    summary = folds[["rmse", "mae", "r2"]].agg(["mean", "std"])
    summary.columns = [f"cv_{score}_{statistic}" for score, statistic in summary.columns]
    overlap = 1 / (FOLDS - 1)  # test rows to training rows
    summary["cv_rmse_se"] = np.sqrt(1 / folds.size() + overlap) * summary["cv_rmse_std"]
    return summary.sort_values("cv_rmse_mean", kind="stable").reset_index()


def summarize_all(scores: Sequence[pd.DataFrame], listed: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the summary of all candidates that were scored, and log which ones are missing.

    :param scores: of each candidate, as ``score_candidate`` returns them
    :param listed: all candidates
    :raises CandidateError: none was scored
    """
    scored = {table["candidate"].iloc[0] for table in scores}
    failed = ", ".join(candidate["name"] for candidate in listed if candidate["name"] not in scored)
    if not scored:
        raise CandidateError(f"all candidates failed: {failed}; see their logs")
    if failed:
        log.warning("Failed and left out: %s; see their logs", failed)
    return summarize(pd.concat(scores))


def choose(summary: pd.DataFrame, unit: str) -> dict[str, Any]:
    """Choose by the one-standard-error rule: the simplest candidate within one standard error of the best.

    Hastie, Tibshirani and Friedman (2009), The Elements of Statistical Learning, section 7.10. Each candidate is
    represented by its best setting; the standard error is the best candidate's.

    :param summary: as ``summarize`` returns it
    :param unit: the target's
    :return: ``name``, ``estimator``, ``hyper_parameters`` and ``scores`` of the winner, ``reason`` of the choice
    """
    settings = summary.drop_duplicates("candidate")
    best = settings.iloc[0]
    limit = best["cv_rmse_mean"] + best["cv_rmse_se"]
    near = settings[settings["cv_rmse_mean"] <= limit]
    winner = near.iloc[near["estimator"].map(NAMES.index).argmin()]
    return {
        "name": winner["candidate"],
        "estimator": winner["estimator"],
        "hyper_parameters": json.loads(winner["hyper_parameters"]),
        "scores": {name: float(winner[name]) for name in summary if name.startswith("cv_")},
        "reason": _reason(winner, best, limit, len(settings), unit),
    }


def _make_fold(training: pd.DataFrame, problem: Problem, fold: int, seen: np.ndarray) -> pd.DataFrame:
    transformer = build_transformer(problem).fit(training[problem.inputs].iloc[seen])
    features = compute_features(training, transformer, problem)
    tested = ~np.isin(np.arange(len(training)), seen)
    return features.assign(**{TARGET: training[problem.target.name], FOLD: fold, TESTED: tested})


def _score_fold(candidate: Mapping[str, Any], fold: pd.DataFrame) -> list[dict[str, Any]]:
    # As arrays, because scikit-learn spends more time on the names of columns than on fitting so few rows.
    features = fold.drop(columns=[TARGET, FOLD, TESTED]).dropna(axis="columns", how="all").to_numpy()
    target, tested = fold[TARGET].to_numpy(), fold[TESTED].to_numpy()
    scores = []
    for hyper_parameters in ParameterGrid(dict(candidate["grid"])):
        setting = json.dumps(hyper_parameters)
        try:
            estimator = find_candidate(candidate["estimator"]).build(hyper_parameters)
            predicted = estimator.fit(features[~tested], target[~tested]).predict(features[tested])
            score = score_predictions(target[tested], predicted)
        except Exception as error:
            raise CandidateError(f"{candidate['name']} with {setting} cannot be fitted: {error}") from error
        scores.append({"hyper_parameters": setting, **score})
    return scores


def _reason(winner: pd.Series, best: pd.Series, limit: float, count: int, unit: str) -> str:
    rmse = f"RMSE {format_value(winner['cv_rmse_mean'], unit, digits=3)}"
    if winner["candidate"] == best["candidate"]:
        return f"{rmse}, the best of {count}; no simpler candidate is within one standard error"
    return (
        f"{rmse}, simpler and within one standard error (up to {format_value(limit, unit, digits=3)}) of the best, "
        f"{best['candidate']} with {format_value(best['cv_rmse_mean'], unit, digits=3)}"
    )
