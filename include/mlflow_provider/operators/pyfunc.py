"""Prediction with a model in an environment of its own."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.python import PythonVirtualenvOperator
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from ..environment import patched_environment
from ..exceptions import MLflowError, ModelPredictionError
from . import _model_process
from ._exchange import publish, stage_input, table_suffix

if TYPE_CHECKING:
    from airflow.sdk import Context

    from ..hooks.pyfunc import MLflowPyfuncHook

RETURN_LIMIT = 100_000  # bytes of JSON; XCom is no place for tables


class ModelLoadAndPredictOperator(PythonVirtualenvOperator):
    """Applies a model to a table, in a Python environment built from the model's own requirements.

    The environment is built once per requirements and Python version, with uv if it is installed, and
    reused. The model's signature is enforced. Model and input are fetched while the process starts. That
    process gets MLflow's address and login in its environment, and nothing of them is stored.

    :param mlflow_conn_id: id of the Airflow connection of the MLflow server
    :param model_uri: ``models:/name/3``, ``models:/name@alias``, ``models:/m-1f0c...``, or any other URI that
        the ``mlflow`` library can download (templated)
    :param suppress_warnings: as in ``mlflow.pyfunc.load_model``
    :param dst_path: an existing folder to download the model to; a temporary one if not given (templated)
    :param data: DataFrame, Series, array, list, dict, or the URI of a Parquet or CSV object (templated).
        A list of dicts is a table of records; any other list becomes an array.
    :param output_uri: Parquet or CSV object to write the result to: the model's own columns, or the column
        ``prediction``, with the index of the input (templated)
    :param aws_conn_id: Airflow connection of ``s3://`` URIs that name none
    :param venv_cache_path: folder of the environments; ``model_environments`` in Airflow's home if not given
    :param kwargs: of ``PythonVirtualenvOperator``, such as ``python_version`` or ``index_urls``
    :return: ``output_uri`` if given; else an array as nested lists, a frame or series as pandas' JSON, any
        other value as it is, up to 100 kB of JSON
    :raises ModelPredictionError: the model failed; its traceback is in the log, its message in the error
    :raises MLflowError: the model or the input cannot be read, or the output not be written
    """

    template_fields: Sequence[str] = ("model_uri", "dst_path", "data", "output_uri", "op_args", "op_kwargs")
    template_fields_renderers = {"op_args": "py", "op_kwargs": "py"}
    template_ext: Sequence[str] = ()
    ui_color = "#f4a460"

    def __init__(
        self,
        *,
        mlflow_conn_id: str = "mlflow_default",
        model_uri: str,
        suppress_warnings: bool = False,
        dst_path: str | None = None,
        data: Any,
        output_uri: str | None = None,
        aws_conn_id: str | None = "aws_default",
        venv_cache_path: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            python_callable=_model_process.load_and_predict,
            requirements=None,
            system_site_packages=False,
            expect_airflow=False,
            venv_cache_path=Path(venv_cache_path) if venv_cache_path else None,
            **{"show_return_value_in_logs": False, **kwargs},
        )
        self.mlflow_conn_id = mlflow_conn_id
        self.model_uri = model_uri
        self.suppress_warnings = suppress_warnings
        self.dst_path = dst_path
        self.data = data
        self.output_uri = output_uri
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> Any:
        """Predict."""
        output = f"output{table_suffix(self.output_uri)}" if self.output_uri else None
        self._pyfunc = self._open_hook()
        artifact_uri = self._pyfunc.get_model_artifact_uri(self.model_uri)
        self.log.info("Predicting with %s, found at %s", self.model_uri, artifact_uri)
        self._prepare_environment(artifact_uri)
        with TemporaryDirectory(prefix="mlflow-predict-") as temporary:
            folder = Path(temporary)
            result = self._predict(context, artifact_uri, folder, output)
            if self.output_uri and output:
                publish(folder / output, self.output_uri, self.aws_conn_id)
        return self.output_uri or result

    def get_python_source(self) -> str:
        """Return what runs in the model's environment: the module, so that it may have functions."""
        return inspect.getsource(_model_process)

    def _open_hook(self) -> MLflowPyfuncHook:
        # Imported here because it brings requests, which a DAG file should not pay for.
        from ..hooks.pyfunc import MLflowPyfuncHook

        return MLflowPyfuncHook(self.mlflow_conn_id)

    def _prepare_environment(self, artifact_uri: str) -> None:
        from ._requirements import default_cache, read_requirements

        self.python_version = self.python_version or f"{sys.version_info.major}.{sys.version_info.minor}"
        self.venv_cache_path = cache = Path(self.venv_cache_path or default_cache()).absolute()
        cache.mkdir(parents=True, exist_ok=True)
        self.requirements = read_requirements(self._pyfunc, artifact_uri, cache)

    def _predict(self, context: Context, artifact_uri: str, folder: Path, output: str | None) -> Any:
        self.op_kwargs = {
            "folder": str(folder),
            "output": output,
            "suppress_warnings": self.suppress_warnings,
            "limit": RETURN_LIMIT,
        }
        with ThreadPoolExecutor(1) as courier:
            delivery = courier.submit(self._deliver, artifact_uri, folder)
            try:
                return super().execute(context)
            except AirflowException:
                if failure := delivery.exception():
                    raise failure from None
                raise

    def _deliver(self, artifact_uri: str, folder: Path) -> None:
        """Bring model and input, meanwhile the process of the model imports its libraries (1 to 2 s)."""
        try:
            _announce(folder, "model", self._pyfunc.download_model(artifact_uri, self._model_folder(folder)))
            _announce(folder, "input", stage_input(self.data, folder, self.aws_conn_id))
        except BaseException:
            _announce(folder, "failed", folder)
            raise

    def _model_folder(self, folder: Path) -> Path:
        if self.dst_path is None:
            (target := folder / "model-files").mkdir()
        elif not (target := Path(self.dst_path)).is_dir():
            raise MLflowError(f"dst_path {self.dst_path!r} is not an existing folder")
        return target

    def _prepare_venv(self, venv_path: Path) -> None:
        from ._requirements import tool_path

        # Without bytecode every prediction would compile MLflow and scikit-learn again (3 s).
        with patched_environment({"PATH": tool_path(), "UV_COMPILE_BYTECODE": "1"}):
            super()._prepare_venv(venv_path)

    def _execute_python_callable_in_subprocess(self, python_path: Path) -> Any:
        given = self.env_vars
        self.env_vars = {**(given or {}), **self._process_variables()}
        try:
            return super()._execute_python_callable_in_subprocess(python_path)
        except AirflowSkipException:
            raise
        except (AirflowException, subprocess.CalledProcessError) as error:
            raise ModelPredictionError(f"Prediction with {self.model_uri} failed: {error}") from None
        finally:
            self.env_vars = given

    def _process_variables(self) -> dict[str, str]:
        # A report to MLflow's makers would delay the end of the process where there is no internet.
        return {"MLFLOW_DISABLE_TELEMETRY": "true", **self._pyfunc.get_env_vars()}

    def _iter_serializable_context_keys(self) -> Iterator[str]:
        return iter(())  # the process needs nothing of Airflow's context

    def determine_kwargs(self, context: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the arguments of the function that runs in the model's environment."""
        return self.op_kwargs


def _announce(folder: Path, name: str, path: Path) -> None:
    note = folder / f"{name}.part"
    note.write_text(str(path))
    note.rename(folder / name)  # at once, so that nobody reads half a path
