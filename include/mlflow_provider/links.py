"""The button of a task that opens MLflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


@attrs.define
class MLflowLink(BaseOperatorLink):
    """Leads from a task to its operator's ``mlflow_page``, which Airflow keeps when the task ends."""

    name = "MLflow"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address of the page, or nothing if the task got nowhere."""
        return getattr(operator, "mlflow_page", "")
