"""``mlflow.pyfunc`` models: location, requirements, download and copies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..exceptions import MLflowError
from ..objects import fetch_folder, hash_folder, is_s3, read_text
from .base import MLflowBaseHook
from .client import MLflowClientHook
from .rest import is_identified
from .values import records

HASH_TAG = "artifact_sha256"
ORIGIN_TAG = "copied_from"
_PROXIED = re.compile(r"mlflow-artifacts:/+(?!/)(.+)")
_LOGGED_MODEL = re.compile(r"models:/(m-[0-9a-f]+)")
_RUN = re.compile(r"runs:/+([^/'\"]+)/(([^/]+)(/.*)?)")
FORMS = (
    "models:/<name>/<version>, models:/<name>@<alias>, models:/<model id, m-...>, runs:/<run id>/<path> or a folder "
    "such as s3://<bucket>/<folder>"
)
# Modules that load a pickle; mlflow.pyfunc.model does so unless the model was logged as code.
PICKLING = ("mlflow.sklearn", "mlflow.statsmodels", "mlflow.pmdarima", "mlflow.pyfunc.model")


class MLflowPyfuncHook(MLflowBaseHook):
    """Finds and fetches models that ``mlflow.pyfunc`` can load.

    It uses the REST API where it can, because importing ``mlflow`` takes a second, and reads S3 with its Airflow
    connection. Other URIs are left to the ``mlflow`` library.

    :param aws_conn_id: Airflow connection of models in S3, unless their URI names one:
        ``s3://connection@bucket/folder``
    """

    hook_name = "MLflow Pyfunc"

    def __init__(
        self, mlflow_conn_id: str = MLflowBaseHook.default_conn_name, aws_conn_id: str | None = "aws_default"
    ) -> None:
        super().__init__(mlflow_conn_id)
        self.aws_conn_id = aws_conn_id

    @cached_property
    def client(self) -> MLflowClientHook:
        """The REST client of the same connection."""
        return MLflowClientHook(mlflow_conn_id=self.mlflow_conn_id)

    def get_conn(self) -> Any:
        """Return the module ``mlflow.pyfunc``; call it inside ``with hook.environment():``."""
        from mlflow import pyfunc

        return pyfunc

    def resolve_version(self, model_uri: str) -> str:
        """Return ``models:/name/3`` for any URI of :meth:`MLflowClientHook.find_model_version`.

        Other URIs, and all on Databricks, are returned unchanged.
        """
        found = self._find_version(model_uri)
        return f"models:/{found[0]}/{found[1]}" if found else model_uri

    def get_model_page(self, model_uri: str) -> str:
        """Return the address of a model's page in MLflow: its version, its run, or the logged model itself.

        It is empty for a URI of files, such as ``s3://``, and on Databricks.
        """
        if self.server.is_databricks:
            return ""
        if version := self._find_version(model_uri):
            return self.server.page("models", version[0], "versions", version[1])
        if found := _LOGGED_MODEL.fullmatch(model_uri):
            experiment_id = self.client.get_logged_model(found[1])["info"]["experiment_id"]
            return self.server.page("experiments", experiment_id, "models", found[1])
        if found := _RUN.fullmatch(model_uri):
            experiment_id = self.client.get_run(found[1])["info"]["experiment_id"]
            return self.server.page("experiments", experiment_id, "runs", found[1])
        return ""

    def get_model_artifact_uri(self, model_uri: str) -> str:
        """Return the URI of the folder that holds a model.

        :param model_uri: ``models:/m-1f0c...``, ``runs:/8e3f.../model`` or a version as in
            :meth:`MLflowClientHook.find_model_version`; any other URI is returned unchanged
        :raises MLflowError: a ``models:`` or ``runs:`` URI is malformed, or its model does not exist
        """
        if self.server.is_databricks:
            return model_uri
        if found := _LOGGED_MODEL.fullmatch(model_uri):
            return self.client.get_logged_model(found[1])["info"]["artifact_uri"]
        if version := self._find_version(model_uri):
            return self.client.get_model_version_download_uri(*version)
        if found := _RUN.fullmatch(model_uri):
            return self._model_of_run(*found.groups(default=""))
        if not model_uri or model_uri.startswith(("models:", "runs:")):
            raise MLflowError(f"{model_uri!r} names no model: use {FORMS}")
        return model_uri

    def read_model_file(self, artifact_uri: str, name: str) -> str:
        """Return the text of one file, such as ``requirements.txt``, of a model in storage or a local folder."""
        try:
            if (local := Path(artifact_uri)).is_dir():
                return (local / name).read_text()
            if path := _proxied_path(artifact_uri):
                return self.client.read_artifact(f"{path}/{name}").decode()
            uri = f"{artifact_uri.rstrip('/')}/{name}"
            if is_s3(uri):
                return read_text(uri, self.aws_conn_id)
            with self._artifacts() as artifacts:
                return artifacts.load_text(uri)
        except (MLflowError, FileNotFoundError) as error:
            raise MLflowError(f"The model at {artifact_uri} has no readable {name}: {error}") from error

    def get_model_requirements(self, artifact_uri: str) -> list[str]:
        """Return the lines of a model's ``requirements.txt`` without blank lines and comments."""
        lines = (line.strip() for line in self.read_model_file(artifact_uri, "requirements.txt").splitlines())
        return [line for line in lines if line and not line.startswith("#")]

    def find_pickle(self, artifact_uri: str) -> str:
        """Return the module that would unpickle a model, or nothing for a model that is not pickled.

        MLflow refuses pickled models where ``MLFLOW_ALLOW_PICKLE_DESERIALIZATION`` is false.
        """
        import yaml  # type: ignore[import-untyped]

        description = yaml.safe_load(self.read_model_file(artifact_uri, "MLmodel"))
        flavor = description.get("flavors", {}).get("python_function", {})
        loader = flavor.get("loader_module", "")
        return loader if loader in PICKLING and "model_code_path" not in flavor else ""

    def download_model(self, artifact_uri: str, folder: Path) -> Path:
        """Download a model to an existing local folder, and return the folder with the file ``MLmodel``."""
        if is_s3(artifact_uri):
            fetch_folder(artifact_uri, folder, self.aws_conn_id)
            return folder
        if path := _proxied_path(artifact_uri):
            for name in self.client.list_artifact_files(path):
                self.client.download_artifact(f"{path}/{name}", folder / name)
            return folder
        with self._artifacts() as artifacts:
            return Path(artifacts.download_artifacts(artifact_uri=artifact_uri, dst_path=str(folder)))

    def hash_model(self, model_uri: str) -> str:
        """Return the SHA-256 of a model's files, for the tag ``artifact_sha256`` of its version."""
        with TemporaryDirectory() as folder:
            return hash_folder(self.download_model(self.get_model_artifact_uri(model_uri), Path(folder)))

    def get_recorded_hash(self, model_uri: str) -> str:
        """Return the tag ``artifact_sha256`` of a version, or nothing if there is none."""
        version = self._find_version(model_uri)
        return _tags_of(self.client.get_model_version(*version)).get(HASH_TAG, "") if version else ""

    def fetch_model(self, model_uri: str, folder: Path) -> Path:
        """Download a model to an empty folder and compare its files with :meth:`get_recorded_hash`.

        :return: the folder with the file ``MLmodel``
        :raises MLflowError: the model cannot be read, or its files have another hash
        """
        version_uri = self.resolve_version(model_uri)
        artifact_uri = self.get_model_artifact_uri(version_uri)
        local = self.download_model(artifact_uri, folder)
        recorded = self.get_recorded_hash(version_uri)
        if recorded and (found := hash_folder(local)) != recorded:
            raise MLflowError(
                f"The files of {model_uri} at {artifact_uri} are not those that were registered: their SHA-256 is "
                f"{found}, and the version's tag {HASH_TAG} says {recorded}. They were not loaded. Find out who "
                "changed them, and register the model again"
            )
        return local

    def copy_model_version(
        self,
        source: MLflowPyfuncHook,
        model_uri: str,
        name: str,
        exist_ok: bool = False,
        tags: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Copy a version with its files from another server, and return the new version.

        Its tags ``copied_from`` and ``artifact_sha256`` hold the page of the original and the hash of the files.

        :param source: the hook of the other server
        :param exist_ok: return an existing copy of this version
        :param tags: other tags of the copy; those of the original if None
        :raises MLflowError: the uploaded files have another hash
        """
        original = source.client.read_version_of(model_uri)
        origin = source.server.page("models", original["name"], "versions", original["version"])
        for version in self.client.search_versions_of(name) if exist_ok else ():
            if _tags_of(version).get(ORIGIN_TAG) == origin:
                return version
        self.client.create_registered_model(name, exist_ok=True)
        experiment_id = self.client.create_experiment(name, exist_ok=True)
        with TemporaryDirectory() as folder:
            files = source.fetch_model(f"models:/{original['name']}/{original['version']}", Path(folder))
            digest = hash_folder(files)
            run = self.client.create_run(experiment_id, tags={ORIGIN_TAG: origin}, run_name="copy")["info"]
            try:
                self._upload(files, run["run_id"])
            except MLflowError:
                self.client.set_terminated(run["run_id"], "FAILED")
                raise
        self.client.set_terminated(run["run_id"])
        artifact_uri = f"{run['artifact_uri']}/model"
        if (arrived := self.hash_model(artifact_uri)) != digest:
            raise MLflowError(f"{model_uri} arrived at {artifact_uri} with the SHA-256 {arrived}, not {digest}")
        tags = {**(_tags_of(original) if tags is None else tags), ORIGIN_TAG: origin, HASH_TAG: digest}
        description = original.get("description")
        return self.client.create_model_version(name, artifact_uri, run["run_id"], tags, description=description)

    def _upload(self, files: Path, run_id: str) -> None:
        from mlflow import MlflowClient

        with self._artifacts():
            MlflowClient().log_artifacts(run_id, str(files), "model")

    def _find_version(self, model_uri: str) -> tuple[str, str] | None:
        return None if self.server.is_databricks else self.client.find_model_version(model_uri)

    def _model_of_run(self, run_id: str, path: str, name: str, rest: str) -> str:
        """Return the folder of a model that a run logged; in MLflow 2 it is among the run's artifacts."""
        run = self.client.get_run(run_id)["info"]
        for model in self.client.search_logged_models([run["experiment_id"]], f"source_run_id = '{run_id}'"):
            if is_identified("model", model) and model["info"].get("name") == name:
                return f"{model['info']['artifact_uri']}{rest}"
        return f"{run['artifact_uri']}/{path}"

    @contextmanager
    def _artifacts(self) -> Iterator[Any]:
        from mlflow import artifacts
        from mlflow.exceptions import MlflowException

        try:
            with self.environment():
                yield artifacts
        except (MlflowException, OSError) as error:
            raise MLflowError(f"mlflow, with connection {self.mlflow_conn_id!r}: {error}") from error


def _tags_of(version: dict[str, Any]) -> dict[str, str]:
    return {str(tag.get("key")): str(tag.get("value", "")) for tag in records(version.get("tags"))}


def _proxied_path(artifact_uri: str) -> str | None:
    """Return the path below the artifact proxy, or None for a URI that names another store or host."""
    found = _PROXIED.fullmatch(artifact_uri)
    return found[1].rstrip("/") if found and "://" not in artifact_uri else None
