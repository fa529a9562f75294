"""MLflow's tracking API: experiments and logged models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from ..exceptions import MLflowAPIError, MLflowConnectionError, MLflowError
from .fields import given
from .rest import API, MLflowRestHook


class TrackingAPI(MLflowRestHook):
    """Methods of ``mlflow.MlflowClient`` for experiments and logged models, in its words, over REST."""

    def search_experiments(self) -> Iterator[dict[str, Any]]:
        """Yield every active experiment, all pages of them.

        :return: experiments as in https://mlflow.org/docs/latest/rest-api.html#search-experiments
        """
        return self.pages(f"{API}/experiments/search", "experiments")

    def get_experiment_by_name(self, name: str) -> dict[str, Any] | None:
        """Return an experiment, deleted ones included, or None if there is none of this name.

        :return: as in https://mlflow.org/docs/latest/rest-api.html#get-experiment-by-name
        """
        try:
            answer = self.call("GET", f"{API}/experiments/get-by-name", {"experiment_name": name})
        except MLflowAPIError as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return answer["experiment"]

    def create_experiment(self, name: str, exist_ok: bool = False) -> str:
        """Create an experiment and return its id.

        https://mlflow.org/docs/latest/rest-api.html#create-experiment

        :param exist_ok: return the id of an experiment that exists already, created a moment ago or long ago. The
            server is asked for it first, and again after a failure.
        :raises MLflowError: an experiment of this name was deleted, and MLflow keeps its name
        :raises MLflowAPIError: it exists and ``exist_ok`` is False, or the server refused
        """
        if exist_ok and (existing := self._active_experiment(name)):
            return existing["experiment_id"]
        try:
            return self.call("POST", f"{API}/experiments/create", {"name": name})["experiment_id"]
        except MLflowError as error:
            is_taken = getattr(error, "error_code", "") == "RESOURCE_ALREADY_EXISTS"
            with suppress(MLflowConnectionError):
                existing = self._active_experiment(name) if exist_ok or is_taken else None
                if exist_ok and existing:
                    return existing["experiment_id"]
            raise

    def set_experiment_tag(self, experiment_id: str, key: str, value: str) -> None:
        """Set a tag of an experiment, in place of one of the same key.

        https://mlflow.org/docs/latest/rest-api.html#set-experiment-tag

        :raises MLflowAPIError: there is no such experiment
        """
        body = {"experiment_id": experiment_id, "key": key, "value": value}
        self.call("POST", f"{API}/experiments/set-experiment-tag", body)

    def get_logged_model(self, model_id: str) -> dict[str, Any]:
        """Return a logged model, such as ``m-1f0c...``: its info and data.

        :return: as the REST call behind
            https://mlflow.org/docs/latest/api_reference/python_api/mlflow.client.html#mlflow.client.MlflowClient.get_logged_model
        :raises MLflowAPIError: there is no such model
        """
        return self.call("GET", f"{API}/logged-models/{model_id}")["model"]

    def search_logged_models(self, experiment_ids: Sequence[str], filter_string: str = "") -> Iterator[dict[str, Any]]:
        """Yield the logged models that match, all pages of them, newest first.

        :param filter_string: such as ``name = 'model' AND source_run_id = '8e3f...'``
        :return: as the REST call behind
            https://mlflow.org/docs/latest/api_reference/python_api/mlflow.client.html#mlflow.client.MlflowClient.search_logged_models
        :raises MLflowAPIError: MLflow cannot read the filter
        """
        body = given(experiment_ids=list(experiment_ids), filter=filter_string)
        return self.pages(f"{API}/logged-models/search", "models", body, method="POST")

    def _active_experiment(self, name: str) -> dict[str, Any] | None:
        experiment = None
        with suppress(MLflowAPIError):
            experiment = self.get_experiment_by_name(name)
        _refuse_deleted(experiment or {})
        return experiment


def _refuse_deleted(experiment: dict[str, Any]) -> None:
    if experiment.get("lifecycle_stage") == "deleted":
        experiment_id = experiment["experiment_id"]
        raise MLflowError(
            f"Experiment {experiment['name']!r} (id {experiment_id}) is deleted and MLflow keeps its name: "
            f"bring it back with `mlflow experiments restore --experiment-id {experiment_id}` or use another name"
        )
