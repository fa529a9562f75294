"""MLflow's REST API: experiments, runs, logged models, the model registry and the artifact proxy."""

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import quote

from ..exceptions import MLflowAPIError, MLflowConnectionError, MLflowError
from .rest import API, MLflowRestHook
from .values import (
    as_list,
    as_metric,
    as_optional_text,
    as_tag,
    as_tags,
    as_text,
    as_texts,
    as_whole_number,
    check_alias,
    records,
)

MODELS = f"{API}/registered-models"
VERSIONS = f"{API}/model-versions"
ARTIFACTS = "api/2.0/mlflow-artifacts/artifacts"
CHUNK = 1 << 20  # bytes
STAGES = ("none", "staging", "production", "archived")

Tags = Mapping[str, Any] | Sequence[Mapping[str, Any]]
RunStatus = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
RunView = Literal["ACTIVE_ONLY", "DELETED_ONLY", "ALL"]

# As MLflow itself reads it: models:/name/3, models:/name/Production, models:/name/latest, models:/name@alias, and any
# of them after three slashes or more. A name may hold an @.
_VERSION_URI = re.compile(r"models:(?:/|/{3,})([^/]+)(?:/([^/]+)|@([^/@]+))")
# models:/m-<id>, or an artifact folder that ends in models/m-<id>/artifacts
_LOGGED_MODEL = re.compile(r"(?:^models:|/models)/+(m-[0-9a-f]+)(?:/artifacts)?/?$")


