"""Operators that deploy models to other systems and predict with them there.

Both take ``mlflow_conn_id``, the Airflow connection of the MLflow server; ``target_uri``, such as
``sagemaker:/us-west-2``, whose plugin must be installed (templated); and ``target_conn_id``, an Airflow connection of
type ``aws`` with the target's login (templated), without which the target finds its own credentials. Errors of the
plugin are not wrapped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from ..links import MLflowLink

if TYPE_CHECKING:
    from airflow.sdk import Context

    from ..hooks.deployment import MLflowDeploymentHook

TARGET = ("target_uri", "target_conn_id")


class _DeploymentOperator(BaseOperator):
    """An operator for one deployment target."""

    ui_color = "#f4a460"

    def __init__(
        self,
        *,
        mlflow_conn_id: str = "mlflow_default",
        target_uri: str,
        target_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.mlflow_conn_id = mlflow_conn_id
        self.target_uri = target_uri
        self.target_conn_id = target_conn_id

    @property
    def hook(self) -> MLflowDeploymentHook:
        from ..hooks.deployment import MLflowDeploymentHook  # imports requests, which would slow down DAG parsing

        return MLflowDeploymentHook(self.mlflow_conn_id, self.target_uri, self.target_conn_id)


class CreateDeploymentOperator(_DeploymentOperator):
    """Deploys a model and returns the target's description of the deployment, at least its ``name``.

    :param name: of the deployment; the target decides whether it may exist already (templated)
    :param model_uri: such as ``models:/name@alias`` (templated)
    :param flavor: of the model; the target's default if not given (templated)
    :param config: settings of the target, visible in Airflow's UI: no secrets (templated)
    :param endpoint: the endpoint to deploy to, if the target has endpoints (templated)
    :raises MLflowError: a connection cannot be used, or MLflow does not show the model; nothing was deployed
    """

    template_fields: Sequence[str] = ("name", "model_uri", "flavor", "config", "endpoint", *TARGET)
    template_fields_renderers = {"config": "json"}
    operator_extra_links = (MLflowLink(),)
    mlflow_page = ""

    def __init__(
        self,
        *,
        name: str,
        model_uri: str,
        flavor: str | None = None,
        config: dict[str, Any] | None = None,
        endpoint: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.model_uri = model_uri
        self.flavor = flavor
        self.config = config
        self.endpoint = endpoint

    def execute(self, context: Context) -> dict[str, Any]:
        from ..hooks.pyfunc import MLflowPyfuncHook

        # Before the deployment, because a retry after a later failure would find the name taken.
        self.mlflow_page = MLflowPyfuncHook(self.mlflow_conn_id).get_model_page(self.model_uri)
        return self.hook.create_deployment(self.name, self.model_uri, self.flavor, self.config, self.endpoint)


class PredictOperator(_DeploymentOperator):
    """Predicts with a deployed model and returns the answer as JSON, such as ``{"predictions": [36.1]}``.

    :param inputs: a DataFrame, or any other value that the target accepts (templated)
    :param endpoint: the endpoint to predict with, if the target has endpoints (templated)
    """

    template_fields: Sequence[str] = ("deployment_name", "inputs", "endpoint", *TARGET)

    def __init__(self, *, deployment_name: str, inputs: Any = None, endpoint: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deployment_name = deployment_name
        self.inputs = inputs
        self.endpoint = endpoint

    def execute(self, context: Context) -> str:
        return self.hook.predict(self.deployment_name, self.inputs, self.endpoint)
