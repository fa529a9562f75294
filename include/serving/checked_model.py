"""A model behind checks of its inputs and predictions."""

from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST
from mlflow.pyfunc import PyFuncModel

from include.data.checks import check_inputs
from include.data.predictions import UNSEEN, PredictionError, check_predictions, describe_warnings
from include.data.reading import TableError
from include.problem import PROBLEM
from include.serving.explanation import EXPLAIN, CannotExplainError, explain
from include.settings import MAX_REQUEST_ROWS


class TooManyRowsError(MlflowException):
    """A request has more rows than one may have; the response has status 413."""


class CheckedModel:
    """A model that checks values before and after it predicts; MLflow checks only names and types of columns.

    Each request has its own instance, which keeps the rows.

    :ivar inputs: the checked rows, after a prediction
    :ivar refused: rows of the request if they, or their predictions, cannot be used
    """

    def __init__(self, model: PyFuncModel) -> None:
        self.model = model
        self.metadata = model.metadata
        self.inputs = pd.DataFrame()
        self.refused = 0

    def predict(self, rows: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return the model's columns, ``unseen`` replaced by ``warnings``: a text, empty if there is nothing to say.

        :param params: with ``explain: true``, there are two columns more: ``base`` and ``contributions``
        :raises MlflowException: rows or predictions cannot be used; the response has status 400 and names every error
        """
        if len(rows) > MAX_REQUEST_ROWS:
            raise TooManyRowsError(f"a request may have {MAX_REQUEST_ROWS:,} rows", error_code=BAD_REQUEST)
        unexpected = PROBLEM.limits.unexpected
        try:
            checked = check_inputs(rows, PROBLEM, "the request", with_id=False, first=1, unexpected=unexpected)
            self.inputs = checked[PROBLEM.inputs]
            others = {name: value for name, value in (params or {}).items() if name != EXPLAIN}
            predicted = _describe(self.model.predict(self.inputs, params=others or None), self.inputs)
            wanted = params is not None and params.get(EXPLAIN) is True
            return predicted.join(explain(self.model, self.inputs)) if wanted else predicted
        except (TableError, PredictionError, CannotExplainError) as error:
            self.refused = 0 if isinstance(error, CannotExplainError) else len(rows)
            raise MlflowException(str(error), error_code=BAD_REQUEST) from None


def _describe(predicted: Any, inputs: pd.DataFrame) -> pd.DataFrame:
    """Return predictions with the column ``warnings``; one that is impossible is a PredictionError."""
    named = predicted if isinstance(predicted, pd.DataFrame) else pd.DataFrame({"prediction": predicted})
    named = named.set_axis(inputs.index)
    check_predictions(named["prediction"], PROBLEM, pd.Series(inputs.index + 1).map("row {}".format))
    unseen = named.get(UNSEEN, pd.Series("", inputs.index))
    return named.drop(columns=UNSEEN, errors="ignore").assign(warnings=describe_warnings(inputs, unseen, PROBLEM))
