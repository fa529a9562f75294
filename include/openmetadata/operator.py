"""A task in the connector's own environment, which gets the two connections as nobody else can see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.python import ExternalPythonOperator
from airflow.sdk.exceptions import AirflowFailException

from include import config

if TYPE_CHECKING:
    from airflow.sdk import Context


class ConnectorOperator(ExternalPythonOperator):
    """Calls a function with the Python of OpenMetadata's connector, in a process of its own.

    What ``@task.external_python(expect_airflow=False)`` does, and more: for as long as the function runs, its process
    has MLflow's login in its environment and the token of ``openmetadata_default`` in a file. As arguments, both would
    show in rendered fields.

    :param python_callable: imports what it needs itself; its first argument is ``workflow``
    :param workflow: the workflow file
    """

    def __init__(self, *, python_callable: Callable, workflow: str, op_kwargs: dict | None = None, **kwargs: Any):
        super().__init__(
            python=config.OPENMETADATA_PYTHON,
            python_callable=python_callable,
            op_kwargs={"workflow": workflow, **(op_kwargs or {})},
            expect_airflow=False,
            inherit_env=False,
            **kwargs,
        )
        self.workflow = workflow

    def _iter_serializable_context_keys(self) -> Iterator[str]:
        """Leave out whether there is pendulum in the environment: looking for it writes an error into the log."""
        yield from self.BASE_SERIALIZABLE_CONTEXT_KEYS

    def execute(self, context: Context) -> Any:
        """Run the function, and remove the file with the token whatever happens.

        :raises AirflowFailException: the environment or a connection is missing; trying again does not help
        """
        from include.openmetadata.credentials import connected_environment
        from include.openmetadata.workflow import CatalogueError

        if not Path(self.python).is_file():
            raise AirflowFailException(
                f"{self.python}, the Python of OpenMetadata's connector, is not there: build it with `make "
                "setup-openmetadata`, with Docker by ARG OPENMETADATA=1 in the Dockerfile, or say in "
                "OPENMETADATA_PYTHON where it is"
            )
        try:
            with connected_environment(Path(self.workflow)) as self.env_vars:
                return super().execute(context)
        except CatalogueError as error:
            raise AirflowFailException(str(error)) from None
        finally:
            self.env_vars = None
