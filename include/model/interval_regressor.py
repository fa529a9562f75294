"""The model that MLflow stores: predictions with intervals, wherever it is loaded.

MLflow stores this file with the model and runs it there ("models from code"). That environment has neither Airflow
nor this project installed, so nothing of the project is imported here.
https://mlflow.org/docs/latest/ml/model/models-from-code/
"""

from __future__ import annotations

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
TRUSTED = ["numpy.dtype", "sklearn.tree._tree.Tree"]
CELLS = 10**6  # computed at a time, to limit memory


class IntervalRegressor(PythonModel):
    """Raw rows in; ``prediction``, ``lower`` and ``upper`` (target's unit) and ``unseen`` out, with the rows' index.

    ``unseen`` names the categorical inputs whose level no training row had, such as ``"site, sex"``: what the model
    predicts for such a level is a guess, and so is the interval.

    The intervals are CV+ (Barber, Candes, Ramdas and Tibshirani 2021, Predictive inference with the jackknife+,
    Annals of Statistics 49, section 3). For any distribution they cover at least 80 % of new rows, less about
    sqrt(2 / n); for stable models, close to 90 %.

    :param model: the model fitted on all training rows
    :param fold_models: models fitted on all rows but those of one fold
    :param folds: array: the fold, 0 to K - 1, of each of n training rows
    :param residuals: array: absolute errors of these rows, each predicted by the model fitted without its fold
    :param levels: by the name of each categorical input, the levels of the training rows
    """

    def __init__(
        self,
        model: Any = None,
        fold_models: Sequence[Any] = (),
        folds: Any = (),
        residuals: Any = (),
        levels: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.model = model
        self.fold_models = fold_models
        self.folds = folds
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
        lower, upper = bounds(by_fold, self.folds, self.residuals)
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


def bounds(
    by_fold: np.ndarray, folds: np.ndarray, residuals: np.ndarray, miscoverage: float = MISCOVERAGE
) -> np.ndarray:
    """Return the bounds of the CV+ interval of m rows.

    :param by_fold: m x K: the predictions of each fold's model
    :param folds: the fold of each of n training rows
    :param residuals: n absolute errors, each of the model fitted without the row's fold
    :param miscoverage: share of the rows that may lie outside
    :return: 2 x m: lower and upper bounds
    :raises ValueError: n is too small for a finite interval
    """
    count = len(residuals)
    rank = int(miscoverage * (count + 1) + 1e-9)  # products such as 0.1 * 30 are not whole in binary
    if rank < 1:
        raise ValueError(f"{count} rows are too few for intervals that cover {1 - miscoverage:.0%}")

    def compute(part: np.ndarray) -> np.ndarray:
        unseen = part[:, folds]
        lower = np.partition(unseen - residuals, rank - 1)[:, rank - 1]
        upper = np.partition(unseen + residuals, count - rank)[:, count - rank]
        return np.stack([lower, upper])

    return np.hstack([compute(part) for part in np.array_split(by_fold, ceil(len(by_fold) * count / CELLS))])


mlflow.models.set_model(IntervalRegressor())
