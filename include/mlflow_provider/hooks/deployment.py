"""Deployments: models served by another system, through ``mlflow.deployments``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..environment import patched_environment
from ..exceptions import MLflowError
from .base import MLflowBaseHook

if TYPE_CHECKING:
    from mlflow.deployments import BaseDeploymentClient


class MLflowDeploymentHook(MLflowBaseHook):
    """Deploys models to a target of ``mlflow.deployments``, and predicts with them there.

    All methods raise :class:`MLflowError` if a connection cannot be used, and the errors of the target's plugin.
    https://mlflow.org/docs/latest/api_reference/python_api/mlflow.deployments.html

    :param target_uri: such as ``sagemaker:/us-west-2``; its plugin must be installed,
        https://mlflow.org/docs/latest/ml/plugins/#deployment-plugins
    :param target_conn_id: Airflow connection of type ``aws`` with the target's login and password, in its extra
        ``aws_session_token`` and ``region_name``. Without one the target finds its own credentials.
    """

    hook_name = "MLflow Deployment"

    def __init__(self, mlflow_conn_id: str, target_uri: str, target_conn_id: str | None = None) -> None:
        super().__init__(mlflow_conn_id)
        self.target_uri = target_uri
        self.target_conn_id = target_conn_id

    def get_conn(self) -> BaseDeploymentClient:
        """Return the target's client; make it and call it inside ``with hook.environment():``."""
        from mlflow.deployments import get_deploy_client

        return get_deploy_client(self.target_uri)

    @contextmanager
    def environment(self) -> Iterator[None]:
        """Set MLflow's and the target's variables for a ``with`` block, as :meth:`MLflowBaseHook.environment`."""
        with super().environment(), patched_environment(self._target_variables()):
            yield

    def aws_conn_dict(self) -> dict[str, str]:
        """Return the environment variables, secrets, that the target's connection of type ``aws`` gives.

        A connection without login gives none of the keys, so that a role or a profile counts.
        """
        conn = self.get_connection(self.target_conn_id or "")
        values = {
            "AWS_ACCESS_KEY_ID": conn.login,
            "AWS_SECRET_ACCESS_KEY": conn.password,
            "AWS_SESSION_TOKEN": conn.extra_dejson.get("aws_session_token"),
            "AWS_DEFAULT_REGION": conn.extra_dejson.get("region_name"),
        }
        return {name: value for name, value in values.items() if value}

    def create_deployment(
        self,
        name: str,
        model_uri: str,
        flavor: str | None = None,
        config: dict[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> dict[str, Any]:
        """Deploy a model and return the target's description of the deployment, at least its ``name``."""
        where = {"flavor": flavor, "config": config, "endpoint": endpoint}
        with self.environment():
            answer = self.get_conn().create_deployment(name=name, model_uri=model_uri, **where)
        # The deployment exists now: failing over a value that JSON cannot hold would make Airflow retry.
        return json.loads(json.dumps(answer, default=str))

    def predict(self, deployment_name: str, inputs: Any, endpoint: str | None = None) -> str:
        """Predict with a deployment and return the answer as JSON, such as ``{"predictions": [36.1]}``.

        :param inputs: a DataFrame, or any other value that the target accepts
        :raises MLflowError: JSON cannot hold the answer
        """
        with self.environment():
            answer = self.get_conn().predict(deployment_name=deployment_name, inputs=inputs, endpoint=endpoint)
        # MLflow's own targets for language models answer with a plain dict; a plugin may answer with arrays.
        try:
            return answer.to_json() if hasattr(answer, "to_json") else json.dumps(answer, default=_listed)
        except (TypeError, ValueError) as error:
            raise MLflowError(f"The answer of {deployment_name!r} at {self.target_uri} is not JSON: {error}") from error

    def _target_variables(self) -> dict[str, str | None]:
        if self.target_conn_id is None:
            return {}
        conn = self.get_connection(self.target_conn_id)
        if conn.conn_type != "aws":
            problem = "Connection %r is of type %r, and only the login of type aws reaches a target: it is left out"
            self.log.warning(problem, self.target_conn_id, conn.conn_type)
            return {}
        variables = self.aws_conn_dict()
        # A stale session token would make the connection's keys invalid.
        token = {"AWS_SESSION_TOKEN": None} if "AWS_ACCESS_KEY_ID" in variables else {}
        return {**token, **variables}


def _listed(value: Any) -> Any:
    if not hasattr(value, "tolist"):
        raise TypeError(f"it holds a {type(value).__name__}")
    return value.tolist()
