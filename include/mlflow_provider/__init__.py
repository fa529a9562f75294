"""MLflow hooks, operators and sensors for Apache Airflow 3."""

from typing import Any

__version__ = "2.0.0.dev0"


_FORM = {
    # The port stays: without one, the Test button of Airflow 3.3.2 refuses every type of connection,
    # https://github.com/apache/airflow/pull/73298
    "hidden-fields": ["schema"],
    "relabeling": {"host": "Tracking URI", "login": "User", "password": "Password or token"},
    "placeholders": {"host": "https://mlflow.example/prefix", "port": "5000", "login": "none if there is a token"},
}

_TEXT = {"type": ["string", "null"]}
_FLAG = {"type": ["boolean", "null"], "default": True}
_SECONDS = {"type": ["number", "null"], "minimum": 1, "default": 20}
_FIELDS = {
    name: {"label": label, "description": description, "schema": schema}
    for name, label, description, schema in (
        ("registry_uri", "Registry URI", "URL of the server with the model registry, if that is another", _TEXT),
        ("ui_uri", "UI URI", "URL at which browsers reach MLflow, if another: links in Airflow use it", _TEXT),
        ("verify", "Verify TLS", "Whether the server's certificate must be trusted", _FLAG),
        ("ca_bundle", "CA bundle", "Path, on the workers, of a PEM file with the authorities to trust", _TEXT),
        ("timeout", "Timeout", "Seconds to wait for an answer", _SECONDS),
        ("webhook_secret", "Webhook secret", "What MLflow signs its webhooks with", _TEXT | {"format": "password"}),
    )
}
_OPTIONS = {
    "webhook_receiver": {
        "description": "Whether the API server has a receiver of MLflow's webhooks, /mlflow/webhooks/<connection id>.",
        "version_added": "2.0.0",
        "type": "boolean",
        "example": None,
        "default": "False",
    }
}
_MODULES = {
    "hooks": ("base", "client", "deployment", "pyfunc"),
    "operators": ("deployment", "pyfunc", "registry"),
    "sensors": ("model_version",),
    "triggers": ("model_version", "registry"),
}


def get_provider_info() -> dict[str, Any]:
    """Describe this package to Airflow's providers manager, in the fields of Airflow's provider schema."""
    integration = "MLflow"
    return {
        "package-name": "mlflow-for-airflow",
        "name": integration,
        "description": "MLflow tracking, model registry, deployment and prediction for Apache Airflow 3.",
        "versions": [__version__],
        "integrations": [
            {"integration-name": integration, "external-doc-url": "https://mlflow.org/", "tags": ["software"]}
        ],
        **{
            kind: [{"integration-name": integration, "python-modules": [f"{__name__}.{kind}.{name}" for name in names]}]
            for kind, names in _MODULES.items()
        },
        "connection-types": [
            {
                "connection-type": "mlflow",
                "hook-class-name": f"{__name__}.hooks.client.MLflowClientHook",
                "hook-name": integration,
                "ui-field-behaviour": _FORM,
                "conn-fields": _FIELDS,
            }
        ],
        "asset-uris": [{"schemes": ["mlflow"], "handler": f"{__name__}.assets.sanitize_uri"}],
        "task-decorators": [{"name": "mlflow", "class-name": f"{__name__}.decorators.mlflow_task"}],
        "plugins": [{"name": "mlflow", "plugin-class": f"{__name__}.plugin.MLflowPlugin"}],
        "config": {"mlflow": {"description": "The MLflow provider.", "options": _OPTIONS}},
        "extra-links": [f"{__name__}.links.MLflowLink"],
    }
