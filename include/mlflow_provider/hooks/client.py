"""MLflow's REST API as one hook."""

from __future__ import annotations

from .artifacts import ArtifactAPI
from .version_metrics import VersionMetricAPI


class MLflowClientHook(VersionMetricAPI, ArtifactAPI):
    """Speaks with an MLflow server over its REST API, https://mlflow.org/docs/latest/rest-api.html.

    :meth:`run` reaches any endpoint with the verb given here; the other methods carry the names and
    arguments of ``mlflow.MlflowClient`` and use the verb that their endpoint wants.

    :param method: HTTP verb of :meth:`run`
    :param mlflow_conn_id: id of the Airflow connection of the MLflow server, with the fields that
        :meth:`MLflowServer.from_connection` reads
    :param auth_type: called with login and password to make a ``requests`` auth
    """

    hook_name = "MLflow Client"
