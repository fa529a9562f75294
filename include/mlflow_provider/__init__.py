"""MLflow hooks and operators for Apache Airflow 3."""

from __future__ import annotations

from typing import Any

__version__ = "2.0.0.dev0"


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
    }
