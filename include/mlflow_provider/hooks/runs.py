"""MLflow's tracking API: runs, their metrics, parameters and tags."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict

from .fields import Tags, given, tag_list
from .rest import API, MLflowRestHook

RunStatus = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
RunView = Literal["ACTIVE_ONLY", "DELETED_ONLY", "ALL"]


class Metric(TypedDict):
    """One value of a metric.

    ``timestamp`` is in ms since 1970 and now if left out, ``step`` is 0 if left out.
    """

    key: str
    value: float
    timestamp: NotRequired[int]
    step: NotRequired[int]


class RunAPI(MLflowRestHook):
    """Methods of ``mlflow.MlflowClient`` for runs, in its words, over REST."""

    def create_run(
        self,
        experiment_id: str,
        start_time: int | None = None,
        tags: Tags | None = None,
        run_name: str | None = None,
    ) -> dict[str, Any]:
        """Start a run; it is RUNNING until :meth:`set_terminated`.

        :param start_time: ms since 1970, now if not given
        :param tags: ``{key: value}`` or ``[{"key": key, "value": value}]``
        :param run_name: MLflow invents one if not given
        :return: as in https://mlflow.org/docs/latest/rest-api.html#create-run
        :raises MLflowAPIError: there is no such experiment
        """
        start_time = _now() if start_time is None else start_time
        body = given(experiment_id=experiment_id, tags=tag_list(tags), run_name=run_name)
        return self.call("POST", f"{API}/runs/create", {**body, "start_time": start_time})["run"]

    def get_run(self, run_id: str) -> dict[str, Any]:
        """Return a run: its info, data and inputs.

        :return: as in https://mlflow.org/docs/latest/rest-api.html#get-run
        :raises MLflowAPIError: there is no such run
        """
        return self.call("GET", f"{API}/runs/get", {"run_id": run_id})["run"]

    def search_runs(
        self,
        experiment_ids: Sequence[str],
        filter_string: str = "",
        run_view_type: RunView = "ACTIVE_ONLY",
        order_by: Sequence[str] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yield the runs that match, all pages of them.

        :param filter_string: such as ``metrics.rmse < 1.3 and params.alpha = '10'``
        :param order_by: such as ``["metrics.rmse ASC"]``; newest first if not given
        :return: runs as in https://mlflow.org/docs/latest/rest-api.html#search-runs
        :raises MLflowAPIError: MLflow cannot read the filter or the order
        """
        body = given(
            experiment_ids=list(experiment_ids),
            filter=filter_string,
            run_view_type=run_view_type,
            order_by=list(order_by or ()),
        )
        return self.pages(f"{API}/runs/search", "runs", body, method="POST")

    def update_run(self, run_id: str, status: RunStatus | None = None, name: str | None = None) -> dict[str, Any]:
        """Give a run another status or name.

        :return: its info, as in https://mlflow.org/docs/latest/rest-api.html#update-run
        :raises MLflowAPIError: there is no such run or status
        """
        body = given(run_id=run_id, status=status, run_name=name)
        return self.call("POST", f"{API}/runs/update", body)["run_info"]

    def set_terminated(
        self, run_id: str, status: RunStatus = "FINISHED", end_time: int | None = None
    ) -> dict[str, Any]:
        """End a run.

        :param end_time: ms since 1970, now if not given
        :return: its info, as in https://mlflow.org/docs/latest/rest-api.html#update-run
        :raises MLflowAPIError: there is no such run or status
        """
        end_time = _now() if end_time is None else end_time
        body = {"run_id": run_id, "status": status, "end_time": end_time}
        return self.call("POST", f"{API}/runs/update", body)["run_info"]

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric] = (),
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> None:
        """Log metrics, parameters and tags in one request; if MLflow refuses one, others may be logged.

        MLflow takes up to 1000 metrics, 100 parameters and 100 tags, 1000 altogether:
        https://mlflow.org/docs/latest/rest-api.html#log-batch

        :param metrics: ``[{"key": "rmse", "value": 1.26, "step": 3}]``; values may be infinite or NaN
        :param params: name and value; a value once logged cannot change
        :param tags: key and value
        :raises MLflowAPIError: there is no such run, a limit is exceeded, or a parameter has another value
        """
        now = _now()
        body = {
            "run_id": run_id,
            "metrics": [{"timestamp": now, "step": 0, **metric, "value": _json(metric["value"])} for metric in metrics],
            "params": [{"key": key, "value": str(value)} for key, value in (params or {}).items()],
            "tags": [{"key": key, "value": str(value)} for key, value in (tags or {}).items()],
        }
        self.call("POST", f"{API}/runs/log-batch", body)

    def get_metric_history(self, run_id: str, key: str) -> Iterator[dict[str, Any]]:
        """Yield every value that a metric had, all pages of them.

        :return: ``key``, ``value`` (a float), ``timestamp`` (ms since 1970) and ``step``, and whatever else is in
            https://mlflow.org/docs/latest/rest-api.html#get-metric-history
        :raises MLflowAPIError: there is no such run
        """
        query = {"run_id": run_id, "metric_key": key}
        for metric in self.pages(f"{API}/metrics/get-history", "metrics", query):
            yield {**metric, "value": float(metric["value"])}


def _now() -> int:
    return time.time_ns() // 1_000_000


def _json(value: float) -> float | str:
    """Return a number that JSON can hold, or its name in protobuf's JSON, in which MLflow speaks."""
    number = float(value)
    if math.isnan(number):
        return "NaN"
    return number if math.isfinite(number) else f"{'-' if number < 0 else ''}Infinity"
