"""MLflow's REST API: experiments, runs, logged models, the model registry and the artifact proxy."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict
from urllib.parse import quote

from ..exceptions import MLflowAPIError, MLflowConnectionError, MLflowError
from .rest import API, MLflowRestHook

MODELS = f"{API}/registered-models"
VERSIONS = f"{API}/model-versions"
ARTIFACTS = "api/2.0/mlflow-artifacts/artifacts"
CHUNK = 1 << 20  # bytes

Tags = dict[str, str] | list[dict[str, str]]
RunStatus = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
RunView = Literal["ACTIVE_ONLY", "DELETED_ONLY", "ALL"]

# As MLflow itself reads it: models:/name/3, models:/name/Production, models:/name/latest, models:/name@alias, and any
# of them after three slashes or more. A name may hold an @.
_VERSION_URI = re.compile(r"models:(?:/|/{3,})([^/]+)(?:/([^/]+)|@([^/@]+))")
# models:/m-<id>, or an artifact folder that ends in models/m-<id>/artifacts
_LOGGED_MODEL = re.compile(r"(?:^models:|/models)/+(m-[0-9a-f]+)(?:/artifacts)?/?$")


class Metric(TypedDict):
    """One value of a metric.

    ``timestamp`` is in ms since 1970 and now if left out, ``step`` is 0 if left out.
    """

    key: str
    value: float
    timestamp: NotRequired[int]
    step: NotRequired[int]


class MLflowClientHook(MLflowRestHook):
    """Speaks with an MLflow server over its REST API, https://mlflow.org/docs/latest/rest-api.html.

    :meth:`run` reaches any endpoint with the verb given here; the other methods carry the names and
    arguments of ``mlflow.MlflowClient`` and use the verb that their endpoint wants.

    :param method: HTTP verb of :meth:`run`
    :param mlflow_conn_id: id of the Airflow connection of the MLflow server, with the fields that
        :meth:`MLflowServer.from_connection` reads
    :param auth_type: called with login and password to make a ``requests`` auth
    """

    hook_name = "MLflow Client"

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

    def create_registered_model(
        self, name: str, tags: Tags | None = None, description: str | None = None, exist_ok: bool = False
    ) -> dict[str, Any]:
        """Create a registered model.

        :param tags: ``{key: value}`` or ``[{"key": key, "value": value}]``
        :param exist_ok: return a model that exists already, as it is. The server is asked for it first, and again
            after a failure: of many calls at once one succeeds, and some get "QueuePool limit" from MLflow 3.17.
        :return: as in https://mlflow.org/docs/latest/rest-api.html#create-registeredmodel
        :raises MLflowAPIError: it exists and ``exist_ok`` is False, or the server refused
        """
        if exist_ok and (existing := self._model_if_told(name)):
            return existing
        body = given(name=name, tags=tag_list(tags), description=description)
        try:
            return self.call("POST", f"{MODELS}/create", body)["registered_model"]
        except MLflowError:
            with suppress(MLflowConnectionError):
                if exist_ok and (existing := self._model_if_told(name)):
                    return existing
            raise

    def get_registered_model(self, name: str) -> dict[str, Any] | None:
        """Return a registered model, or None if there is none of this name.

        :return: as in https://mlflow.org/docs/latest/rest-api.html#get-registeredmodel
        """
        try:
            return self._registered_model(name)
        except MLflowAPIError as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def search_registered_models(self, filter_string: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the registered models that match, all pages of them.

        :param filter_string: such as ``name LIKE 'length%'``; all models if not given
        :return: models as in https://mlflow.org/docs/latest/rest-api.html#search-registeredmodels
        """
        return self.pages(f"{MODELS}/search", "registered_models", given(filter=filter_string))

    def get_latest_versions(self, name: str, stages: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return the newest version of each stage; MLflow deprecates stages in favour of aliases.

        :param stages: such as ``["Production"]``; every stage, ``None`` included, if not given
        :return: versions as in https://mlflow.org/docs/latest/rest-api.html#get-latest-modelversions
        :raises MLflowAPIError: there is no such model or stage
        """
        body = given(name=name, stages=stages)
        return self.call("POST", f"{MODELS}/get-latest-versions", body).get("model_versions", [])

    def update_registered_model(self, name: str, description: str) -> dict[str, Any]:
        """Give a registered model another description.

        :return: as in https://mlflow.org/docs/latest/rest-api.html#update-registeredmodel
        :raises MLflowAPIError: there is no such model
        """
        body = {"name": name, "description": description}
        return self.call("PATCH", f"{MODELS}/update", body)["registered_model"]

    def rename_registered_model(self, name: str, new_name: str) -> dict[str, Any]:
        """Give a registered model, with all its versions, another name.

        :return: as in https://mlflow.org/docs/latest/rest-api.html#rename-registeredmodel
        :raises MLflowAPIError: there is no such model, or one of the new name
        """
        body = {"name": name, "new_name": new_name}
        return self.call("POST", f"{MODELS}/rename", body)["registered_model"]

    def delete_registered_model(self, name: str, missing_ok: bool = False) -> None:
        """Delete a registered model with all its versions; the logged models behind them stay.

        https://mlflow.org/docs/latest/rest-api.html#delete-registeredmodel

        :param missing_ok: do nothing if there is no such model
        :raises MLflowAPIError: there is no such model and ``missing_ok`` is False, or the server refused
        """
        self.delete(f"{MODELS}/delete", {"name": name}, missing_ok)

    def set_registered_model_tag(self, name: str, key: str, value: str) -> None:
        """Set a tag of a registered model, in place of one of the same key.

        https://mlflow.org/docs/latest/rest-api.html#set-registered-model-tag

        :raises MLflowAPIError: there is no such model
        """
        self.call("POST", f"{MODELS}/set-tag", {"name": name, "key": key, "value": value})

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        """Remove a tag of a registered model, if it has one of this key.

        https://mlflow.org/docs/latest/rest-api.html#delete-registered-model-tag

        :raises MLflowAPIError: there is no such model
        """
        self.call("DELETE", f"{MODELS}/delete-tag", {"name": name, "key": key})

    def set_registered_model_alias(self, name: str, alias: str, version: str | int) -> None:
        """Point an alias of a registered model to a version.

        https://mlflow.org/docs/latest/rest-api.html#set-registered-model-alias

        :raises MLflowAPIError: there is no such version, or MLflow does not allow this alias
        """
        body = {"name": name, "alias": alias, "version": str(version)}
        self.call("POST", f"{MODELS}/alias", body)

    def get_model_version_by_alias(self, name: str, alias: str) -> dict[str, Any]:
        """Return the version of a registered model that carries an alias.

        :return: as the REST call behind
            https://mlflow.org/docs/latest/api_reference/python_api/mlflow.client.html#mlflow.client.MlflowClient.get_model_version_by_alias
        :raises MLflowAPIError: no version carries it
        """
        return self.call("GET", f"{MODELS}/alias", {"name": name, "alias": alias})["model_version"]

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Take an alias from the version that carries it, if one does.

        https://mlflow.org/docs/latest/rest-api.html#delete-registered-model-alias

        :raises MLflowAPIError: there is no such model
        """
        self.call("DELETE", f"{MODELS}/alias", {"name": name, "alias": alias})

    def _model_if_told(self, name: str) -> dict[str, Any] | None:
        with suppress(MLflowAPIError):
            return self.get_registered_model(name)
        return None

    def _registered_model(self, name: str) -> dict[str, Any]:
        return self.call("GET", f"{MODELS}/get", {"name": name})["registered_model"]

    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str | None = None,
        tags: Tags | None = None,
        run_link: str | None = None,
        description: str | None = None,
        model_id: str | None = None,
        exist_ok: bool = False,
    ) -> dict[str, Any]:
        """Register a model as the next version of a registered model.

        :param source: URI of the model's artifacts, such as ``models:/m-1f0c...``
        :param run_id: the run that made the model
        :param tags: ``{key: value}`` or ``[{"key": key, "value": value}]``
        :param model_id: the logged model; read from ``source`` if that names one
        :param exist_ok: return a version of the same name, source and run if there is one. The server does
            not guard this: two calls at the same moment still make two versions.
        :return: as in https://mlflow.org/docs/latest/rest-api.html#create-modelversion
        :raises MLflowAPIError: the server refused
        """
        if exist_ok and (existing := self._version_of(name, source, run_id)):
            return existing
        body = given(
            name=name,
            source=source,
            run_id=run_id,
            tags=tag_list(tags),
            run_link=run_link,
            description=description,
            model_id=model_id or logged_model_id(source),
        )
        return self.call("POST", f"{VERSIONS}/create", body)["model_version"]

    def get_model_version(self, name: str, version: str | int) -> dict[str, Any]:
        """Return one version of a registered model.

        :return: as in https://mlflow.org/docs/latest/rest-api.html#get-modelversion
        :raises MLflowAPIError: there is no such version
        """
        query = {"name": name, "version": str(version)}
        return self.call("GET", f"{VERSIONS}/get", query)["model_version"]

    def search_model_versions(self, filter_string: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the model versions that match, all pages of them.

        :param filter_string: such as ``name='lengths' and run_id='8e3f...'``; all versions if not given
        :return: versions as in https://mlflow.org/docs/latest/rest-api.html#search-modelversions
        """
        return self.pages(f"{VERSIONS}/search", "model_versions", given(filter=filter_string))

    def copy_model_version(self, src_model_uri: str, dst_name: str, exist_ok: bool = False) -> dict[str, Any]:
        """Make a version of one model the next version of another, with its tags and description.

        The other model is created if there is none. A team that keeps one registered model for each environment
        promotes with it.

        :param src_model_uri: as in :meth:`find_model_version`
        :param dst_name: the model that gets the version
        :param exist_ok: return the copy of this version if the model has one
        :return: the copy, as in https://mlflow.org/docs/latest/rest-api.html#create-modelversion
        :raises MLflowError: the URI has another form
        :raises MLflowAPIError: there is no such version, or the server refused
        """
        if not (found := self.find_model_version(src_model_uri)):
            raise MLflowError(
                f"{src_model_uri!r} names no model version: use models:/<name>/<number> or models:/<name>@<alias>"
            )
        source = self.get_model_version(*found)
        self.create_registered_model(dst_name, exist_ok=True)
        return self.create_model_version(
            dst_name,
            f"models:/{source['name']}/{source['version']}",
            run_id=source.get("run_id"),
            tags=source.get("tags"),
            run_link=source.get("run_link"),
            description=source.get("description"),
            model_id=source.get("model_id"),
            exist_ok=exist_ok,
        )

    def update_model_version(self, name: str, version: str | int, description: str) -> dict[str, Any]:
        """Give a version another description.

        :return: as in https://mlflow.org/docs/latest/rest-api.html#update-modelversion
        :raises MLflowAPIError: there is no such version
        """
        body = {"name": name, "version": str(version), "description": description}
        return self.call("PATCH", f"{VERSIONS}/update", body)["model_version"]

    def delete_model_version(self, name: str, version: str | int, missing_ok: bool = False) -> None:
        """Delete a version with its aliases; the logged model behind it stays.

        https://mlflow.org/docs/latest/rest-api.html#delete-modelversion

        :param missing_ok: do nothing if there is no such version
        :raises MLflowAPIError: there is no such version and ``missing_ok`` is False, or the server refused
        """
        self.delete(f"{VERSIONS}/delete", {"name": name, "version": str(version)}, missing_ok)

    def set_model_version_tag(self, name: str, version: str | int, key: str, value: str) -> None:
        """Set a tag of a version, in place of one of the same key.

        https://mlflow.org/docs/latest/rest-api.html#set-model-version-tag

        :raises MLflowAPIError: there is no such version
        """
        body = {"name": name, "version": str(version), "key": key, "value": value}
        self.call("POST", f"{VERSIONS}/set-tag", body)

    def delete_model_version_tag(self, name: str, version: str | int, key: str) -> None:
        """Remove a tag of a version, if it has one of this key.

        https://mlflow.org/docs/latest/rest-api.html#delete-model-version-tag

        :raises MLflowAPIError: there is no such version
        """
        self.call("DELETE", f"{VERSIONS}/delete-tag", {"name": name, "version": str(version), "key": key})

    def transition_model_version_stage(
        self, name: str, version: str | int, stage: str, archive_existing_versions: bool = False
    ) -> dict[str, Any]:
        """Move a version to a stage; MLflow deprecates stages in favour of aliases.

        :param stage: ``Staging``, ``Production``, ``Archived`` or ``None``
        :param archive_existing_versions: archive the versions that are in this stage now
        :return: as in https://mlflow.org/docs/latest/rest-api.html#transition-modelversion-stage
        :raises MLflowAPIError: there is no such version or stage
        """
        body = {
            "name": name,
            "version": str(version),
            "stage": stage,
            "archive_existing_versions": bool(archive_existing_versions),
        }
        return self.call("POST", f"{VERSIONS}/transition-stage", body)["model_version"]

    def get_model_version_download_uri(self, name: str, version: str | int) -> str:
        """Return the URI of the folder that holds a version's artifacts.

        https://mlflow.org/docs/latest/rest-api.html#get-download-uri-for-modelversion-artifacts

        :raises MLflowAPIError: there is no such version
        """
        query = {"name": name, "version": str(version)}
        return self.call("GET", f"{VERSIONS}/get-download-uri", query)["artifact_uri"]

    def find_model_version(self, uri: str) -> tuple[str, str] | None:
        """Return name and number of the version that a URI names now.

        :param uri: ``models:/name/3``, ``models:/name@alias``, or, which MLflow deprecates, the newest version of a
            stage, ``models:/name/Production``, or of all, ``models:/name/latest``
        :return: None for a URI of another kind
        :raises MLflowError: there is no such model, alias or stage, or no version in it
        """
        if not (found := _VERSION_URI.fullmatch(uri)):
            return None
        name, which, alias = found.groups()
        if alias:
            return name, self.get_model_version_by_alias(name, alias)["version"]
        return name, which if which.isdigit() else self._newest(name, which)

    def _newest(self, name: str, stage: str) -> str:
        versions = self.get_latest_versions(name, None if stage.lower() == "latest" else [stage])
        if not versions:
            raise MLflowError(f"The registered model {name!r} has no version that is {stage!r}")
        return str(max(int(version["version"]) for version in versions))

    def _version_of(self, name: str, source: str, run_id: str | None) -> dict[str, Any] | None:
        conditions = [f"name={_quoted(name)}", f"run_id={_quoted(run_id)}" if run_id else ""]
        for version in self.search_model_versions(" and ".join(filter(None, conditions))):
            if version["source"] == source and version.get("status") != "FAILED_REGISTRATION":
                return version
        return None

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

    def list_artifact_files(self, path: str) -> Iterator[str]:
        """Yield the path of every file in a folder of the store and in its subfolders, relative to it."""
        for item in self.call("GET", ARTIFACTS, {"path": path}).get("files", []):
            if item.get("is_dir"):
                inner = self.list_artifact_files(f"{path}/{item['path']}")
                yield from (f"{item['path']}/{name}" for name in inner)
            else:
                yield item["path"]

    def read_artifact(self, path: str) -> bytes:
        """Return the content of one file of the store.

        :raises MLflowAPIError: there is no such file
        """
        return self._send("GET", f"{ARTIFACTS}/{quote(path)}").content

    def download_artifact(self, path: str, target: Path) -> None:
        """Write one file of the store to the local disk, making its folder if necessary.

        :raises MLflowAPIError: there is no such file
        :raises MLflowConnectionError: the server fell silent
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        response = self._send("GET", f"{ARTIFACTS}/{quote(path)}", stream=True)
        with self.explained(f"GET {response.url}"), response, target.open("wb") as file:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)


