"""Sensors for MLflow's model registry."""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseSensorOperator, Context, PokeReturnValue
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException

from ..exceptions import MLflowError
from ..links import MLflowLink
from ..triggers._condition import NotYetError, VersionCondition

DEFERRABLE = conf.getboolean("operators", "default_deferrable", fallback=False)
LIMITS = {"at_least", "at_most"}


class MLflowModelVersionSensor(BaseSensorOperator):
    """Waits until a version of a registered model is READY, and returns it.

    Optionally the version must have an alias, or a metric of its model within limits. The sensor waits for a model,
    version, alias or metric that does not exist yet.

    :param name: name of the registered model (templated)
    :param version: number of the version; the one with the alias by default (templated)
    :param alias: alias that the version must have (templated)
    :param metric: name of a metric; the newest value of the model itself takes precedence over those of its run
        (templated)
    :param at_least: lower limit of the metric, inclusive (templated)
    :param at_most: upper limit of the metric, inclusive (templated)
    :param deferrable: wait in the triggerer, without a worker; ``[operators] default_deferrable`` by default
    :param kwargs: of ``BaseSensorOperator``, such as ``timeout`` and ``poke_interval`` in seconds
    :return: as in https://mlflow.org/docs/latest/rest-api.html#get-modelversion
    :raises AirflowFailException: the registration failed, MLflow refused the request, or the connection cannot be
        used: no retry, and skipped with ``soft_fail``
    :raises MLflowError: MLflow is unavailable at the first poke. Later, or with ``silent_fail``, the sensor waits for
        it until the ``timeout``.
    """

    template_fields: Sequence[str] = ("name", "version", "alias", "metric", "at_least", "at_most")
    operator_extra_links = (MLflowLink(),)
    ui_color = "#f4a460"
    mlflow_page = ""

    def __init__(
        self,
        *,
        mlflow_conn_id: str = "mlflow_default",
        name: str,
        version: str | int | None = None,
        alias: str | None = None,
        metric: str | None = None,
        at_least: float | str | None = None,
        at_most: float | str | None = None,
        deferrable: bool = DEFERRABLE,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if version is None and alias is None:
            raise ValueError("name the version to wait for: give version, alias or both")
        if (metric is None) != (at_least is None and at_most is None):
            raise ValueError("a metric needs a limit and a limit a metric: give metric with at_least, at_most or both")
        self.mlflow_conn_id = mlflow_conn_id
        self.name = name
        self.version = version
        self.alias = alias
        self.metric = metric
        self.at_least = at_least
        self.at_most = at_most
        self.deferrable = deferrable
        self._given = [field for field in self.template_fields if getattr(self, field) is not None]
        self._answered = False

    def poke(self, context: Context) -> PokeReturnValue:
        """Check once; a deferrable sensor that has to wait defers."""
        condition = self._condition()
        try:
            return PokeReturnValue(True, self._check(condition))
        except NotYetError as reason:
            self._answered = True
            self.log.info("Waiting: %s", reason)
        except (MLflowError, AirflowNotFoundException) as error:
            is_first_look = not self._answered and not context.get("task_reschedule_count")
            if is_first_look and not self.silent_fail:
                raise
            self.log.warning("Waiting: %s", error)
        # Here and not in execute, so that soft_fail applies to the first poke as in the other modes.
        if self.deferrable:
            self._defer(condition)
        return PokeReturnValue(False)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Return what the trigger found."""
        if "error" in event:
            raise AirflowFailException(event["error"])
        self.mlflow_page = event["page"]
        return event["version"]

    def _condition(self) -> VersionCondition:
        fields = {field: getattr(self, field) for field in self._given}
        # An empty condition would let every version pass.
        if empty := [field for field, value in fields.items() if value in (None, "")]:
            raise AirflowFailException(f"{', '.join(empty)} came out empty: check the templates and tasks behind")
        limits = {field: _number(field, fields[field]) for field in LIMITS & fields.keys()}
        return VersionCondition(**(fields | limits))

    def _check(self, condition: VersionCondition) -> dict[str, Any]:
        # Imported here because requests would slow down DAG parsing. A new hook for every poke, because the password
        # may change while the sensor waits.
        from ..hooks.client import MLflowClientHook

        hook = MLflowClientHook(mlflow_conn_id=self.mlflow_conn_id)
        version = condition.check(hook)
        self.mlflow_page = hook.server.page("models", version["name"], "versions", version["version"])
        return version

    def _defer(self, condition: VersionCondition) -> None:
        from ..triggers.model_version import MLflowModelVersionTrigger

        conn_id, interval = self.mlflow_conn_id, self.poke_interval
        trigger = MLflowModelVersionTrigger(mlflow_conn_id=conn_id, poke_interval=interval, **asdict(condition))
        self.defer(trigger=trigger, method_name="execute_complete", timeout=timedelta(seconds=self.timeout))


def _number(field: str, value: Any) -> float:
    """Return a limit, which a template may have rendered as text."""
    with suppress(TypeError, ValueError):
        if not math.isnan(number := float(value)):
            return number
    raise AirflowFailException(f"{field} must be a number, not {value!r}: check its template")
