"""The challenger in the champion's shadow: it predicts the champion's requests too, for the log alone."""

import logging
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from include.services import champions
from include.services.tracking import load_model

PIECE = 1000  # rows that are predicted together: an error loses the predictions of no others

log = logging.getLogger(__name__)


class Shadow:
    """The oldest version that waits for a verdict, as long as there is one.

    The request log calls it in its own thread. If a version cannot predict some rows, only its predictions of these are
    missing in the log.
    """

    def __init__(self) -> None:
        self.version = ""  # that predicts now; empty if none does
        self.rows = self.failures = 0  # rows predicted, and errors
        self._model: Any = None
        self._last_error = ""

    def __call__(self, inputs: pa.Table) -> tuple[str, np.ndarray] | None:
        """Return the version and its predictions, NaN for those that fail, or None if none waits."""
        try:
            self._follow()
        except Exception as error:  # of MLflow: the version that is loaded goes on
            self._note(error)
        if not self.version:
            return None
        rows = inputs.to_pandas()
        predicted = np.concatenate([self._predict(rows[start : start + PIECE]) for start in range(0, len(rows), PIECE)])
        self.rows += int(np.isfinite(predicted).sum())
        return self.version, predicted

    def _predict(self, rows: pd.DataFrame) -> np.ndarray:
        try:
            predicted = self._model.predict(rows)
            values = np.asarray(predicted["prediction"] if isinstance(predicted, pd.DataFrame) else predicted, float)
            if not (finite := np.isfinite(values)).all():
                self._note(ValueError(f"version {self.version} predicts what is not a number"))
            return np.where(finite, values, np.nan)
        except Exception as error:  # a model may raise anything, and the rows must be logged
            self._note(error)
            return np.full(len(rows), np.nan)

    def _note(self, error: Exception) -> None:
        """Count an error, and log it once."""
        self.failures += 1
        if str(error) != self._last_error:
            log.error("A version in the champion's shadow does not predict all rows", exc_info=error)
        self._last_error = str(error)

    def _follow(self) -> None:
        """Load the oldest version that waits, if it is not loaded yet."""
        waiting = champions.waiting()
        version = waiting[0]["version"] if waiting else ""
        if version == self.version:
            return
        self.version, self._model = "", None
        if version:
            champions.check_inputs(version)
            self._model = load_model(champions.model_uri(version))
            self.version = version
            log.info("Version %s predicts in the champion's shadow", version)
