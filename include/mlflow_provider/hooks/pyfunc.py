"""Models of the ``mlflow.pyfunc`` kind: where they are and what they need."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Any

from ..exceptions import MLflowAPIError, MLflowError
from .base import MLflowBaseHook
from .client import MLflowClientHook
from .model_versions import ALIAS_URI, VERSION_URI

_PROXIED = re.compile(r"mlflow-artifacts:/+(?!/)(.+)")
_LOGGED_MODEL = re.compile(r"models:/(m-[0-9a-f]+)")


class MLflowPyfuncHook(MLflowBaseHook):
    """Finds and fetches models that ``mlflow.pyfunc`` can load.

    What the server's REST API can answer is asked there, because importing ``mlflow`` takes a second;
    other URIs are left to the ``mlflow`` library.

    :param mlflow_conn_id: id of the Airflow connection of the MLflow server
    """

    hook_name = "MLflow Pyfunc"

    @cached_property
    def client(self) -> MLflowClientHook:
        """The REST client of the same connection."""
        return MLflowClientHook(mlflow_conn_id=self.mlflow_conn_id)

    def get_conn(self) -> Any:
        """Return the module ``mlflow.pyfunc``; call it inside ``with hook.environment():``."""
        from mlflow import pyfunc

        return pyfunc

    def get_model_artifact_uri(self, model_uri: str) -> str:
        """Return the URI of the folder that holds a model now, so that an alias moved later does not matter.

        :param model_uri: ``models:/name/3``, ``models:/name@alias`` or ``models:/m-1f0c...``; any other URI
            is returned as it is
        :raises MLflowAPIError: there is no such model, version or alias
        """
        if self.server.is_databricks:
            return model_uri
        if found := _LOGGED_MODEL.fullmatch(model_uri):
            return self.client.get_logged_model(found[1])["info"]["artifact_uri"]
        if found := ALIAS_URI.fullmatch(model_uri):
            version = self.client.get_model_version_by_alias(found[1], found[2])["version"]
            return self.client.get_model_version_download_uri(found[1], version)
        if found := VERSION_URI.fullmatch(model_uri):
            return self.client.get_model_version_download_uri(found[1], found[2])
        return model_uri

    def read_model_file(self, artifact_uri: str, name: str) -> str:
        """Return the text of one file of a model, as it is in the artifact store now.

        :param artifact_uri: folder of the model
        :param name: such as ``requirements.txt``
        :raises MLflowError: the model has no such file
        """
        try:
            if path := _proxied_path(artifact_uri):
                return self.client.read_artifact(f"{path}/{name}").decode()
            return self._read_with_mlflow(f"{artifact_uri.rstrip('/')}/{name}")
        except MLflowAPIError as error:
            raise MLflowError(f"The model at {artifact_uri} has no readable {name}: {error}") from error

    def get_model_requirements(self, artifact_uri: str) -> list[str]:
        """Return the lines of a model's ``requirements.txt`` without blank lines and comments.

        :param artifact_uri: folder of the model
        :raises MLflowError: the model has no such file
        """
        lines = (line.strip() for line in self.read_model_file(artifact_uri, "requirements.txt").splitlines())
        return [line for line in lines if line and not line.startswith("#")]

    def download_model(self, artifact_uri: str, folder: Path) -> Path:
        """Copy a model to the local disk.

        :param artifact_uri: folder of the model
        :param folder: an existing folder to copy it to
        :return: the folder that holds the file ``MLmodel``
        :raises MLflowError: the server refused or did not answer
        """
        path = _proxied_path(artifact_uri)
        if path is None:
            return self._download_with_mlflow(artifact_uri, folder)
        for name in self.client.list_artifact_files(path):
            self.client.download_artifact(f"{path}/{name}", folder / name)
        return folder

    def _read_with_mlflow(self, uri: str) -> str:
        from mlflow.artifacts import load_text

        with self.environment():
            return load_text(uri)

    def _download_with_mlflow(self, uri: str, folder: Path) -> Path:
        from mlflow.artifacts import download_artifacts

        with self.environment():
            return Path(download_artifacts(artifact_uri=uri, dst_path=str(folder)))


def _proxied_path(artifact_uri: str) -> str | None:
    """Return the path below the artifact proxy, or None for a URI that names another store or host."""
    found = _PROXIED.fullmatch(artifact_uri)
    return found[1].rstrip("/") if found and "://" not in artifact_uri else None
