"""MLflow hooks, operators and sensors for Apache Airflow 3."""

from __future__ import annotations

from typing import Any

__version__ = "2.0.0.dev0"


_FORM = {
    # The port stays: without one, the Test button of Airflow 3.3.2 refuses every type of connection,
    # https://github.com/apache/airflow/pull/73298
    "hidden-fields": ["schema"],
    "relabeling": {"host": "Tracking URI", "login": "User", "password": "Password or token"},
    "placeholders": {
        "host": "https://mlflow.example/prefix",
        "port": "5000",
        "login": "none if the password is a token",
    },
}

_FIELDS = {
    "registry_uri": {
        "label": "Registry URI",
        "description": "URL of the server that holds the model registry, if it is another than the tracking server",
        "schema": {"type": ["string", "null"]},
    },
    "ui_uri": {
        "label": "UI URI",
        "description": "URL at which browsers reach MLflow, if not at the tracking URI; links in Airflow use it",
        "schema": {"type": ["string", "null"]},
    },
    "verify": {
        "label": "Verify TLS",
        "description": "Whether the server's certificate must be one that is trusted",
        "schema": {"type": ["boolean", "null"], "default": True},
    },
    "ca_bundle": {
        "label": "CA bundle",
        "description": "Path, on the workers, of a PEM file with the certificate authorities to trust",
        "schema": {"type": ["string", "null"]},
    },
    "timeout": {
        "label": "Timeout",
        "description": "Seconds to wait for an answer",
        "schema": {"type": ["number", "null"], "minimum": 1, "default": 20},
    },
}


def get_provider_info() -> dict[str, Any]:
    """Describe this package to Airflow's providers manager.

    :return: the fields of Airflow's provider schema,
        https://airflow.apache.org/docs/apache-airflow-providers/howto/create-custom-providers.html
    """
    integration = "MLflow"
    return {
        "package-name": "airflow-provider-mlflow",
        "name": integration,
        "description": "MLflow tracking, model registry, deployment and prediction for Apache Airflow 3.",
        "versions": [__version__],
        "integrations": [
            {"integration-name": integration, "external-doc-url": "https://mlflow.org/", "tags": ["software"]}
        ],
        "hooks": [
            {
                "integration-name": integration,
                "python-modules": [f"{__name__}.hooks.{name}" for name in ("base", "client", "deployment", "pyfunc")],
            }
        ],
        "operators": [
            {
                "integration-name": integration,
                "python-modules": [f"{__name__}.operators.{name}" for name in ("deployment", "pyfunc", "registry")],
            }
        ],
        "sensors": [{"integration-name": integration, "python-modules": [f"{__name__}.sensors.model_version"]}],
        "triggers": [{"integration-name": integration, "python-modules": [f"{__name__}.triggers.model_version"]}],
        "connection-types": [
            {
                "connection-type": "mlflow",
                "hook-class-name": f"{__name__}.hooks.client.MLflowClientHook",
                "hook-name": integration,
                "ui-field-behaviour": _FORM,
                "conn-fields": _FIELDS,
            }
        ],
        "extra-links": [f"{__name__}.links.MLflowLink"],
    }
