"""Explanations: how much each input adds to a prediction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

EXPLAIN = "explain"  # key of MLflow's params


class CannotExplainError(ValueError):
    """The model is not one whose predictions can be explained exactly; the message says which."""


def explain(model: PyFuncModel, rows: pd.DataFrame) -> pd.DataFrame:
    """Return how much each input adds to the predictions of a linear model.

    With the base they sum up to the prediction. They count from the average training row, whose prediction is the
    base. These are the Shapley values of a linear model if inputs are taken as independent (Lundberg and Lee 2017, A
    unified approach to interpreting model predictions, NeurIPS, section 4.1).

    :param rows: checked rows
    :return: ``base`` in the target's unit, and ``contributions``: a dictionary by input
    :raises CannotExplainError: the model is not linear
    """
    try:
        pipeline = model.unwrap_python_model().model
        encoder, regressor, target = pipeline[0][0], pipeline[-1].regressor_, pipeline[-1].transformer_
        coefficients = regressor.coef_ * target.scale_
    except (AttributeError, TypeError):
        raise CannotExplainError(f'only linear models can explain predictions: ask without "{EXPLAIN}"') from None
    terms = pipeline[:-1].transform(rows) * coefficients
    owners = np.array(list(_list_owners(encoder)))
    sums = {name: terms[:, owners == name].sum(axis=1) for name in rows}
    base = float(regressor.intercept_ * target.scale_[0] + target.mean_[0])
    contributions = pd.DataFrame(sums, index=rows.index).to_dict(orient="records")
    return pd.DataFrame({"base": base, "contributions": contributions}, index=rows.index)


def _list_owners(encoder: Any) -> Iterator[str]:
    """Yield for each feature the input that it is made from."""
    for name, transformer, columns in encoder.transformers_:
        if name == "category":
            # Named by place, because the name of an input may be the beginning of another one's.
            features = transformer[-1].get_feature_names_out([str(place) for place in range(len(columns))])
            yield from (columns[int(feature.partition("_")[0])] for feature in features)
        else:
            yield from columns
