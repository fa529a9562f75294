"""Metrics of the models behind registered versions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .model_versions import ModelVersionAPI, logged_model_id
from .runs import RunAPI
from .tracking import TrackingAPI


class VersionMetricAPI(TrackingAPI, RunAPI, ModelVersionAPI):
    """Finds what was measured of a version; ``mlflow.MlflowClient`` has no method for that."""

    def get_model_version_metric(self, version: Mapping[str, Any], key: str) -> float | None:
        """Return a metric of the model behind a version, or None if it has none of this name.

        What was logged for the model itself (``model_id``) counts, the newest value of it, whichever run
        measured it. If there is none, the last value of the run that made the model counts.

        :param version: as :meth:`get_model_version` returns it
        :return: may be infinite or NaN
        :raises MLflowAPIError: the run or the logged model is gone
        """
        if measured := self._model_metrics(version, key):
            newest = max(measured, key=lambda metric: (metric["timestamp"], metric["step"]))
            return float(newest["value"]) or self._zero_or_nan(newest)
        return self._run_metric(version, key)

    def _model_metrics(self, version: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
        model_id = version.get("model_id") or logged_model_id(version.get("source", ""))
        data = self.get_logged_model(model_id)["data"] if model_id else {}
        return [metric for metric in data.get("metrics", []) if metric["key"] == key]

    def _run_metric(self, version: Mapping[str, Any], key: str) -> float | None:
        run_id = version.get("run_id")
        data = self.get_run(run_id)["data"] if run_id else {}
        return next((float(metric["value"]) for metric in data.get("metrics", []) if metric["key"] == key), None)

    def _zero_or_nan(self, metric: Mapping[str, Any]) -> float:
        # MLflow 3.17 keeps a NaN of a logged model as 0, which would pass for a perfect error. The run knows.
        moment = (metric["timestamp"], metric["step"])
        history = self.get_metric_history(metric["run_id"], metric["key"])
        logged = (item["value"] for item in history if (item["timestamp"], item["step"]) == moment)
        return math.nan if any(math.isnan(value) for value in logged) else 0.0
