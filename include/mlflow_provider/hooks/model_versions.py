"""MLflow's model registry API: versions of registered models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..exceptions import MLflowError
from .fields import Tags, given, tag_list
from .registered_models import RegisteredModelAPI
from .rest import API

VERSIONS = f"{API}/model-versions"

# As MLflow itself reads it: models:/name/3, models:/name/Production, models:/name/latest, models:/name@alias, and any
# of them after three slashes or more. A name may hold an @.
_VERSION_URI = re.compile(r"models:(?:/|/{3,})([^/]+)(?:/([^/]+)|@([^/@]+))")
# models:/m-<id>, or an artifact folder that ends in models/m-<id>/artifacts
_LOGGED_MODEL = re.compile(r"(?:^models:|/models)/+(m-[0-9a-f]+)(?:/artifacts)?/?$")


class ModelVersionAPI(RegisteredModelAPI):
    """Methods of ``mlflow.MlflowClient`` for model versions, in its words, over REST."""

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


def logged_model_id(source: str) -> str | None:
    """Return the id of the logged model that the source of a version names, or None if it names none."""
    found = _LOGGED_MODEL.search(source)
    return found[1] if found else None


def _quoted(value: str) -> str:
    return f'"{value}"' if "'" in value else f"'{value}'"
