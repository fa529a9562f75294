"""MLflow's REST API: experiments, runs, logged models, the model registry and the artifact proxy."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NotRequired, TypedDict
from urllib.parse import quote

from ..exceptions import MLflowAPIError, MLflowConnectionError, MLflowError
from .rest import API, MLflowRestHook

MODELS = f"{API}/registered-models"
VERSIONS = f"{API}/model-versions"
ARTIFACTS = "api/2.0/mlflow-artifacts/artifacts"
CHUNK = 1 << 20  # bytes
INT64 = range(-(2**63), 2**63)
STAGES = ("none", "staging", "production", "archived")

Tags = Mapping[str, Any] | Sequence[Mapping[str, Any]]
RunStatus = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
RunView = Literal["ACTIVE_ONLY", "DELETED_ONLY", "ALL"]

# As MLflow itself reads it: models:/name/3, models:/name/Production, models:/name/latest, models:/name@alias, and any
# of them after three slashes or more. A name may hold an @.
_VERSION_URI = re.compile(r"models:(?:/|/{3,})([^/]+)(?:/([^/]+)|@([^/@]+))")
# models:/m-<id>, or an artifact folder that ends in models/m-<id>/artifacts
_LOGGED_MODEL = re.compile(r"(?:^models:|/models)/+(m-[0-9a-f]+)(?:/artifacts)?/?$")
# What MLflow takes as an alias; "latest" and "v3" have a meaning of their own.
_ALIAS = re.compile(r"(?!(?i:latest|v\d+)$)[\w-]{1,255}")


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

    :meth:`run` reaches any endpoint with the verb given here; the other methods carry the names and arguments of
    ``mlflow.MlflowClient``, use the verb that their endpoint wants and return entities as that page describes them.
    Like MLflow's client they turn names, ids, tags and parameters into text. What cannot be turned into the text or
    number that MLflow wants is an :class:`MLflowError`, and nothing is sent.

    All raise :class:`MLflowAPIError` where MLflow refuses or what is asked for is missing, unless they say
    otherwise, and :class:`MLflowConnectionError` where no answer comes.

    :param method: HTTP verb of :meth:`run`
    :param mlflow_conn_id: id of the Airflow connection of the MLflow server, with the fields that
        :meth:`MLflowServer.from_connection` reads
    :param auth_type: called with login and password to make a ``requests`` auth
    """

    hook_name = "MLflow Client"

    # Experiments and logged models

    def search_experiments(self) -> Iterator[dict[str, Any]]:
        """Yield every active experiment, all pages of them."""
        return self.pages(f"{API}/experiments/search", "experiments")

    def get_experiment_by_name(self, name: str) -> dict[str, Any] | None:
        """Return an experiment, deleted ones included, or None if there is none of this name."""
        query = {"experiment_name": _text("the experiment", name)}
        try:
            return self.call("GET", f"{API}/experiments/get-by-name", query, "experiment")
        except MLflowAPIError as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def create_experiment(self, name: str, exist_ok: bool = False) -> str:
        """Create an experiment and return its id.

        :param exist_ok: return the id of an experiment that exists already. The server is asked for it first, and
            again after a failure.
        :raises MLflowError: an experiment of this name was deleted, and MLflow keeps its name
        """
        name = _text("the experiment", name)
        if exist_ok and (existing := self._active_experiment(name)):
            return existing["experiment_id"]
        try:
            return self.call("POST", f"{API}/experiments/create", {"name": name}, "experiment_id", str)
        except MLflowError as error:
            if _is_taken(error):
                existing = _active(_insist(lambda: self.get_experiment_by_name(name)))
            elif exist_ok:
                with suppress(MLflowConnectionError):
                    existing = self._active_experiment(name)
            if exist_ok and existing:
                return existing["experiment_id"]
            raise

    def set_experiment_tag(self, experiment_id: str, key: str, value: Any) -> None:
        """Set a tag of an experiment, in place of one of the same key."""
        body = {"experiment_id": _text("experiment_id", experiment_id), **_tag(key, value)}
        self.call("POST", f"{API}/experiments/set-experiment-tag", body)

    def get_logged_model(self, model_id: str) -> dict[str, Any]:
        """Return a logged model, such as ``m-1f0c...``: its info and data."""
        return self.call("GET", f"{API}/logged-models/{quote(_text('model_id', model_id), safe='')}", key="model")

    def search_logged_models(self, experiment_ids: Sequence[str], filter_string: str = "") -> Iterator[dict[str, Any]]:
        """Yield the logged models that match, all pages of them, newest first.

        :param filter_string: such as ``name = 'model' AND source_run_id = '8e3f...'``
        """
        body = _given(experiment_ids=_texts("experiment_ids", experiment_ids), filter=filter_string)
        return self.pages(f"{API}/logged-models/search", "models", body, method="POST")

    # Runs

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
        """
        start_time = _now() if start_time is None else _whole("start_time", start_time)
        fields = _given(tags=_tag_list(tags), run_name=_optional(run_name))
        body = {"experiment_id": _text("experiment_id", experiment_id), "start_time": start_time, **fields}
        return self.call("POST", f"{API}/runs/create", body, "run")

    def get_run(self, run_id: str) -> dict[str, Any]:
        """Return a run: its info, data and inputs."""
        return self.call("GET", f"{API}/runs/get", {"run_id": _text("run_id", run_id)}, "run")

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
        """
        body = _given(
            experiment_ids=_texts("experiment_ids", experiment_ids),
            filter=filter_string,
            run_view_type=run_view_type,
            order_by=_texts("order_by", order_by or ()),
        )
        return self.pages(f"{API}/runs/search", "runs", body, method="POST")

    def update_run(self, run_id: str, status: RunStatus | None = None, name: str | None = None) -> dict[str, Any]:
        """Give a run another status or name, and return its info."""
        body = {"run_id": _text("run_id", run_id), **_given(status=status, run_name=_optional(name))}
        return self.call("POST", f"{API}/runs/update", body, "run_info")

    def set_terminated(
        self, run_id: str, status: RunStatus = "FINISHED", end_time: int | None = None
    ) -> dict[str, Any]:
        """End a run, and return its info.

        :param end_time: ms since 1970, now if not given
        """
        end_time = _now() if end_time is None else _whole("end_time", end_time)
        body = {"run_id": _text("run_id", run_id), "status": status, "end_time": end_time}
        return self.call("POST", f"{API}/runs/update", body, "run_info")

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric] = (),
        params: Mapping[str, Any] | None = None,
        tags: Tags | None = None,
    ) -> None:
        """Log metrics, parameters and tags in one request; if MLflow refuses one, others may be logged.

        MLflow takes up to 1000 metrics, 100 parameters and 100 tags, 1000 altogether.

        :param metrics: ``[{"key": "rmse", "value": 1.26, "step": 3}]``; values may be infinite or NaN
        :param params: name and value; a value once logged cannot change
        :param tags: ``{key: value}`` or ``[{"key": key, "value": value}]``
        """
        now = _now()
        body = {
            "run_id": _text("run_id", run_id),
            "metrics": [_metric(metric, now) for metric in _sequence("metrics", metrics)],
            "params": _tag_list(params, "params"),
            "tags": _tag_list(tags),
        }
        self.call("POST", f"{API}/runs/log-batch", body)

    def get_metric_history(self, run_id: str, key: str) -> Iterator[dict[str, Any]]:
        """Yield every value that a metric had, all pages of them.

        :return: at least ``key``, ``value`` (a float), ``timestamp`` (ms since 1970) and ``step``
        """
        query = {"run_id": _text("run_id", run_id), "metric_key": _text("the metric", key)}
        for metric in self.pages(f"{API}/metrics/get-history", "metrics", query):
            yield self._read_metric(metric)

    # Registered models

    def create_registered_model(
        self, name: str, tags: Tags | None = None, description: str | None = None, exist_ok: bool = False
    ) -> dict[str, Any]:
        """Create a registered model.

        :param tags: ``{key: value}`` or ``[{"key": key, "value": value}]``
        :param exist_ok: return a model that exists already, as it is. The server is asked for it first, and again
            after a failure.
        """
        body = {"name": _text("the model", name), **_given(tags=_tag_list(tags), description=_optional(description))}
        if exist_ok and (existing := self._model_if_visible(body["name"])):
            return existing
        try:
            return self.call("POST", f"{MODELS}/create", body, "registered_model")
        except MLflowError as error:
            if exist_ok and _is_taken(error):
                return _insist(lambda: self.read_registered_model(name))
            with suppress(MLflowConnectionError):
                if exist_ok and (existing := self._model_if_visible(name)):
                    return existing
            raise

    def get_registered_model(self, name: str) -> dict[str, Any] | None:
        """Return a registered model, or None if there is none of this name."""
        try:
            return self.read_registered_model(name)
        except MLflowAPIError as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def read_registered_model(self, name: str) -> dict[str, Any]:
        """Return a registered model, which has to be there."""
        return self.call("GET", f"{MODELS}/get", {"name": _text("the model", name)}, "registered_model")

    def search_registered_models(self, filter_string: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the registered models that match, all pages of them.

        :param filter_string: such as ``name LIKE 'length%'``; all models if not given
        """
        return self.pages(f"{MODELS}/search", "registered_models", _given(filter=filter_string))

    def get_latest_versions(self, name: str, stages: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return the newest version of each stage; MLflow deprecates stages in favour of aliases.

        :param stages: such as ``["Production"]``; every stage, ``None`` included, if not given
        """
        body = {"name": _text("the model", name), **_given(stages=_texts("stages", stages or ()))}
        return records(self.call("POST", f"{MODELS}/get-latest-versions", body).get("model_versions", []))

    def update_registered_model(self, name: str, description: str) -> dict[str, Any]:
        """Give a registered model another description."""
        body = {"name": _text("the model", name), "description": _optional(description) or ""}
        return self.call("PATCH", f"{MODELS}/update", body, "registered_model")

    def rename_registered_model(self, name: str, new_name: str) -> dict[str, Any]:
        """Give a registered model, with all its versions, another name."""
        body = {"name": _text("the model", name), "new_name": _text("the new name", new_name)}
        return self.call("POST", f"{MODELS}/rename", body, "registered_model")

    def delete_registered_model(self, name: str, missing_ok: bool = False) -> None:
        """Delete a registered model with all its versions; the logged models behind them stay.

        :param missing_ok: do nothing if there is no such model
        """
        self._delete(f"{MODELS}/delete", {"name": _text("the model", name)}, missing_ok)

    def set_registered_model_tag(self, name: str, key: str, value: Any) -> None:
        """Set a tag of a registered model, in place of one of the same key."""
        self.call("POST", f"{MODELS}/set-tag", {"name": _text("the model", name), **_tag(key, value)})

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        """Remove a tag of a registered model, if it has one of this key."""
        self.call("DELETE", f"{MODELS}/delete-tag", {"name": _text("the model", name), "key": _text("the tag", key)})

    def set_registered_model_alias(self, name: str, alias: str, version: str | int) -> None:
        """Point an alias of a registered model to a version."""
        self.call("POST", f"{MODELS}/alias", {**_version(name, version), "alias": check_alias(alias)})

    def get_model_version_by_alias(self, name: str, alias: str) -> dict[str, Any]:
        """Return the version of a registered model that carries an alias."""
        query = {"name": _text("the model", name), "alias": _text("the alias", alias)}
        return self.call("GET", f"{MODELS}/alias", query, "model_version")

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Take an alias from the version that carries it, if one does."""
        self.call("DELETE", f"{MODELS}/alias", {"name": _text("the model", name), "alias": _text("the alias", alias)})

    # Model versions

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
        """
        name, source, run_id = _text("the model", name), _text("source", source), _optional(run_id)
        fields = _given(
            run_id=run_id,
            tags=_tag_list(tags),
            run_link=_optional(run_link),
            description=_optional(description),
            model_id=_optional(model_id) or logged_model_id(source),
        )
        if exist_ok and (existing := self._version_of(name, source, run_id)):
            return existing
        return self.call("POST", f"{VERSIONS}/create", {"name": name, "source": source, **fields}, "model_version")

    def get_model_version(self, name: str, version: str | int) -> dict[str, Any]:
        """Return one version of a registered model."""
        return self.call("GET", f"{VERSIONS}/get", _version(name, version), "model_version")

    def search_model_versions(self, filter_string: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the model versions that match, all pages of them.

        :param filter_string: such as ``name='lengths' and run_id='8e3f...'``; all versions if not given
        """
        return self.pages(f"{VERSIONS}/search", "model_versions", _given(filter=filter_string))

    def search_versions_of(self, name: str, filter_string: str | None = None) -> list[dict[str, Any]]:
        """Return the versions of a registered model that match, newest first.

        :param filter_string: such as ``tags.checked = 'yes'``; all versions if not given
        """
        name = _text("the model", name)
        conditions = filter(None, [_condition("name", name), filter_string])
        found = self.search_model_versions(" and ".join(conditions))
        versions = [self._read_version(version) for version in found if version.get("name") == name]
        return sorted(versions, key=lambda version: -int(version["version"]))

    def prune_model_versions(self, name: str, keep: int | str, dry_run: bool = False) -> list[str]:
        """Delete old versions, except those that have an alias or are in the stage Staging or Production.

        :param keep: how many of the newest versions stay
        :param dry_run: delete nothing
        :return: the numbers of the versions that were, or would be, deleted, newest first
        :raises MLflowError: ``keep`` is not a whole number above 0
        """
        if (count := _whole("keep", keep)) < 1:
            raise MLflowError(f"keep is {keep!r}: give a whole number above 0")
        pruned = []
        for old in self.search_versions_of(name)[count:]:
            # Read again right before, because a search returns no aliases, and one may have been set since.
            version = self.get_model_version(name, old["version"])
            if version.get("aliases") or version.get("current_stage") in ("Staging", "Production"):
                continue
            if not dry_run:
                self.delete_model_version(name, old["version"], missing_ok=True)
            pruned.append(old["version"])
        return pruned

    def copy_model_version(self, src_model_uri: str, dst_name: str, exist_ok: bool = False) -> dict[str, Any]:
        """Make a version of one model the next version of another, with its tags and description.

        The other model is created if there is none. A team that keeps one registered model for each environment
        promotes with it.

        :param src_model_uri: as in :meth:`find_model_version`
        :param dst_name: the model that gets the version
        :param exist_ok: return the copy of this version if the model has one
        :raises MLflowError: the URI has another form
        """
        if not (found := self.find_model_version(src_model_uri)):
            raise MLflowError(
                f"{src_model_uri!r} names no model version: use models:/<name>/<number> or models:/<name>@<alias>"
            )
        source = self.get_model_version(*found)
        self.create_registered_model(dst_name, exist_ok=True)
        copied = ("run_id", "tags", "run_link", "description", "model_id")
        return self.create_model_version(
            dst_name,
            f"models:/{source['name']}/{source['version']}",
            **{field: source.get(field) for field in copied},
            exist_ok=exist_ok,
        )

    def update_model_version(self, name: str, version: str | int, description: str) -> dict[str, Any]:
        """Give a version another description."""
        body = {**_version(name, version), "description": _optional(description) or ""}
        return self.call("PATCH", f"{VERSIONS}/update", body, "model_version")

    def delete_model_version(self, name: str, version: str | int, missing_ok: bool = False) -> None:
        """Delete a version with its aliases; the logged model behind it stays.

        :param missing_ok: do nothing if there is no such version
        """
        self._delete(f"{VERSIONS}/delete", _version(name, version), missing_ok)

    def set_model_version_tag(self, name: str, version: str | int, key: str, value: Any) -> None:
        """Set a tag of a version, in place of one of the same key."""
        self.call("POST", f"{VERSIONS}/set-tag", {**_version(name, version), **_tag(key, value)})

    def delete_model_version_tag(self, name: str, version: str | int, key: str) -> None:
        """Remove a tag of a version, if it has one of this key."""
        self.call("DELETE", f"{VERSIONS}/delete-tag", {**_version(name, version), "key": _text("the tag", key)})

    def transition_model_version_stage(
        self, name: str, version: str | int, stage: str, archive_existing_versions: bool = False
    ) -> dict[str, Any]:
        """Move a version to a stage; MLflow deprecates stages in favour of aliases.

        :param stage: ``Staging``, ``Production``, ``Archived`` or ``None``
        :param archive_existing_versions: archive the versions that are in this stage now
        """
        settings = {"stage": check_stage(stage), "archive_existing_versions": bool(archive_existing_versions)}
        body = {**_version(name, version), **settings}
        return self.call("POST", f"{VERSIONS}/transition-stage", body, "model_version")

    def get_model_version_download_uri(self, name: str, version: str | int) -> str:
        """Return the URI of the folder that holds a version's artifacts."""
        return self.call("GET", f"{VERSIONS}/get-download-uri", _version(name, version), "artifact_uri", str)

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

    def get_model_version_metric(self, version: Mapping[str, Any], key: str) -> float | None:
        """Return a metric of the model behind a version, or None if it has none of this name.

        What was logged for the model itself (``model_id``) counts, the newest value of it, whichever run
        measured it. If there is none, the last value of the run that made the model counts.

        :param version: as :meth:`get_model_version` returns it
        :return: may be infinite or NaN
        :raises MLflowAPIError: the run or the logged model is gone
        """
        model_id = version.get("model_id") or logged_model_id(str(version.get("source", "")))
        if measured := self._metrics(self.get_logged_model(model_id), key) if model_id else []:
            newest = max(measured, key=lambda metric: (metric["timestamp"], metric["step"]))
            return newest["value"] or self._zero_or_nan(newest)
        run_id = version.get("run_id")
        logged = self._metrics(self.get_run(run_id), key) if run_id else []
        return logged[0]["value"] if logged else None

    def is_missing(self, error: MLflowError, name: str) -> bool:
        """Tell whether MLflow's refusal means that a model, a version or an alias is not there.

        Of a version of a missing model MLflow says 404 to administrators and 403 to others, and of a missing alias
        400 to all.

        :param name: the registered model that was asked about
        :raises MLflowError: MLflow does not show the model to this user
        """
        if not isinstance(error, MLflowAPIError):
            return False
        if error.status_code == 403:
            return self.get_registered_model(name) is None
        return error.error_code == "RESOURCE_DOES_NOT_EXIST" or bool(re.search("alias .* not found", str(error)))

    # The artifact proxy, https://mlflow.org/docs/latest/self-hosting/architecture/artifact-store/

    def list_artifact_files(self, path: str) -> Iterator[str]:
        """Yield the path of every file in a folder of the store and in its subfolders, relative to it."""
        for item in records(self.call("GET", ARTIFACTS, {"path": path}).get("files", [])):
            name = item.get("path")
            if not isinstance(name, str) or not name or ".." in PurePosixPath(name).parts or name.startswith("/"):
                raise self.misfit(f"{name!r} is not the name of a file", f"artifacts of {path}")
            if item.get("is_dir"):
                yield from (f"{name}/{inner}" for inner in self.list_artifact_files(f"{path}/{name}"))
            else:
                yield name

    def read_artifact(self, path: str) -> bytes:
        """Return the content of one file of the store."""
        return self._send("GET", f"{ARTIFACTS}/{quote(path)}").content

    def download_artifact(self, path: str, target: Path) -> None:
        """Write one file of the store to the local disk, making its folder if necessary."""
        target.parent.mkdir(parents=True, exist_ok=True)
        response = self._send("GET", f"{ARTIFACTS}/{quote(path)}", stream=True)
        with self.explained(f"GET {response.url}"), response, target.open("wb") as file:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)

    def _delete(self, endpoint: str, params: dict[str, Any], missing_ok: bool) -> None:
        try:
            self.call("DELETE", endpoint, params)
        except MLflowAPIError as error:
            if not missing_ok or not self.is_missing(error, params["name"]):
                raise

    def _active_experiment(self, name: str) -> dict[str, Any] | None:
        experiment = None
        with suppress(MLflowAPIError):
            experiment = self.get_experiment_by_name(name)
        return _active(experiment)

    def _model_if_visible(self, name: str) -> dict[str, Any] | None:
        with suppress(MLflowAPIError):
            return self.get_registered_model(name)
        return None

    def _newest(self, name: str, stage: str) -> str:
        versions = self.get_latest_versions(name, None if stage.lower() == "latest" else [stage])
        if not versions:
            where = f"connection {self.mlflow_conn_id!r}"
            raise MLflowError(f"The registered model {name!r} has no version that is {stage!r} ({where})")
        return str(max(int(self._read_version(version)["version"]) for version in versions))

    def _version_of(self, name: str, source: str, run_id: str | None) -> dict[str, Any] | None:
        wanted = {"name": name, "source": source} | ({"run_id": run_id} if run_id else {})
        conditions = filter(None, [_condition("name", name), _condition("run_id", run_id or "")])
        for version in self.search_model_versions(" and ".join(conditions)):
            if wanted.items() <= version.items() and version.get("status") != "FAILED_REGISTRATION":
                return self._read_version(version)
        return None

    def _read_version(self, version: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(version.get("name"), str) or not str(version.get("version")).isdecimal():
            raise self.misfit(f"{version} is not a model version", "the registry")
        return version

    def _metrics(self, entity: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
        data = entity.get("data")
        found = records(data.get("metrics", []) if isinstance(data, dict) else [])
        return [self._read_metric(metric) for metric in found if metric.get("key") == key]

    def _read_metric(self, metric: Mapping[str, Any]) -> dict[str, Any]:
        try:
            numbers = {name: int(metric.get(name) or 0) for name in ("timestamp", "step")}
            return {**metric, **numbers, "value": float(metric["value"])}
        except (KeyError, TypeError, ValueError, OverflowError):
            raise self.misfit(f"{metric} is not a value of a metric", "the tracking server") from None

    def _zero_or_nan(self, metric: Mapping[str, Any]) -> float:
        # MLflow 3.17 keeps a NaN of a logged model as 0, which would pass for a perfect error. The run knows.
        moment = (metric["timestamp"], metric["step"])
        history = self.get_metric_history(metric.get("run_id", ""), metric["key"])
        logged = (item["value"] for item in history if (item["timestamp"], item["step"]) == moment)
        return math.nan if any(math.isnan(value) for value in logged) else 0.0


def logged_model_id(source: str) -> str | None:
    """Return the id of the logged model that the source of a version names, or None if it names none."""
    found = _LOGGED_MODEL.search(source)
    return found[1] if found else None


def check_alias(alias: Any) -> str:
    """Return an alias that MLflow takes.

    :raises MLflowError: MLflow would refuse it
    """
    alias = _text("the alias", alias)
    if not _ALIAS.fullmatch(alias):
        raise MLflowError(
            f"{alias!r} cannot be an alias: use letters, digits, _ and -, but neither 'latest' nor a form like 'v3'"
        )
    return alias


def check_stage(stage: Any) -> str:
    """Return the name of a stage.

    :raises MLflowError: MLflow has no such stage
    """
    if str(stage).lower() not in STAGES:
        raise MLflowError(f"{stage!r} is not a stage: MLflow has Staging, Production, Archived and None")
    return str(stage)


def _active(experiment: dict[str, Any] | None) -> dict[str, Any] | None:
    if experiment and experiment.get("lifecycle_stage") == "deleted":
        experiment_id = experiment["experiment_id"]
        raise MLflowError(
            f"Experiment {experiment.get('name')!r} (id {experiment_id}) is deleted and MLflow keeps its name: "
            f"bring it back with `mlflow experiments restore --experiment-id {experiment_id}` or use another name"
        )
    return experiment


def _insist(ask: Callable[[], Any]) -> Any:
    """Ask for something that exists, and once more if that fails: MLflow's database may have been busy."""
    try:
        return ask()
    except MLflowError:
        return ask()


def _is_taken(error: MLflowError) -> bool:
    return getattr(error, "error_code", "") == "RESOURCE_ALREADY_EXISTS"


def _now() -> int:
    return time.time_ns() // 1_000_000


def _given(**fields: Any) -> dict[str, Any]:
    """Return the fields that have a value, for those that the server fills in or leaves alone otherwise."""
    return {name: value for name, value in fields.items() if value}


def _condition(field: str, value: str) -> str:
    """Return a condition of a filter, or nothing where MLflow has no way to write the value: it knows no escape."""
    if not value or ("'" in value and '"' in value):
        return ""
    return f'{field}="{value}"' if "'" in value else f"{field}='{value}'"


def records(found: Any) -> list[dict[str, Any]]:
    """Return the objects of a list in a response; anything else becomes an empty list."""
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _text(what: str, value: Any) -> str:
    """Return a name, an id or a key as text."""
    if value is None or value == "" or isinstance(value, bytes | Mapping | list | tuple | set):
        raise MLflowError(f"{what} is {value!r}: give a text or a number")
    return str(value)


def _optional(value: Any) -> str | None:
    return None if value is None else str(value)


def _sequence(what: str, values: Any) -> list[Any]:
    if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__iter__"):
        raise MLflowError(f"{what} is {values!r}: give a list")
    return list(values)


def _texts(what: str, values: Any) -> list[str]:
    """Return a list of texts; a single one stands for a list of it."""
    single = isinstance(values, str | int)
    return [_text(f"an item of {what}", value) for value in ([values] if single else _sequence(what, values))]


def _version(name: Any, version: Any) -> dict[str, str]:
    return {"name": _text("the model", name), "version": _text("the version", version)}


def _tag(key: Any, value: Any) -> dict[str, str]:
    return {"key": _text("the key of a tag", key), "value": str(value)}


def _tag_list(tags: Any, what: str = "tags") -> list[dict[str, str]]:
    """Return tags as ``[{"key": key, "value": value}]``, from that form or from ``{key: value}``."""
    if isinstance(tags, Mapping):
        return [_tag(key, value) for key, value in tags.items()]
    items: list[Any] = [tags] if isinstance(tags, str | bytes) else list(tags or ())
    if not all(isinstance(item, Mapping) and {"key", "value"} <= set(item) for item in items):
        raise MLflowError(f"{what} is {tags!r}: give {{key: value}} or [{{'key': key, 'value': value}}]")
    return [_tag(item["key"], item["value"]) for item in items]


def _metric(metric: Any, now: int) -> dict[str, Any]:
    if not isinstance(metric, Mapping) or not {"key", "value"} <= set(metric):
        raise MLflowError(f"{metric!r} is not a metric: give {{'key': 'rmse', 'value': 1.26}}, with 'step' if you like")
    key = _text("the key of a metric", metric["key"])
    step, timestamp = (_whole(f"{name} of metric {key!r}", metric.get(name) or 0) for name in ("step", "timestamp"))
    return {"key": key, "value": _number(key, metric["value"]), "step": step, "timestamp": timestamp or now}


def _whole(what: str, value: Any) -> int:
    try:
        number = int(value)
        if number in INT64 and (isinstance(value, str) or number == value):
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    unit = ", in ms since 1970" if "time" in what else ""
    raise MLflowError(f"{what} is {value!r}: give a whole number{unit}")


def _number(key: str, value: Any) -> float | str:
    """Return a number that JSON can hold, or its name in protobuf's JSON, in which MLflow speaks."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise MLflowError(f"metric {key!r} has the value {value!r}: give a number") from None
    if math.isnan(number):
        return "NaN"
    return number if math.isfinite(number) else f"{'-' if number < 0 else ''}Infinity"
