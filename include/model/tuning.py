"""Scores of candidates in repeated cross-validation, and the choice among them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import ParameterGrid, RepeatedKFold

from include.config import RAW, TARGET
from include.data.features import PREFIX, build_transformer, compute_features
from include.evaluation.scores import score_predictions
from include.model.candidates import NAMES, find_candidate

log = logging.getLogger(__name__)

FOLDS, REPEATS = 5, 10
# How much the standard error of one and the same score grows because folds share most of their training rows.
OVERLAP = 1 / (FOLDS - 1)  # test rows to training rows
SETTING = ["candidate", "estimator", "hyper_parameters"]


class CandidateError(ValueError):
    """A candidate cannot be fitted or scored; the message names it and its hyper-parameters."""


def make_folds(training: pd.DataFrame) -> pd.DataFrame:
    """Return the folds that all candidates are scored on: 5-fold cross-validation, repeated 10 times.

    Encoder and scaler are fitted anew inside each fold, on the rows that are not tested.

    :param training: training animals: columns ``RAW`` and ``taill``
    :return: a row for each fold and animal: its features in this fold, ``taill``, ``fold`` and ``tested``
    """
    splits = RepeatedKFold(n_splits=FOLDS, n_repeats=REPEATS, random_state=0).split(training)
    return pd.concat([_make_fold(training, fold, tested) for fold, (_, tested) in enumerate(splits)], ignore_index=True)


def score_candidate(candidate: Mapping[str, Any], folds: pd.DataFrame) -> pd.DataFrame:
    """Score each setting of a candidate on each fold.

    :param candidate: ``name``, ``estimator`` and ``grid``
    :param folds: as ``make_folds`` returns them
    :return: a row for each fold and setting: ``candidate``, ``estimator``, ``hyper_parameters`` (JSON), ``fold``,
        ``rmse`` and ``mae`` (cm), ``r2``
    :raises CandidateError: if a setting cannot be fitted
    """
    rows = [
        {"candidate": candidate["name"], "estimator": candidate["estimator"], "fold": fold, **score}
        for fold, animals in folds.groupby("fold")
        for score in _score_fold(candidate, animals)
    ]
    return pd.DataFrame(rows)


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Return mean, standard deviation and, of the RMSE, standard error over the folds of each setting.

    The standard error is corrected for the overlap of the folds (Nadeau and Bengio 2003, Inference for the
    Generalization Error, Machine Learning 52; for repeated folds Bouckaert and Frank 2004): without it, more
    repeats would make it as small as one likes, though the animals stay as few as they are.

    :param scores: as ``score_candidate`` returns them, of one or several candidates
    :return: a row for each setting, best first: ``candidate``, ``estimator``, ``hyper_parameters``,
        ``cv_rmse_mean``, ``cv_rmse_std``, ``cv_rmse_se``, and mean and standard deviation of MAE and R2
    """
    folds = scores.groupby(SETTING, sort=False)
    summary = pd.DataFrame(
        {
            f"cv_{score}_{statistic}": folds[score].agg(statistic)
            for score in ("rmse", "mae", "r2")
            for statistic in ("mean", "std")
        }
    )
    summary["cv_rmse_se"] = np.sqrt(1 / folds.size() + OVERLAP) * summary["cv_rmse_std"]
    return summary.sort_values("cv_rmse_mean", kind="stable").reset_index()


def summarise_all(scores: Sequence[pd.DataFrame], listed: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the summary of all candidates that were scored, and log which were not.

    :param scores: of each candidate, as ``score_candidate`` returns them
    :param listed: the candidates that there are
    :raises CandidateError: if none was scored
    """
    scored = {table["candidate"].iloc[0] for table in scores}
    failed = [candidate["name"] for candidate in listed if candidate["name"] not in scored]
    if not scored:
        raise CandidateError(f"no candidate is left, all of them failed: {', '.join(failed)}; see their own logs")
    if failed:
        log.warning("Failed and left out: %s; their own logs say why", ", ".join(failed))
    return summarise(pd.concat(scores))


def choose(summary: pd.DataFrame) -> dict[str, Any]:
    """Choose by the one-standard-error rule: the simplest candidate that is no worse than the best by more.

    Hastie, Tibshirani and Friedman (2009), The Elements of Statistical Learning, section 7.10. Each candidate
    stands with its best setting; the standard error is the best candidate's.

    :param summary: as ``summarise`` returns it
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
        "reason": _reason(winner, best, limit, len(settings)),
    }


def _make_fold(training: pd.DataFrame, fold: int, tested: np.ndarray) -> pd.DataFrame:
    is_tested = np.isin(np.arange(len(training)), tested)
    transformer = build_transformer().fit(training.loc[~is_tested, RAW])
    features = compute_features(training, transformer)
    return features.assign(**{TARGET: training[TARGET], "fold": fold, "tested": is_tested})


def _score_fold(candidate: Mapping[str, Any], animals: pd.DataFrame) -> list[dict[str, Any]]:
    # A site whose animals are all tested is no feature of this fold. As arrays, because scikit-learn spends more time
    # on the names of columns than on fitting so few rows.
    features = animals.filter(regex=f"^{PREFIX}").dropna(axis="columns", how="all").to_numpy()
    target = animals[TARGET].to_numpy()
    tested = animals["tested"].to_numpy()
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


def _reason(winner: pd.Series, best: pd.Series, limit: float, count: int) -> str:
    if winner["candidate"] == best["candidate"]:
        return f"RMSE {best['cv_rmse_mean']:.3f} cm, the best of {count}, and none that is simpler comes close"
    return (
        f"RMSE {winner['cv_rmse_mean']:.3f} cm, at most {limit:.3f}, which is {best['candidate']}'s "
        f"{best['cv_rmse_mean']:.3f} and one standard error, and simpler"
    )