def _refuse_deleted(experiment: dict[str, Any]) -> None:
    if experiment.get("lifecycle_stage") == "deleted":
        experiment_id = experiment["experiment_id"]
        raise MLflowError(
            f"Experiment {experiment['name']!r} (id {experiment_id}) is deleted and MLflow keeps its name: "
            f"bring it back with `mlflow experiments restore --experiment-id {experiment_id}` or use another name"
        )


def _now() -> int:
    return time.time_ns() // 1_000_000


def _json(value: float) -> float | str:
    """Return a number that JSON can hold, or its name in protobuf's JSON, in which MLflow speaks."""
    number = float(value)
    if math.isnan(number):
        return "NaN"
    return number if math.isfinite(number) else f"{'-' if number < 0 else ''}Infinity"


def logged_model_id(source: str) -> str | None:
    """Return the id of the logged model that the source of a version names, or None if it names none."""
    found = _LOGGED_MODEL.search(source)
    return found[1] if found else None


def _quoted(value: str) -> str:
    return f'"{value}"' if "'" in value else f"'{value}'"


def given(**fields: Any) -> dict[str, Any]:
    """Return the fields that have a value, for those that the server fills in or leaves alone otherwise."""
    return {name: value for name, value in fields.items() if value}


def tag_list(tags: Tags | None) -> list[dict[str, str]] | None:
    """Return tags as ``[{"key": key, "value": value}]``, from that form or from ``{key: value}``."""
    if isinstance(tags, dict):
        return [{"key": key, "value": value} for key, value in tags.items()]
    return tags
