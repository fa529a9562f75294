"""The condition that a model version must satisfy."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from ..exceptions import MLflowAPIError, MLflowConnectionError, MLflowError

if TYPE_CHECKING:
    from ..hooks.client import MLflowClientHook


class NotYetError(Exception):
    """The version does not satisfy the condition yet; the message says why."""


@dataclass(frozen=True)
class VersionCondition:
    """A version of a registered model is READY, and as :class:`MLflowModelVersionSensor` describes it."""

    name: str
    version: str | int | None = None
    alias: str | None = None
    metric: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    def check(self, hook: MLflowClientHook) -> dict[str, Any]:
        """Return the version if it satisfies the condition.

        :raises NotYetError: it does not, or it does not exist
        :raises AirflowFailException: it never will, or MLflow rejects the request
        :raises MLflowError: MLflow is unavailable
        """
        try:
            version = self._find(hook)
            _check_registration(version)
            if self.alias and self.version is not None and self.alias not in version.get("aliases", []):
                raise NotYetError(f"{_title(version)} does not carry the alias {self.alias!r}")
            self._check_metric(hook, version)
        except MLflowError as error:
            if self._is_missing(hook, error):
                raise NotYetError(f"not there yet. {error}") from error
            if _may_pass(error):
                raise
            raise AirflowFailException(str(error)) from error
        return version

    def _find(self, hook: MLflowClientHook) -> dict[str, Any]:
        if self.version is None:
            return hook.get_model_version_by_alias(self.name, self.alias or "")
        return hook.get_model_version(self.name, self.version)

    def _check_metric(self, hook: MLflowClientHook, version: dict[str, Any]) -> None:
        if self.metric is None:
            return
        value = hook.get_model_version_metric(version, self.metric)
        if value is None:
            raise NotYetError(f"{_title(version)} has no metric {self.metric!r}")
        low = -math.inf if self.at_least is None else self.at_least
        high = math.inf if self.at_most is None else self.at_most
        if not low <= value <= high:  # NaN is never within limits
            limits = {"at least": self.at_least, "at most": self.at_most}
            wanted = " and ".join(f"{words} {limit}" for words, limit in limits.items() if limit is not None)
            raise NotYetError(f"{_title(version)} has {self.metric} {value}, not {wanted}")

    def _is_missing(self, hook: MLflowClientHook, error: MLflowError) -> bool:
        with suppress(MLflowError):
            return hook.is_missing(error, self.name)
        return False


def _check_registration(version: dict[str, Any]) -> None:
    status = version.get("status", "READY")  # the default in MLflow's protocol
    if status == "FAILED_REGISTRATION":
        reason = version.get("status_message") or "MLflow gives no reason"
        raise AirflowFailException(f"{_title(version)} is {status}: {reason}. Register the model again.")
    if status != "READY":
        raise NotYetError(f"{_title(version)} is {status}")


def _may_pass(error: MLflowError) -> bool:
    """Return whether the server is down or failing, instead of refusing the request or not being MLflow."""
    if isinstance(error, MLflowAPIError):
        return error.status_code == 429 or error.status_code >= 500
    return isinstance(error, MLflowConnectionError)


def _title(version: dict[str, Any]) -> str:
    return f"Version {version['version']} of {version['name']!r}"
