"""Prediction with a model in a separate process."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.standard.hooks.package_index import PackageIndexHook
from airflow.providers.standard.operators.python import PythonVirtualenvOperator
from airflow.sdk.exceptions import AirflowSkipException

from ..exceptions import MLflowError, ModelPredictionError
from ..links import MLflowLink
from ..objects import publish
from ._environment import Environments, Recipe, read_requirements
from ._model_process.main import main
from ._subprocess import Programs, deliver, read_result, stage_input, table_suffix, write_program

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context, ObjectStoragePath

    from ..hooks.pyfunc import MLflowPyfuncHook

LOCAL = "local"
TASK = "AIRFLOW_CTX_"  # prefix of the variables that name DAG, run and task
ALLOW_PICKLE = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"


class ModelLoadAndPredictOperator(PythonVirtualenvOperator):
    """Applies a model to a table or another value, in a separate process.

    The process runs in a Python environment that uv builds from the model's requirements, once per requirements and
    Python version; other tasks wait for it. The model's signature is enforced. MLflow's address and login are in the
    environment of the process and stored nowhere. The process and its children end with the task, even if that is
    killed with SIGKILL. A version with the tag ``artifact_sha256`` (:meth:`MLflowPyfuncHook.hash_model`) is used only
    if its files still have that hash.

    :param model_uri: ``models:/name/3``, ``models:/name@alias``, ``models:/name/Production``, ``models:/name/latest``,
        ``models:/m-1f0c...``, ``runs:/8e3f.../model``, ``s3://bucket/folder``, or any other URI that the ``mlflow``
        library can download (templated)
    :param suppress_warnings: as in ``mlflow.pyfunc.load_model``
    :param dst_path: an existing folder for a copy of the model's files; its other files stay and are not used
        (templated)
    :param data: DataFrame, Series, array, list, dict, or the URI of a Parquet or CSV object (``.csv`` or ``.csv.gz``),
        also as ``ObjectStoragePath`` (templated). It is converted to the model's signature: for named columns a list of
        dicts, a dict of lists, and a list or array with the columns in their order become tables. Without a signature
        a list of dicts becomes a table, any other list an array.
    :param output_uri: Parquet or CSV object to write the result to: the model's own columns, or the column
        ``prediction``, with the index of the input. It is written after the last prediction. (templated)
    :param aws_conn_id: Airflow connection of ``s3://`` URIs without a connection
    :param venv_cache_path: folder of the environments; ``model_environments`` in Airflow's home by default
    :param venv_cache_gb: gigabytes of all environments; beyond it, the least recently used that are idle are deleted
    :param env_manager: ``virtualenv`` or ``uv`` (the same): an environment for the model. ``local``: the worker's
        Python and packages; MLflow warns of those that differ from the model's requirements.
    :param chunk_size: rows of a Parquet or CSV object that are read, predicted and written to ``output_uri`` at once,
        which limits the memory of the process. None for a model that must see the whole table.
    :param return_limit: maximum bytes of JSON of a returned result, because XCom is not meant for tables, or None
    :param kwargs: of ``PythonVirtualenvOperator``, such as ``python_version`` or ``index_urls``. An index with a
        password belongs there or into ``index_urls_from_connection_ids``: ``pip_install_options`` are on a command
        line, which all users of the machine can read
    :return: ``output_uri`` if given; otherwise an array as nested lists, a frame or series as pandas' JSON, with null
        for NaN and dates as text, any other value as JSON
    :raises ModelPredictionError: the model failed, or JSON or the table cannot hold its result, such as NaN in a list;
        the log has the traceback, the error the message, both the rows
    :raises MLflowError: the model, its environment, the input or the output cannot be used
    """

    template_fields: Sequence[str] = ("model_uri", "dst_path", "data", "output_uri", "op_args", "op_kwargs")
    template_fields_renderers = {"op_args": "py", "op_kwargs": "py"}
    template_ext: Sequence[str] = ()
    operator_extra_links = (MLflowLink(),)
    ui_color = "#f4a460"
    mlflow_page = ""

    _programs: Programs | None = None
    _version_uri = ""

    def __init__(
        self,
        *,
        mlflow_conn_id: str = "mlflow_default",
        model_uri: str,
        suppress_warnings: bool = False,
        dst_path: str | None = None,
        data: Any,
        output_uri: str | ObjectStoragePath | None = None,
        aws_conn_id: str | None = "aws_default",
        venv_cache_path: str | os.PathLike[str] | None = None,
        venv_cache_gb: float = 10,
        env_manager: str = "virtualenv",
        chunk_size: int | None = 100_000,
        return_limit: int | None = 100_000,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            python_callable=main,
            requirements=None,
            system_site_packages=False,
            expect_airflow=False,
            venv_cache_path=Path(venv_cache_path) if venv_cache_path else None,
            **{"show_return_value_in_logs": False, **kwargs},
        )
        if env_manager not in ("virtualenv", "uv", LOCAL):
            raise ValueError(f"env_manager is {env_manager!r}, not one of 'virtualenv', 'uv' (the same) and 'local'")
        if chunk_size is not None and chunk_size < 1:
            raise ValueError(f"chunk_size is {chunk_size}: give a number of rows, or None for the whole table")
        self.mlflow_conn_id = mlflow_conn_id
        self.model_uri = model_uri
        self.suppress_warnings = suppress_warnings
        self.dst_path = dst_path
        self.data = data
        self.output_uri = output_uri
        self.aws_conn_id = aws_conn_id
        self.venv_cache_gb = venv_cache_gb
        self.env_manager = env_manager
        self.chunk_size = chunk_size
        self.return_limit = return_limit

    def execute(self, context: Context) -> Any:
        output_uri = str(self.output_uri or "")
        output = f"output{table_suffix(output_uri)}" if output_uri else None
        if self.dst_path and not Path(self.dst_path).is_dir():
            raise MLflowError(f"dst_path {self.dst_path!r} is not an existing folder")
        self._programs = programs = Programs()
        pyfunc = self._open_hook()
        self._version_uri = model_uri = pyfunc.resolve_version(self.model_uri)
        self.mlflow_page = pyfunc.get_model_page(model_uri)
        artifact_uri = pyfunc.get_model_artifact_uri(model_uri)
        self.log.info("Predicting with %s, found at %s", self.model_uri, artifact_uri)
        with TemporaryDirectory(prefix="mlflow-predict-", ignore_cleanup_errors=True) as temporary:
            folder = Path(temporary)
            fetch: Callable[[], Path] = partial(self._fetch, pyfunc, model_uri, folder / "model-files")
            if pyfunc.get_recorded_hash(model_uri):
                # Before the model's requirements are read: they are among the files to check.
                artifact_uri = str(fetch())
                fetch = partial(Path, artifact_uri)
            # Before the downloads of the delivery, which may put MLflow's login into this process' environment.
            inherited = _inherited(pyfunc)
            self._check_pickle(pyfunc, artifact_uri, inherited)
            delivery = deliver(folder, model=fetch, input=partial(stage_input, self.data, folder, self.aws_conn_id))
            limits = {"limit": self.return_limit, "chunk_size": self.chunk_size}
            arguments = write_program(folder, output=output, suppress_warnings=self.suppress_warnings, **limits)
            with self._interpreter(pyfunc, artifact_uri, programs, inherited) as (python, locks):
                status = programs.run([python, *arguments], self._variables(pyfunc, inherited, context), locks)
            result = self._result(folder, status, delivery)
            if output:
                publish(folder / output, output_uri, self.aws_conn_id)
        if self.show_return_value_in_logs:
            self.log.info("Returned: %s", output_uri or result)
        return output_uri or result

    def on_kill(self) -> None:
        """Kill the process of the model or of uv, and its children."""
        if self._programs:
            self._programs.kill()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage:
        """Return model, input and output as OpenLineage datasets."""
        from airflow.providers.common.compat.openlineage.facet import Dataset
        from airflow.providers.openlineage.extractors import OperatorLineage

        def dataset(uri: str) -> Any:
            parts = urlsplit(uri)
            if parts.scheme in ("models", "runs"):
                return Dataset(self._open_hook().server.base_url, uri)
            return Dataset(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", parts.path.lstrip("/"))

        is_object = isinstance(self.data, str) or hasattr(self.data, "conn_id")
        inputs = [self._version_uri or self.model_uri, *([str(self.data)] if is_object else [])]
        outputs = [str(self.output_uri)] if self.output_uri else []
        return OperatorLineage(inputs=list(map(dataset, inputs)), outputs=list(map(dataset, outputs)))

    def _open_hook(self) -> MLflowPyfuncHook:
        from ..hooks.pyfunc import MLflowPyfuncHook  # imports requests, which would slow down DAG parsing

        return MLflowPyfuncHook(self.mlflow_conn_id, self.aws_conn_id)

    def _check_pickle(self, pyfunc: MLflowPyfuncHook, artifact_uri: str, inherited: dict[str, str]) -> None:
        variables = {**(inherited if self.inherit_env else {}), **(self.env_vars or {})}
        is_allowed = variables.get(ALLOW_PICKLE, "true").lower() in ("true", "1")
        if not is_allowed and (loader := pyfunc.find_pickle(artifact_uri)):
            raise MLflowError(
                f"{self.model_uri} is a pickled model (of {loader}), which can run any code when it is loaded, and "
                f"{ALLOW_PICKLE}=false forbids that here. Log the model as code "
                "(https://mlflow.org/docs/latest/ml/model/models-from-code/), or, if you trust all who can write to "
                f'where it is kept, give this task env_vars={{"{ALLOW_PICKLE}": "true"}}'
            )

    def _fetch(self, pyfunc: MLflowPyfuncHook, model_uri: str, folder: Path) -> Path:
        """Download the model to a new folder, because other files in ``dst_path`` must not become part of it."""
        folder.mkdir()
        model = pyfunc.fetch_model(model_uri, folder)
        if self.dst_path:
            shutil.copytree(model, self.dst_path, dirs_exist_ok=True)
        return model

    @contextmanager
    def _interpreter(
        self, pyfunc: MLflowPyfuncHook, artifact_uri: str, programs: Programs, inherited: dict[str, str]
    ) -> Iterator[tuple[str, list[int]]]:
        """Yield the Python for the model, and the locks to hold while it runs."""
        if self.env_manager == LOCAL:
            yield sys.executable, []
            return
        from airflow.configuration import AIRFLOW_HOME

        named = [PackageIndexHook(name).get_connection_url() for name in self.index_urls_from_connection_ids or ()]
        recipe = Recipe(
            self.python_version or f"{sys.version_info.major}.{sys.version_info.minor}",
            *read_requirements(pyfunc, artifact_uri),
            list(self.pip_install_options or ()),
            [*(self.index_urls or ()), *named],
        )
        folder = Path(self.venv_cache_path or Path(AIRFLOW_HOME) / "model_environments").absolute()
        with Environments(folder, self.venv_cache_gb).use(recipe.key, partial(recipe.build, programs, inherited)) as (
            environment,
            lock,
        ):
            yield str(environment / "bin" / "python"), [lock]

    def _variables(self, pyfunc: MLflowPyfuncHook, inherited: dict[str, str], context: Context) -> dict[str, str]:
        variables = {**(inherited if self.inherit_env else {}), **(self.env_vars or {}), **pyfunc.get_env_vars()}
        # Without internet access, sending telemetry would delay the end of the process.
        variables["MLFLOW_DISABLE_TELEMETRY"] = "true"
        if bundle := self._get_bundle_path_from_context(context):
            variables["PYTHONPATH"] = os.pathsep.join(filter(None, [variables.get("PYTHONPATH"), str(bundle)]))
        return variables

    def _result(self, folder: Path, status: int, delivery: Future[None]) -> Any:
        if status in self.skip_on_exit_code:
            raise AirflowSkipException(f"The process of {self.model_uri} ended with status {status}: skipped")
        if (folder / "failed").exists() and (failure := delivery.exception()):
            raise failure
        try:
            return read_result(folder, status)
        except RuntimeError as error:
            raise ModelPredictionError(f"Prediction with {self.model_uri} failed: {error}") from None


def _inherited(pyfunc: MLflowPyfuncHook) -> dict[str, str]:
    """Return the environment of this process without MLflow's login and Airflow's variables.

    These hold keys, connections and the database password, and a model can run any code.
    """
    hidden = {"__AIRFLOW_SUPERVISOR_FD", *pyfunc.mlflow_env_variables}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return {name: value for name, value in kept.items() if not name.startswith("AIRFLOW_") or name.startswith(TASK)}
