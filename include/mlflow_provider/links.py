"""Extra link of a task to MLflow."""

import attrs
from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.sdk.types import TaskInstanceKey


@attrs.define
class MLflowLink(BaseOperatorLink):
    """Opens the operator's ``mlflow_page``, which Airflow stores when the task ends."""

    name = "MLflow"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address of the page; empty if the task failed before it was known."""
        return getattr(operator, "mlflow_page", "")
