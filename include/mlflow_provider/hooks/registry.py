"""MLflow's model registry API: registered models and their versions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..exceptions import MLflowAPIError
from .rest import API, MLflowRestHook

Tags = dict[str, str] | list[dict[str, str]]

# models:/m-<id>, or an artifact folder that ends in models/m-<id>/artifacts
_LOGGED_MODEL = re.compile(r"(?:^models:|/models)/+(m-[0-9a-f]+)(?:/artifacts)?/?$")


class RegistryAPI(MLflowRestHook):
    """Methods of ``mlflow.MlflowClient`` for the model registry, in its words, over REST."""

    def create_registered_model(
        self, name: str, tags: Tags | None = None, description: str | None = None, exist_ok: bool = False
    ) -> dict[str, Any]:
        """Create a registered model.

        :param tags: ``{key: value}`` or ``[{"key": key, "value": value}]``
        :param exist_ok: return a model that exists already, as it is
        :return: as in https://mlflow.org/docs/latest/rest-api.html#create-registeredmodel
        :raises MLflowAPIError: it exists and ``exist_ok`` is False, or the server refused
        """
        body = _given(name=name, tags=_tag_list(tags), description=description)
        try:
            return self.call("POST", f"{API}/registered-models/create", body)["registered_model"]
        except MLflowAPIError as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS" or not exist_ok:
                raise
        return self._registered_model(name)

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
        body = _given(
            name=name,
            source=source,
            run_id=run_id,
            tags=_tag_list(tags),
            run_link=run_link,
            description=description,
            model_id=model_id or _logged_model_id(source),
        )
        return self.call("POST", f"{API}/model-versions/create", body)["model_version"]

    def get_model_version(self, name: str, version: str | int) -> dict[str, Any]:
        """Return one version of a registered model.

        :return: as in https://mlflow.org/docs/latest/rest-api.html#get-modelversion
        :raises MLflowAPIError: there is no such version
        """
        query = {"name": name, "version": str(version)}
        return self.call("GET", f"{API}/model-versions/get", query)["model_version"]

    def get_model_version_by_alias(self, name: str, alias: str) -> dict[str, Any]:
        """Return the version of a registered model that carries an alias.

        :return: as the REST call behind
            https://mlflow.org/docs/latest/api_reference/python_api/mlflow.client.html#mlflow.client.MlflowClient.get_model_version_by_alias
        :raises MLflowAPIError: no version carries it
        """
        query = {"name": name, "alias": alias}
        return self.call("GET", f"{API}/registered-models/alias", query)["model_version"]

    def search_model_versions(self, filter_string: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the model versions that match, all pages of them.

        :param filter_string: such as ``name='possums' and run_id='8e3f...'``; all versions if not given
        :return: versions as in https://mlflow.org/docs/latest/rest-api.html#search-modelversions
        """
        return self.pages(f"{API}/model-versions/search", "model_versions", _given(filter=filter_string))

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
        return self.call("POST", f"{API}/model-versions/transition-stage", body)["model_version"]

    def set_registered_model_alias(self, name: str, alias: str, version: str | int) -> None:
        """Point an alias of a registered model to a version.

        https://mlflow.org/docs/latest/rest-api.html#set-registered-model-alias

        :raises MLflowAPIError: there is no such version, or MLflow does not allow this alias
        """
        body = {"name": name, "alias": alias, "version": str(version)}
        self.call("POST", f"{API}/registered-models/alias", body)

    def get_model_version_download_uri(self, name: str, version: str | int) -> str:
        """Return the URI of the folder that holds a version's artifacts.

        https://mlflow.org/docs/latest/rest-api.html#get-download-uri-for-modelversion-artifacts

        :raises MLflowAPIError: there is no such version
        """
        query = {"name": name, "version": str(version)}
        return self.call("GET", f"{API}/model-versions/get-download-uri", query)["artifact_uri"]

    def _registered_model(self, name: str) -> dict[str, Any]:
        return self.call("GET", f"{API}/registered-models/get", {"name": name})["registered_model"]

    def _version_of(self, name: str, source: str, run_id: str | None) -> dict[str, Any] | None:
        conditions = [f"name={_quoted(name)}", f"run_id={_quoted(run_id)}" if run_id else ""]
        for version in self.search_model_versions(" and ".join(filter(None, conditions))):
            if version["source"] == source and version.get("status") != "FAILED_REGISTRATION":
                return version
        return None


def _logged_model_id(source: str) -> str | None:
    found = _LOGGED_MODEL.search(source)
    return found[1] if found else None


def _quoted(value: str) -> str:
    return f'"{value}"' if "'" in value else f"'{value}'"


def _tag_list(tags: Tags | None) -> list[dict[str, str]] | None:
    if isinstance(tags, dict):
        return [{"key": key, "value": value} for key, value in tags.items()]
    return tags


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}
