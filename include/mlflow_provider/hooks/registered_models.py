"""MLflow's model registry API: registered models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from ..exceptions import MLflowAPIError, MLflowConnectionError, MLflowError
from .fields import Tags, given, tag_list
from .rest import API, MLflowRestHook

MODELS = f"{API}/registered-models"


class RegisteredModelAPI(MLflowRestHook):
    """Methods of ``mlflow.MlflowClient`` for registered models and their aliases, in its words, over REST."""

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
