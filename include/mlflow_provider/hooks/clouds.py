"""Authentication with cloud packages: Databricks OAuth, SageMaker, Azure Machine Learning."""

from typing import Any

import requests
from requests.auth import AuthBase

from ..environment import patched_environment
from ..exceptions import MLflowError
from .server import MLflowServer


class PluginAuth(AuthBase):
    """Signs each request with the MLflow plugin of the server's URI and the credentials that the plugin finds."""

    def __init__(self, server: MLflowServer) -> None:
        self.server = server

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the plugin's token or signature."""
        credentials = plugin_credentials(self.server)
        if not credentials.auth:
            request.headers["Authorization"] = f"Bearer {credentials.token}"
            return request
        from mlflow.tracking.request_auth.registry import fetch_auth

        with patched_environment({"MLFLOW_TRACKING_URI": self.server.plugin_uri}):
            return fetch_auth(credentials.auth)(request)


class DatabricksAuth(AuthBase):
    """Sends an OAuth token of a service principal, which the Databricks SDK fetches and renews."""

    def __init__(self, server: MLflowServer) -> None:
        try:
            from databricks.sdk.core import Config

            settings: dict[str, Any] = {"client_id": server.login, "client_secret": server.password}
            seconds = max(1, round(server.timeout))
            settings |= {"http_timeout_seconds": seconds, "retry_timeout_seconds": seconds}
            self.config = Config(host=server.base_url, auth_type="oauth-m2m", **settings)
        except Exception as error:
            raise _unusable(server, "databricks", error) from None  # the error may show the settings

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add a token that is valid now."""
        request.headers.update(self.config.authenticate())
        return request


def plugin_credentials(server: MLflowServer) -> Any:
    """Return the ``MlflowHostCreds`` of a server behind a plugin: its address, and a token or a kind of signature.

    :raises MLflowError: the plugin is not installed, or finds no credentials
    """
    try:
        from mlflow.tracking._tracking_service.utils import _get_store

        with patched_environment({"MLFLOW_TRACKING_URI": server.plugin_uri}):
            return _get_store(server.plugin_uri).get_host_creds()
    except Exception as error:
        extra = "sagemaker" if server.plugin_uri.startswith("arn:") else "azureml"
        raise _unusable(server, extra, error) from error


def _unusable(server: MLflowServer, extra: str, error: Exception) -> MLflowError:
    reason = str(error).partition("\n")[0]
    remedy = f"Is the extra [{extra}] of this package installed, and are the credentials right?"
    return MLflowError(f"Connection {server.conn_id!r}: no login with its cloud: {reason}. {remedy}")
