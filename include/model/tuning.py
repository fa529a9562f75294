"""Repeated cross-validation of the candidates, and the choice among them."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn import config_context
from sklearn.model_selection import ParameterGrid, RepeatedKFold

from include.data.features import build_transformer
from include.evaluation.scores import format_value, score_predictions
from include.model.candidates import NAMES, find_candidate
from include.spec import Problem

log = logging.getLogger(__name__)

FOLDS, MAX_REPEATS = 5, 10
BUDGET = 20_000  # rows in all repeats together: more rows need fewer repeats, and at last not all rows

Fold = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # features and target to learn from, and to be tested on


class CandidateError(ValueError):
    """A candidate cannot be fitted or scored; the message names it and its hyper-parameters."""


def score_candidate(candidate: Mapping[str, Any], rows: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Score each setting of a candidate by 5-fold cross-validation, repeated up to 10 times.

    The folds are the same for every candidate and setting.

    :param candidate: ``name``, ``estimator`` and ``grid``
    :param rows: training rows to choose by: columns ``problem.inputs`` and the target
    :return: a row for each fold and setting: ``candidate``, ``estimator``, ``hyper_parameters`` (JSON), ``fold``,
        ``rmse`` and ``mae`` in the target's unit, ``r2``
    :raises CandidateError: a setting cannot be fitted
    """
    scores = []
    for number, fold in enumerate(_compute_folds(rows, problem)):
        with config_context(skip_parameter_validation=number > 0):  # the first fold has checked every setting
            for setting in ParameterGrid(dict(candidate["grid"])):
                names = (candidate["name"], candidate["estimator"], json.dumps(setting), number)
                scores.append((*names, *_score(candidate, setting, fold)))
    return pd.DataFrame(scores, columns=["candidate", "estimator", "hyper_parameters", "fold", "rmse", "mae", "r2"])


def summarize(scores: pd.DataFrame) -> pd.DataFrame:
    """Return mean, standard deviation and, for the RMSE, standard error over the folds of each setting.

    The standard error is corrected for the overlap of the folds (Nadeau and Bengio 2003, Inference for the
    Generalization Error, Machine Learning 52; for repeated folds Bouckaert and Frank 2004). Without the correction,
    more repeats would make it arbitrarily small, although there are no more rows.

    :param scores: as ``score_candidate`` returns them, of one or several candidates
    :return: a row for each setting, best first: ``candidate``, ``estimator``, ``hyper_parameters``,
        ``cv_rmse_mean``, ``cv_rmse_std``, ``cv_rmse_se``, and mean and standard deviation of MAE and R2
    """
    folds = scores.groupby(["candidate", "estimator", "hyper_parameters"], sort=False)
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
    error, limit, lowest = (
        format_value(value, unit, digits=3) for value in (winner["cv_rmse_mean"], limit, best["cv_rmse_mean"])
    )
    reason = f"simpler and within one standard error (up to {limit}) of the best, {best['candidate']} with {lowest}"
    if winner["candidate"] == best["candidate"]:
        reason = f"the best of {len(settings)}; no simpler candidate is within one standard error"
    return {
        "name": winner["candidate"],
        "estimator": winner["estimator"],
        "hyper_parameters": json.loads(winner["hyper_parameters"]),
        "scores": {name: float(winner[name]) for name in summary if name.startswith("cv_")},
        "reason": f"RMSE {error}, {reason}",
    }


def _compute_folds(rows: pd.DataFrame, problem: Problem) -> Iterator[Fold]:
    """Yield the features of each fold, of a transformer that is fitted on the rows to learn from."""
    inputs, target = rows[problem.inputs], rows[problem.target.name].to_numpy()
    repeats = min(max(BUDGET // len(rows), 1), MAX_REPEATS)
    for seen, tested in RepeatedKFold(n_splits=FOLDS, n_repeats=repeats, random_state=0).split(rows):
        transformer = build_transformer(problem)
        learned = transformer.fit_transform(inputs.iloc[seen])
        yield learned, target[seen], transformer.transform(inputs.iloc[tested]), target[tested]


def _score(candidate: Mapping[str, Any], setting: Mapping[str, Any], fold: Fold) -> Iterable[float]:
    features, target, tested, true = fold
    try:
        estimator = find_candidate(candidate["estimator"]).build(setting)
        return score_predictions(true, estimator.fit(features, target).predict(tested)).values()
    except Exception as error:
        raise CandidateError(f"{candidate['name']} with {json.dumps(setting)} cannot be fitted: {error}") from error
