"""The model that MLflow stores: what predicts a possum's tail length, with an interval, wherever it is loaded.

MLflow stores this file with the model and runs it there ("models from code"). The environment it runs in has
neither Airflow nor anything else of this project, so nothing of it is imported here.
https://mlflow.org/docs/latest/ml/model/models-from-code/
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel

MISCOVERAGE = 0.1  # of the intervals: nine in ten tails are to lie inside
PARTS = "parts"  # the artifact that holds what was fitted
# What skops may build besides its own list: types of categories, and trees, which hold numbers only.
TRUSTED = ["numpy.dtype", "sklearn.tree._tree.Tree"]


class PossumModel(PythonModel):
    """Raw rows in; ``prediction``, ``lower`` and ``upper`` in cm out, one row each, index kept.

    The intervals are CV+ (Barber, Candes, Ramdas and Tibshirani 2021, Predictive inference with the jackknife+,
    Annals of Statistics 49, section 3). Whatever the distribution, they hold at least 80 % of new animals, less
    about sqrt(2 / n); where models are stable, close to 90 %.

    :param model: the model fitted on all n training animals
    :param fold_models: models fitted on all animals but those of one fold
    :param folds: the fold, 0 to K - 1, of each training animal
    :param residuals: of each training animal, the absolute error (cm) of the model that has not seen it
    """

    def __init__(
        self,
        model: Any = None,
        fold_models: Sequence[Any] = (),
        folds: Sequence[int] | np.ndarray = (),
        residuals: Sequence[float] | np.ndarray = (),
    ) -> None:
        self.model = model
        self.fold_models = fold_models
        self.folds = np.asarray(folds, dtype=int)
        self.residuals = np.asarray(residuals, dtype=float)

    def save(self, file: Path) -> None:
        """Write what was fitted, without pickle."""
        import skops.io

        skops.io.dump(vars(self), file, compression=ZIP_DEFLATED)

    def load_context(self, context: Any) -> None:
        """Read what was fitted, as MLflow asks for when the model is loaded."""
        import skops.io

        vars(self).update(skops.io.load(context.artifacts[PARTS], trusted=TRUSTED))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return ``prediction``, ``lower`` and ``upper`` in cm."""
        unseen = np.column_stack([model.predict(model_input) for model in self.fold_models])
        lower, upper = bounds(unseen[:, self.folds], self.residuals)
        columns = {"prediction": self.model.predict(model_input), "lower": lower, "upper": upper}
        return pd.DataFrame(columns, index=model_input.index, dtype=float)


def bounds(
    unseen: np.ndarray, residuals: np.ndarray, miscoverage: float = MISCOVERAGE
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the CV+ interval of each of m rows.

    :param unseen: m x n: of each row, what is predicted by the model that has not seen training animal 1, 2, ... n
    :param residuals: n absolute errors of these models, each for its animal
    :param miscoverage: the share of animals that may lie outside
    :return: lower and upper ends, m each
    :raises ValueError: if n is too small for an interval of that kind to be finite
    """
    count = len(residuals)
    rank = int(miscoverage * (count + 1) + 1e-9)  # products such as 0.1 * 30 are not whole in binary
    if rank < 1:
        raise ValueError(f"{count} animals are too few for intervals that {1 - miscoverage:.0%} of animals lie in")
    lower = np.sort(unseen - residuals, axis=1)[:, rank - 1]
    upper = np.sort(unseen + residuals, axis=1)[:, count - rank]  # the ceil((1 - miscoverage)(n + 1))-th smallest
    return lower, upper


mlflow.models.set_model(PossumModel())
