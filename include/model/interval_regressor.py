"""The model that MLflow stores: predictions with intervals, wherever it is loaded.

MLflow stores this file with the model and runs it there ("models from code"). That environment has neither Airflow
nor this project installed, so nothing of the project is imported here.
https://mlflow.org/docs/latest/ml/model/models-from-code/
"""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel

MISCOVERAGE = 0.1  # share of the rows that may lie outside of their interval
PARTS = "parts"  # name of the artifact with the fitted parts
# Types that skops may load in addition to its own list: those of categories, and trees, which hold numbers only.
TRUSTED = [
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
]
CELLS = 10**5  # computed at a time, to limit memory


class IntervalRegressor(PythonModel):
    """Raw rows in; ``prediction``, ``lower`` and ``upper`` (target's unit) and ``unseen`` out, with the rows' index.

    ``unseen`` names the categorical inputs whose level no training row had, such as ``"site, sex"``: what the model
    predicts for such a level is a guess, and so is the interval.

    The intervals are CV+ (Barber, Candes, Ramdas and Tibshirani 2021, Predictive inference with the jackknife+,
    Annals of Statistics 49, section 3). For any distribution they cover at least 80 % of new rows, less about
    sqrt(2 / n); for stable models, close to 90 %.

    :param model: the model fitted on all training rows
    :param fold_models: models fitted on all rows but those of one fold
    :param residuals: for each fold the absolute errors of its rows, predicted by the model fitted without them
    :param levels: by the name of each categorical input, the levels of the training rows
    """

    def __init__(
        self,
        model: Any = None,
        fold_models: Sequence[Any] = (),
        residuals: Sequence[np.ndarray] = (),
        levels: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.model = model
        self.fold_models = fold_models
        self.residuals = residuals
        self.levels = levels or {}

    def save(self, file: Path) -> None:
        """Write the fitted parts, without pickle."""
        import skops.io

        skops.io.dump(vars(self), file, compression=ZIP_DEFLATED)

    def load_context(self, context: Any) -> None:
        """Read the fitted parts; MLflow calls this when it loads the model."""
        import skops.io

        vars(self).update(skops.io.load(context.artifacts[PARTS], trusted=TRUSTED))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return ``prediction``, ``lower``, ``upper`` and ``unseen``."""
        by_fold = np.column_stack([model.predict(model_input) for model in self.fold_models])
        lower, upper = bounds(by_fold, self.residuals)
        columns = {"prediction": self.model.predict(model_input), "lower": lower, "upper": upper}
        predicted = pd.DataFrame(columns, index=model_input.index, dtype=float)
        return predicted.assign(unseen=find_unseen(model_input, self.levels))


def fill(cells: pd.Series) -> pd.Series:
    """Return levels as text; that of missing cells is empty, as no text in a table is."""
    return cells.astype(object).fillna("")


def find_unseen(rows: pd.DataFrame, levels: Mapping[str, Sequence[str]]) -> np.ndarray:
    """Return for each row the names of the columns whose level is not among the known ones, separated by commas.

    :param levels: the known ones by column, as ``fill`` returns them
    """
    names = np.full(len(rows), "", dtype=object)
    for column, known in levels.items():
        unseen = ~fill(rows[column]).isin(known).to_numpy()
        names[unseen] += np.where(names[unseen] == "", "", ", ").astype(object) + column
    return names


def bounds(by_fold: np.ndarray, residuals: Sequence[np.ndarray], miscoverage: float = MISCOVERAGE) -> np.ndarray:
    """Return the bounds of the CV+ interval of m rows.

    :param by_fold: m x K: the predictions of each fold's model
    :param residuals: for each of the K folds the absolute errors of its rows, predicted by this model; n in all
    :param miscoverage: share of the rows that may lie outside
    :return: 2 x m: lower and upper bounds
    :raises ValueError: n is too small for a finite interval
    """
    lists, rank = sort_residuals(residuals, miscoverage)
    parts = np.array_split(by_fold, ceil(by_fold.size / CELLS))
    # The smallest of prediction - residual are, with the other sign, the largest of residual - prediction.
    return np.hstack([[-select_largest(-part, lists, rank), select_largest(part, lists, rank)] for part in parts])


def sort_residuals(residuals: Sequence[np.ndarray], miscoverage: float = MISCOVERAGE) -> tuple[np.ndarray, int]:
    """Return lists and rank for ``select_largest``.

    :raises ValueError: there are too few residuals for a finite interval
    """
    count = sum(map(len, residuals))
    rank = int(miscoverage * (count + 1) + 1e-9)  # products such as 0.1 * 30 are not whole in binary
    if rank < 1:
        raise ValueError(f"{count} rows are too few for intervals that cover {1 - miscoverage:.0%}")
    lists = np.full((len(residuals), max(map(len, residuals)) + 1), -np.inf)
    for fold, errors in enumerate(residuals):
        lists[fold, : len(errors)] = np.sort(errors)[::-1]
    return lists, rank


def select_largest(shifts: np.ndarray, lists: np.ndarray, rank: int) -> np.ndarray:
    """Return for each of m rows the value of a rank, counted from the largest, among the sums of shifts and lists.

    Take the largest of the values at place s of all K lists. At most K (s - 1) values are larger. So with
    s = 1 + (rank - 1) // K, the first s values of its list are among the `rank` largest. Set them aside, and search
    for the others. That takes about K log(rank) steps, each of m K operations. The smallest value set aside is the one.

    :param shifts: m x K
    :param lists: K rows, each in descending order and ended by minus infinity
    :param rank: 1 for the largest value; at most the number of finite values
    """
    rows, folds, end = np.arange(len(shifts)), np.arange(len(lists)), lists.shape[1] - 1
    taken, smallest = np.zeros(shifts.shape, dtype=int), np.full(len(shifts), np.inf)
    while rank:
        step = 1 + (rank - 1) // len(lists)
        values = shifts + lists[folds, np.minimum(taken + step - 1, end)]
        fold = values.argmax(axis=1)
        smallest = np.minimum(smallest, values[rows, fold])
        taken[rows, fold] += step
        rank -= step
    return smallest


mlflow.models.set_model(IntervalRegressor())