class MLflowClientHook(MLflowRestHook):
    """Calls an MLflow server's REST API, https://mlflow.org/docs/latest/rest-api.html.

    :meth:`run` calls any endpoint with the verb given here. The other methods have the names and arguments of
    ``mlflow.MlflowClient``, use the verb of their endpoint, return entities as that page describes them and yield all
    pages of a search. Times are in ms since 1970, tags ``{key: value}`` or ``[{"key": key, "value": value}]``. Like
    MLflow's client they convert names, ids, tags and parameters to text. An argument that cannot be converted is an
    :class:`MLflowError`, and nothing is sent.

    All raise :class:`MLflowAPIError` if MLflow refuses the request or does not find the entity, unless they say
    otherwise, and :class:`MLflowConnectionError` if no answer comes.

    :param method: HTTP verb of :meth:`run`
    :param mlflow_conn_id: id of the Airflow connection of the MLflow server, with the fields that
        :meth:`MLflowServer.from_connection` reads
    :param auth_type: called with login and password to make a ``requests`` auth
    """

    hook_name = "MLflow Client"

    # Experiments and logged models

    def search_experiments(self) -> Iterator[dict[str, Any]]:
        """Yield every active experiment."""
        return self.pages(f"{API}/experiments/search", "experiments")

    def get_experiment_by_name(self, name: str) -> dict[str, Any] | None:
        """Return an experiment, deleted ones included, or None if there is none of this name."""
        query = {"experiment_name": as_text("the experiment", name)}
        return self._get_if_there(f"{API}/experiments/get-by-name", query, "experiment")

    def create_experiment(self, name: str, exist_ok: bool = False) -> str:
        """Create an experiment, or with ``exist_ok`` find an active one, and return its id."""
        body = {"name": as_text("the experiment", name)}
        return self._create(
            lambda: self.call("POST", f"{API}/experiments/create", body, "experiment_id", str),
            lambda: _active_id(self.get_experiment_by_name(name)),
            exist_ok,
        )

    def get_logged_model(self, model_id: str) -> dict[str, Any]:
        """Return a logged model, such as ``m-1f0c...``: its info and data."""
        return self.call("GET", f"{API}/logged-models/{quote(as_text('model_id', model_id), safe='')}", key="model")

    def search_logged_models(self, experiment_ids: Sequence[str], filter_string: str = "") -> Iterator[dict[str, Any]]:
        """Yield the logged models that match, such as ``name = 'a' AND source_run_id = '8e3f...'``, newest first."""
        body = _given(experiment_ids=as_texts("experiment_ids", experiment_ids), filter=filter_string)
        return self.pages(f"{API}/logged-models/search", "models", body, method="POST")

    # Runs

    def create_run(
        self, experiment_id: str, start_time: int | None = None, tags: Tags | None = None, run_name: str | None = None
    ) -> dict[str, Any]:
        """Start a run, now if no time is given; it is RUNNING until :meth:`set_terminated`."""
        start_time = _now() if start_time is None else as_whole_number("start_time", start_time)
        fields = _given(tags=as_tags(tags), run_name=as_optional_text(run_name))
        body = {"experiment_id": as_text("experiment_id", experiment_id), "start_time": start_time, **fields}
        return self.call("POST", f"{API}/runs/create", body, "run")

    def get_run(self, run_id: str) -> dict[str, Any]:
        """Return a run: its info, data and inputs."""
        return self.call("GET", f"{API}/runs/get", {"run_id": as_text("run_id", run_id)}, "run")

    def search_runs(
        self,
        experiment_ids: Sequence[str],
        filter_string: str = "",
        run_view_type: RunView = "ACTIVE_ONLY",
        order_by: Sequence[str] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yield the runs that match, such as ``metrics.rmse < 1.3 and params.alpha = '10'``, newest first."""
        ids, order = as_texts("experiment_ids", experiment_ids), as_texts("order_by", order_by or ())
        body = _given(experiment_ids=ids, order_by=order, filter=filter_string, run_view_type=run_view_type)
        return self.pages(f"{API}/runs/search", "runs", body, method="POST")

    def set_terminated(
        self, run_id: str, status: RunStatus = "FINISHED", end_time: int | None = None
    ) -> dict[str, Any]:
        """End a run, now if no time is given, and return its info."""
        end_time = _now() if end_time is None else as_whole_number("end_time", end_time)
        body = {"run_id": as_text("run_id", run_id), "status": status, "end_time": end_time}
        return self.call("POST", f"{API}/runs/update", body, "run_info")

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Mapping[str, Any]] = (),
        params: Mapping[str, Any] | None = None,
        tags: Tags | None = None,
    ) -> None:
        """Log metrics, parameters and tags in one request; if MLflow refuses one, others may be logged.

        MLflow takes up to 1000 metrics, 100 parameters and 100 tags, 1000 altogether.

        :param metrics: ``[{"key": "rmse", "value": 1.26, "step": 3, "timestamp": 0}]``, the last two optional;
            values may be infinite or NaN
        """
        now = _now()
        body = {
            "run_id": as_text("run_id", run_id),
            "metrics": [as_metric(metric, now) for metric in as_list("metrics", metrics)],
            "params": as_tags(params, "params"),
            "tags": as_tags(tags),
        }
        self.call("POST", f"{API}/runs/log-batch", body)

    def get_metric_history(self, run_id: str, key: str) -> Iterator[dict[str, Any]]:
        """Yield every value that a metric had: ``key``, ``value`` (a float), ``timestamp`` and ``step`` at least."""
        query = {"run_id": as_text("run_id", run_id), "metric_key": as_text("the metric", key)}
        return map(self._read_metric, self.pages(f"{API}/metrics/get-history", "metrics", query))

    # Registered models

    def create_registered_model(
        self, name: str, tags: Tags | None = None, description: str | None = None, exist_ok: bool = False
    ) -> dict[str, Any]:
        """Create a registered model, or with ``exist_ok`` return the existing one unchanged."""
        body = {**_model(name), **_given(tags=as_tags(tags), description=as_optional_text(description))}
        return self._create(
            lambda: self.call("POST", f"{MODELS}/create", body, "registered_model"),
            lambda: self.get_registered_model(name),
            exist_ok,
        )

    def get_registered_model(self, name: str, missing_ok: bool = True) -> dict[str, Any] | None:
        """Return a registered model, or None if it does not exist; an error unless ``missing_ok``."""
        return self._get_if_there(f"{MODELS}/get", _model(name), "registered_model", missing_ok)

    def search_registered_models(self, filter_string: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the registered models that match, such as ``name LIKE 'length%'``; all if no filter is given."""
        return self.pages(f"{MODELS}/search", "registered_models", _given(filter=filter_string))

    def get_latest_versions(self, name: str, stages: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return the newest version of each stage, such as ``["Production"]``, or of all, ``None`` included."""
        body = {**_model(name), **_given(stages=as_texts("stages", stages or ()))}
        return records(self.call("POST", f"{MODELS}/get-latest-versions", body).get("model_versions", []))

    def delete_registered_model(self, name: str, missing_ok: bool = False) -> None:
        """Delete a registered model with all its versions; their logged models stay."""
        self._delete(f"{MODELS}/delete", _model(name), missing_ok)

    def set_registered_model_tag(self, name: str, key: str, value: Any) -> None:
        """Set or replace a tag of a registered model."""
        self.call("POST", f"{MODELS}/set-tag", {**_model(name), **as_tag(key, value)})

    def set_registered_model_alias(self, name: str, alias: str, version: str | int) -> None:
        """Point an alias of a registered model to a version."""
        self.call("POST", f"{MODELS}/alias", {**_version(name, version), "alias": check_alias(alias)})

    def get_model_version_by_alias(self, name: str, alias: str) -> dict[str, Any]:
        """Return the version of a registered model that carries an alias."""
        query = {**_model(name), "alias": as_text("the alias", alias)}
        return self.call("GET", f"{MODELS}/alias", query, "model_version")

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Take an alias from the version that carries it, if one does."""
        self.call("DELETE", f"{MODELS}/alias", {**_model(name), "alias": as_text("the alias", alias)})

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
        :param model_id: the logged model; read from ``source`` if that names one
        :param exist_ok: return a version of the same name, source and run if there is one. The server does
            not guard this: two calls at the same moment still make two versions.
        """
        body = {**_model(name), "source": as_text("source", source)}
        texts = {"run_id": run_id, "run_link": run_link, "description": description, "model_id": model_id}
        fields = _given(tags=as_tags(tags), **{field: as_optional_text(text) for field, text in texts.items()})
        if logged := logged_model_id(body["source"]):
            fields.setdefault("model_id", logged)
        wanted = {**body, **({"run_id": fields["run_id"]} if run_id else {})}
        if exist_ok and (existing := self._version_like(wanted)):
            return existing
        return self.call("POST", f"{VERSIONS}/create", {**body, **fields}, "model_version")

    def get_model_version(self, name: str, version: str | int) -> dict[str, Any]:
        """Return one version of a registered model."""
        return self.call("GET", f"{VERSIONS}/get", _version(name, version), "model_version")

    def search_model_versions(self, filter_string: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the versions that match, such as ``name='lengths' and run_id='8e3f...'``; all without a filter."""
        return self.pages(f"{VERSIONS}/search", "model_versions", _given(filter=filter_string))

    def search_versions_of(self, name: str, filter_string: str | None = None) -> list[dict[str, Any]]:
        """Return the versions of a registered model that match, such as ``tags.checked = 'yes'``, newest first."""
        name = as_text("the model", name)
        conditions = filter(None, [_condition("name", name), filter_string])
        found = self.search_model_versions(" and ".join(conditions))
        versions = [self._read_version(version) for version in found if version.get("name") == name]
        return sorted(versions, key=lambda version: -int(version["version"]))

    def prune_model_versions(self, name: str, keep: int | str, dry_run: bool = False) -> list[str]:
        """Delete all but the newest versions, except those with an alias or in the stage Staging or Production.

        :return: the numbers of the versions that were, or in a dry run would be, deleted, newest first
        """
        if (count := as_whole_number("keep", keep)) < 1:
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

    def copy_model_version(
        self, src_model_uri: str, dst_name: str, exist_ok: bool = False, tags: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Copy a version with its description to another model, which is created if it does not exist.

        :param tags: of the copy; those of the original if None
        """
        source = self.read_version_of(src_model_uri)
        self.create_registered_model(dst_name, exist_ok=True)
        copied = {field: source.get(field) for field in ("run_id", "run_link", "description", "model_id")}
        copied["tags"] = source.get("tags") if tags is None else tags
        uri = f"models:/{source['name']}/{source['version']}"
        return self.create_model_version(dst_name, uri, **copied, exist_ok=exist_ok)

    def update_model_version(self, name: str, version: str | int, description: str) -> dict[str, Any]:
        """Change the description of a version."""
        body = {**_version(name, version), "description": as_optional_text(description) or ""}
        return self.call("PATCH", f"{VERSIONS}/update", body, "model_version")

    def delete_model_version(self, name: str, version: str | int, missing_ok: bool = False) -> None:
        """Delete a version with its aliases; its logged model stays."""
        self._delete(f"{VERSIONS}/delete", _version(name, version), missing_ok)

    def set_model_version_tag(self, name: str, version: str | int, key: str, value: Any) -> None:
        """Set or replace a tag of a version."""
        self.call("POST", f"{VERSIONS}/set-tag", {**_version(name, version), **as_tag(key, value)})

    def delete_model_version_tag(self, name: str, version: str | int, key: str) -> None:
        """Delete a tag of a version, if it has it."""
        self.call("DELETE", f"{VERSIONS}/delete-tag", {**_version(name, version), "key": as_text("the tag", key)})

    def transition_model_version_stage(
        self, name: str, version: str | int, stage: str, archive_existing_versions: bool = False
    ) -> dict[str, Any]:
        """Move a version to ``Staging``, ``Production``, ``Archived`` or ``None``, and archive those there if asked."""
        if str(stage).lower() not in STAGES:
            raise MLflowError(f"{stage!r} is not a stage: MLflow has Staging, Production, Archived and None")
        settings = {"stage": str(stage), "archive_existing_versions": bool(archive_existing_versions)}
        body = {**_version(name, version), **settings}
        return self.call("POST", f"{VERSIONS}/transition-stage", body, "model_version")

    def get_model_version_download_uri(self, name: str, version: str | int) -> str:
        """Return the URI of the folder that holds a version's artifacts."""
        return self.call("GET", f"{VERSIONS}/get-download-uri", _version(name, version), "artifact_uri", str)

    def find_model_version(self, uri: str) -> tuple[str, str] | None:
        """Return name and number of the version that a URI refers to now, or None if it is not a version's URI.

        :param uri: ``models:/name/3``, ``models:/name@alias``, or, which MLflow deprecates, the newest version of a
            stage, ``models:/name/Production``, or of all, ``models:/name/latest``
        :raises MLflowError: the model, alias or stage does not exist, or has no version
        """
        if not (found := _VERSION_URI.fullmatch(uri)):
            return None
        name, which, alias = found.groups()
        if alias:
            return name, self.get_model_version_by_alias(name, alias)["version"]
        if which.isdigit():
            return name, which
        versions = self.get_latest_versions(name, None if which.lower() == "latest" else [which])
        if not versions:
            where = f"connection {self.mlflow_conn_id!r}"
            raise MLflowError(f"The registered model {name!r} has no version that is {which!r} ({where})")
        return name, str(max(int(self._read_version(version)["version"]) for version in versions))

    def read_version_of(self, uri: str) -> dict[str, Any]:
        """Return the version that a URI refers to now, see :meth:`find_model_version`, or raise an error."""
        if not (found := self.find_model_version(uri)):
            raise MLflowError(f"{uri!r} names no model version: use models:/<name>/<number> or models:/<name>@<alias>")
        return self.get_model_version(*found)

    def get_model_version_metric(self, version: Mapping[str, Any], key: str) -> float | None:
        """Return a metric of the model behind a version, which may be infinite or NaN, or None if it has none.

        It is the newest value that any run logged for the model itself (``model_id``), otherwise the last value of
        the run that made the model.
        """
        model_id = version.get("model_id") or logged_model_id(str(version.get("source", "")))
        if measured := self._metrics(self.get_logged_model(model_id), key) if model_id else []:
            newest = max(measured, key=lambda metric: (metric["timestamp"], metric["step"]))
            return newest["value"] or self._zero_or_nan(newest)
        run_id = version.get("run_id")
        logged = self._metrics(self.get_run(run_id), key) if run_id else []
        return logged[0]["value"] if logged else None

    def is_missing(self, error: MLflowError, name: str) -> bool:
        """Return whether MLflow's refusal means that a model, a version or an alias is not there.

        For a version of a missing model, MLflow answers 404 to administrators and 403 to others; for a missing alias,
        400 to all. A 403 for the model itself stays an error.
        """
        if not isinstance(error, MLflowAPIError):
            return False
        if error.status_code == 403:
            return self.get_registered_model(name) is None
        return error.error_code == "RESOURCE_DOES_NOT_EXIST" or bool(re.search("alias .* not found", str(error)))

    # The artifact proxy, https://mlflow.org/docs/latest/self-hosting/architecture/artifact-store/

    def list_artifact_files(self, path: str) -> Iterator[str]:
        """Yield the relative path of every file in a folder of the store and its subfolders."""
        for item in records(self.call("GET", ARTIFACTS, {"path": path}).get("files", [])):
            name = item.get("path")
            if not isinstance(name, str) or not name or ".." in PurePosixPath(name).parts or name.startswith("/"):
                raise self.unexpected(f"{name!r} is not the name of a file", f"artifacts of {path}")
            if item.get("is_dir"):
                yield from (f"{name}/{inner}" for inner in self.list_artifact_files(f"{path}/{name}"))
            else:
                yield name

    def read_artifact(self, path: str) -> bytes:
        """Return the content of one file of the store."""
        return self._send("GET", f"{ARTIFACTS}/{quote(path)}").content

    def download_artifact(self, path: str, target: Path) -> None:
        """Download one file of the store; its local folder is created if necessary."""
        target.parent.mkdir(parents=True, exist_ok=True)
        response = self._send("GET", f"{ARTIFACTS}/{quote(path)}", stream=True)
        with self.explained(f"GET {response.url}"), response, target.open("wb") as file:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)

    def _get_if_there(
        self, endpoint: str, query: dict[str, Any], key: str, missing_ok: bool = True
    ) -> dict[str, Any] | None:
        try:
            return self.call("GET", endpoint, query, key)
        except MLflowAPIError as error:
            if missing_ok and error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _create(self, create: Callable[[], Any], find: Callable[[], Any], exist_ok: bool) -> Any:
        """Create an entity; with ``exist_ok``, look for it before, and again if its creation fails."""
        if not exist_ok:
            return create()
        with suppress(MLflowAPIError):
            if existing := find():
                return existing
        try:
            return create()
        except MLflowError as error:
            with suppress(MLflowAPIError, MLflowConnectionError):
                if existing := find():
                    return existing
            # It exists: look once more, because MLflow's database may have been busy.
            if getattr(error, "error_code", "") == "RESOURCE_ALREADY_EXISTS" and (existing := find()):
                return existing
            raise

    def _delete(self, endpoint: str, params: dict[str, Any], missing_ok: bool) -> None:
        try:
            self.call("DELETE", endpoint, params)
        except MLflowAPIError as error:
            if not missing_ok or not self.is_missing(error, params["name"]):
                raise

    def _version_like(self, wanted: dict[str, str]) -> dict[str, Any] | None:
        conditions = [_condition(field, wanted.get(field, "")) for field in ("name", "run_id")]
        for version in self.search_model_versions(" and ".join(filter(None, conditions))):
            if wanted.items() <= version.items() and version.get("status") != "FAILED_REGISTRATION":
                return self._read_version(version)
        return None

    def _read_version(self, version: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(version.get("name"), str) or not str(version.get("version")).isdecimal():
            raise self.unexpected(f"{version} is not a model version", "the registry")
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
            raise self.unexpected(f"{metric} is not a value of a metric", "the tracking server") from None

    def _zero_or_nan(self, metric: Mapping[str, Any]) -> float:
        # MLflow 3.17 stores a NaN of a logged model as 0, which would pass for a perfect score. Its run has the NaN.
        moment = (metric["timestamp"], metric["step"])
        history = self.get_metric_history(metric.get("run_id", ""), metric["key"])
        logged = (item["value"] for item in history if (item["timestamp"], item["step"]) == moment)
        return math.nan if any(math.isnan(value) for value in logged) else 0.0


def logged_model_id(source: str) -> str | None:
    """Return the id of the logged model in the source of a version, or None."""
    found = _LOGGED_MODEL.search(source)
    return found[1] if found else None


def _active_id(experiment: dict[str, Any] | None) -> str | None:
    experiment_id = experiment["experiment_id"] if experiment else None
    if experiment and experiment.get("lifecycle_stage") == "deleted":
        raise MLflowError(
            f"Experiment {experiment.get('name')!r} (id {experiment_id}) is deleted and MLflow keeps its name: "
            f"bring it back with `mlflow experiments restore --experiment-id {experiment_id}` or use another name"
        )
    return experiment_id


def _now() -> int:
    return time.time_ns() // 1_000_000


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def _condition(field: str, value: str) -> str:
    """Return a condition of a filter, or nothing for a value with both quotes, which MLflow cannot escape."""
    if not value or ("'" in value and '"' in value):
        return ""
    return f'{field}="{value}"' if "'" in value else f"{field}='{value}'"


def _model(name: Any) -> dict[str, str]:
    return {"name": as_text("the model", name)}


def _version(name: Any, version: Any) -> dict[str, str]:
    return {**_model(name), "version": as_text("the version", version)}
