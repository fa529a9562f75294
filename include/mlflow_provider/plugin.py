"""Airflow plugin: the receiver of MLflow's webhooks, where the setting ``[mlflow] webhook_receiver`` is true."""

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin


class MLflowPlugin(AirflowPlugin):
    """Adds ``POST /mlflow/webhooks/<connection id>`` to the API server."""

    name = "mlflow"
    if conf.getboolean("mlflow", "webhook_receiver", fallback=False):
        from .webhooks import app

        fastapi_apps = [{"app": app, "url_prefix": "/mlflow", "name": "MLflow webhooks"}]
