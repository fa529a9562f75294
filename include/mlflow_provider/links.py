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
    """Leads from a task instance in Airflow's UI to MLflow's page of what the task worked on.

    An operator that has it sets its attribute ``mlflow_page``. Airflow keeps the address when the task ends.
    """

    name = "MLflow"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address of the page, or nothing if the task got nowhere."""
        return getattr(operator, "mlflow_page", "")
