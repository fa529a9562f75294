"""Errors of the MLflow provider."""

from typing import Any

from airflow.sdk.exceptions import AirflowException


class MLflowError(AirflowException):
    """Base class of this provider's errors."""


class MLflowConnectionError(MLflowError):
    """The MLflow server did not answer."""


class MLflowAPIError(MLflowError):
    """MLflow answered with an error, such as ``RESOURCE_DOES_NOT_EXIST``, or not as MLflow does."""

    def __init__(self, message: str, status_code: int = 500, error_code: str = "") -> None:
        super().__init__(message)
        self.status_code = status_code  # type: ignore[assignment]
        self.error_code = error_code

    def serialize(self) -> tuple[str, tuple[str], dict[str, Any]]:
        """Return class path, arguments and keywords from which Airflow rebuilds this error."""
        path, arguments, _ = super().serialize()
        return path, arguments, {"status_code": self.status_code, "error_code": self.error_code}


class ModelPredictionError(MLflowError):
    """The model or its process failed."""
