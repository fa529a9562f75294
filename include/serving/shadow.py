"""The challenger in the champion's shadow: it predicts the champion's requests too, for the log alone."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from include.services import champions
from include.services.tracking import load_model

log = logging.getLogger(__name__)


class Shadow:
    """The oldest version that waits for a verdict, as long as there is one.

    The request log calls it in its own thread. If a version cannot predict, only its predictions are missing in
    the log.
    """

    def __init__(self) -> None:
        self.version = ""  # that predicts now; empty if none does
        self.rows = self.failures = 0  # rows predicted, and batches that could not be
        self._model: Any = None
        self._last_error = ""

    def __call__(self, inputs: pa.Table) -> tuple[str, np.ndarray] | None:
        """Return the version and its predictions, or None if none waits, or it cannot predict."""
        try:
            self._follow()
            if not self.version:
                return None
            predicted = self._model.predict(inputs.to_pandas())
            values = np.asarray(predicted["prediction"] if isinstance(predicted, pd.DataFrame) else predicted, float)
            if not np.isfinite(values).all():
                raise ValueError(f"version {self.version} predicts what is not a number")
        except Exception as error:  # a model may raise anything, and the rows must be logged
            self.failures += 1
            if str(error) != self._last_error:
                log.exception("No version predicts in the champion's shadow")
            self._last_error = str(error)
            return None
        self.rows += inputs.num_rows
        return self.version, values

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
