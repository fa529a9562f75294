"""Predictions beside the true values, and beside the rows that they were made from."""

import numpy as np
import pandas as pd

from include.data.checks import describe_unexpected
from include.data.schema import MAX_SHOWN, describe_range, is_possible
from include.spec import SPLIT, Problem

INTERVAL = ["lower", "upper"]  # ends of the 90 % prediction interval, in the target's unit
UNSEEN = "unseen"  # the model's own column: the categories whose level no training row had


class PredictionError(ValueError):
    """Predictions must not be published; the message names the rows."""


def compare(target: pd.DataFrame, predicted: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Put predictions beside the true values.

    :param target: columns ``problem.id``, the target (may be missing) and ``_split``; with ``problem.inputs``, the
        warnings name their cells
    :param predicted: as in :func:`attach`
    :return: columns ``problem.id``, ``true``, ``predicted``, ``lower``, ``upper``, ``split`` and ``warnings``, one row
        for each of `target`; the interval is empty where the model gave none
    :raises PredictionError: as in :func:`attach`
    """
    columns = [problem.id, problem.target.name, "predicted", *INTERVAL, SPLIT, "warnings"]
    return attach(target, predicted, problem)[columns].rename(columns={problem.target.name: "true", SPLIT: "split"})


def attach(rows: pd.DataFrame, predicted: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Add the columns ``predicted``, ``lower``, ``upper`` and ``warnings`` to rows.

    :param rows: any columns, ``problem.id`` among them
    :param predicted: columns ``prediction`` and, of a model that gives them, ``lower``, ``upper`` and ``unseen``,
        indexed by ``problem.id``
    :raises PredictionError: a row has no finite prediction, or one that is impossible
    """
    if not predicted.index.is_unique:
        raise PredictionError(f"the predictions have the same {problem.id} more than once")
    known = predicted.reindex(rows[problem.id]).set_axis(rows.index)
    known = known.reindex(columns=["prediction", *INTERVAL, UNSEEN])
    check_predictions(known["prediction"], problem, rows[problem.id].map(f"{problem.id} {{}}".format))
    ends = {end: known[end].astype(float) for end in INTERVAL}
    warnings = describe_warnings(rows, known[UNSEEN], problem)
    return rows.assign(predicted=known["prediction"].astype(float), **ends, warnings=warnings)


def check_predictions(predictions: pd.Series, problem: Problem, names: pd.Series) -> None:
    """Check that predictions may be published.

    :param names: of the rows, for messages
    :raises PredictionError: one is not finite, or outside of the target's possible range
    """
    numbers = predictions.astype(float)
    missing, impossible = ~np.isfinite(numbers), ~is_possible(numbers, problem.target)
    if missing.any():
        raise PredictionError(f"{missing.sum()} rows have no prediction, such as {', '.join(names[missing].head())}")
    if impossible.any():
        possible = describe_range(problem.target.possible, problem.target.unit)
        found = [f"{name}: {number:g}" for name, number in zip(names[impossible], numbers[impossible], strict=True)]
        raise PredictionError(
            f"{len(found)} predictions are impossible ({possible}): {', '.join(found[:MAX_SHOWN])}. "
            "The model does not fit these rows"
        )


def describe_warnings(rows: pd.DataFrame, unseen: pd.Series, problem: Problem) -> pd.Series:
    """Return a text for each row that says what its prediction may suffer from, empty if nothing is known.

    :param rows: any of the columns ``problem.inputs``
    :param unseen: names of categories, with commas between them, in the index of `rows`; may be missing
    """
    texts = describe_unexpected(rows, problem)
    unseen = unseen.astype(object).where(unseen.notna(), "").str.split(", ")
    for name in [name for name in problem.categories if name in rows]:
        new = [name in names for names in unseen]
        levels = rows.loc[new, name].astype(object).where(rows.loc[new, name].notna(), "missing")
        texts[levels.index] += levels.map(
            f"; no training row has {name} {{}}: the prediction may be wrong, its interval too narrow".format
        )
    return texts.str.removeprefix("; ").astype("str")
