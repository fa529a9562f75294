"""Explanations: how much each input adds to a prediction."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from mlflow.pyfunc import PyFuncModel

EXPLAIN = "explain"  # key of MLflow's params


class CannotExplainError(ValueError):
    """The predictions of the model cannot be explained exactly; the message says why."""


def explain(model: PyFuncModel, rows: pd.DataFrame) -> pd.DataFrame:
    """Return how much each input adds to the predictions of a linear model, or of trees.

    With the base they sum up to the prediction. They are Shapley values, which count from the average of the training
    rows: of a linear model those of independent inputs (Lundberg and Lee 2017, A unified approach to interpreting model
    predictions, NeurIPS, section 4.1), of trees those along their paths (Lundberg et al. 2020, Nature Machine
    Intelligence 2: 56-67).

    :param rows: checked rows
    :return: ``base`` in the target's unit, and ``contributions``: a dictionary by input
    :raises CannotExplainError: the model is neither, or package shap is not installed
    """
    try:
        pipeline = model.unwrap_python_model().model
        encoder, regressor, target = pipeline[0][0], pipeline[-1].regressor_, pipeline[-1].transformer_
        features = pipeline[:-1].transform(rows)
        if hasattr(regressor, "coef_"):
            terms, base = features * regressor.coef_, regressor.intercept_
        else:
            explainer = _build_explainer(regressor)
            terms, base = explainer.shap_values(features, check_additivity=False), np.ravel(explainer.expected_value)[0]
    except (AttributeError, TypeError):
        raise CannotExplainError(
            f'only linear models and trees can explain predictions: ask without "{EXPLAIN}"'
        ) from None
    owners = np.array(list(_list_owners(encoder)))
    sums = {name: terms[:, owners == name].sum(axis=1) * target.scale_[0] for name in rows}
    contributions = pd.DataFrame(sums, index=rows.index).to_dict(orient="records")
    return pd.DataFrame(
        {"base": float(base * target.scale_[0] + target.mean_[0]), "contributions": contributions}, index=rows.index
    )


@lru_cache(maxsize=1)
def _build_explainer(regressor: Any) -> Any:
    try:
        import shap
    except ImportError:
        raise CannotExplainError(
            f'the model server lacks the package shap, which explains trees: install it, or ask without "{EXPLAIN}"'
        ) from None
    try:
        return shap.TreeExplainer(regressor)
    except shap.utils._exceptions.InvalidModelError as error:
        raise TypeError(*error.args) from error


def _list_owners(encoder: Any) -> Iterator[str]:
    """Yield for each feature the input that it is made from."""
    for name, transformer, columns in encoder.transformers_:
        if name == "category":
            # Named by place, because the name of an input may be the beginning of another one's.
            features = transformer[-1].get_feature_names_out([str(place) for place in range(len(columns))])
            yield from (columns[int(feature.partition("_")[0])] for feature in features)
        else:
            yield from columns
