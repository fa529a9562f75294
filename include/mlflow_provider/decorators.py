"""``@task.mlflow``: a function that runs inside an MLflow run."""

from collections.abc import Callable, Mapping
from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import Context
from airflow.sdk.bases.decorator import DecoratedOperator, TaskDecorator, task_decorator_factory
from airflow.sdk.exceptions import AirflowSkipException

from .links import MLflowLink

RUN_ID = "mlflow_run_id"  # XCom key


class _MLflowDecoratedOperator(DecoratedOperator, PythonOperator):
    template_fields = (*PythonOperator.template_fields, "experiment", "run_name", "tags", "parent_run_id")
    operator_extra_links = (MLflowLink(),)
    custom_operator_name = "@task.mlflow"
    mlflow_page = ""

    def __init__(
        self,
        *,
        experiment: str,
        mlflow_conn_id: str = "mlflow_default",
        run_name: str | None = None,
        tags: Mapping[str, Any] | None = None,
        parent_run_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        upstream = {name: kwargs[name] for name in ("python_callable", "op_args", "op_kwargs")}
        super().__init__(kwargs_to_upstream=upstream, **kwargs)
        self.experiment = experiment
        self.mlflow_conn_id = mlflow_conn_id
        self.run_name = run_name
        self.tags = tags
        self.parent_run_id = parent_run_id

    def execute(self, context: Context) -> Any:
        import mlflow

        from .hooks.client import MLflowClientHook

        hook, ti = MLflowClientHook(mlflow_conn_id=self.mlflow_conn_id), context["ti"]
        experiment_id = hook.create_experiment(self.experiment, exist_ok=True)
        airflow = {f"airflow.{name}": str(getattr(ti, name)) for name in ("dag_id", "run_id", "task_id", "try_number")}
        tags = airflow | {str(key): str(value) for key, value in (self.tags or {}).items()}
        how: dict[str, Any] = {"run_name": self.run_name or self.task_id, "parent_run_id": self.parent_run_id or None}
        with hook.environment(), mlflow.start_run(experiment_id=experiment_id, tags=tags, **how) as run:
            self.mlflow_page = hook.server.page("experiments", experiment_id, "runs", run.info.run_id)
            ti.xcom_push(key=RUN_ID, value=run.info.run_id)
            try:
                return super().execute(context)
            except AirflowSkipException:
                mlflow.end_run("KILLED")
                raise


def mlflow_task(python_callable: Callable | None = None, **kwargs: Any) -> TaskDecorator:
    """Run a function inside an MLflow run, to which ``mlflow.log_metric`` and similar functions write.

    The run ends as the task does: FINISHED, FAILED, or KILLED if the task skips itself. Its id is in the XCom
    ``mlflow_run_id``. The function has the connection's login in its environment.

    :param experiment: name of the experiment; created if it does not exist (templated)
    :param run_name: the task's id by default (templated)
    :param tags: besides ``airflow.dag_id``, ``airflow.run_id``, ``airflow.task_id``, ``airflow.try_number`` (templated)
    :param parent_run_id: parent run, which may be that of another task (templated)
    :param kwargs: ``mlflow_conn_id``, and those of ``@task``
    """
    return task_decorator_factory(python_callable, decorated_operator_class=_MLflowDecoratedOperator, **kwargs)
