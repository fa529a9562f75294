"""Answers of one version: a fast path for clean rows, and MLflow's scoring server behind checks for all others."""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST
from mlflow.pyfunc import PyFuncModel, scoring_server
from mlflow.types.schema import DataType

from include.problem import PROBLEM
from include.serving.checked_model import CheckedModel, TooManyRowsError
from include.serving.clean import CleanReader
from include.serving.compiled import CannotCompileError, CompiledModel
from include.settings import MAX_REQUEST_ROWS

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
MAX_MESSAGE = 20_000  # characters of an error; MLflow's contain what could not be used
TOO_MANY_ROWS = f"a request may have {MAX_REQUEST_ROWS:,} rows (MAX_REQUEST_ROWS): send fewer rows at once\n"

log = logging.getLogger(__name__)


class Response(NamedTuple):
    """A response, and the rows that it answers: none, unless its status is 200.

    :param refused: rows of the request, if the checks of values refuse it
    """

    status: int
    body: bytes
    media_type: str = TEXT
    inputs: Mapping[str, Sequence[Any]] = {}
    outputs: Mapping[str, Sequence[Any]] = {}
    refused: int = 0


class Scorer:
    """Answers requests with one version.

    :param model: as MLflow loads it
    """

    def __init__(self, model: PyFuncModel) -> None:
        self._model = model
        self._schema = model.metadata.get_input_schema()
        self._compiled, self._reader = None, None
        try:
            self._compiled = _compile(model)
            self._reader = CleanReader(self._compiled.domain)
        except CannotCompileError as error:
            log.warning("The model is not compiled, so that a request takes a tenth of a second: %s", error)

    def answer_clean(self, body: bytes, content_type: str = JSON) -> Response | None:
        """Answer a request in JSON whose rows need no repair and no warning; None for any other request."""
        is_json = content_type in (JSON, f"{JSON}; charset=utf-8")
        columns = self._reader.read(body) if self._reader and is_json else None
        if columns is None or self._compiled is None:
            return None
        predicted = self._compiled.predict(columns)
        count, (low, high) = len(predicted[0]), PROBLEM.target.possible
        possible = np.isfinite(predicted[0]) & (predicted[0] >= low) & (predicted[0] <= high)
        if count > MAX_REQUEST_ROWS or not possible.all():
            return None
        outputs = dict(zip(("prediction", "lower", "upper"), (values.tolist() for values in predicted), strict=True))
        outputs["warnings"] = [""] * count
        rows = [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]
        return Response(200, msgspec.json.encode({"predictions": rows}), JSON, columns, outputs)

    def answer(self, body: bytes, content_type: str) -> Response:
        """Answer any request; this takes a while, and does not raise."""
        checked = CheckedModel(self._model)
        try:
            data = _read_json(body) if content_type.partition(";")[0].strip() == JSON else body
            found = scoring_server.invocations(data, content_type, checked, self._schema)
        except TooManyRowsError:
            return Response(413, TOO_MANY_ROWS.encode())
        except MlflowException as error:
            if "unexpected error" in error.message:  # of the model; the trace is for those who run it
                log.error("%s", error.json_kwargs.get("stack_trace", error.message))
            message = error.message if len(error.message) <= MAX_MESSAGE else f"{error.message[:MAX_MESSAGE]}..."
            refusal = _refuse(message, error.error_code, error.get_http_status_code())
            return refusal._replace(refused=checked.refused)
        except Exception as error:  # MLflow's readers raise many kinds for a body that they cannot read
            log.warning("A request could not be read: %r", error)
            return _refuse(f"the rows cannot be read: {type(error).__name__}: {error}"[:MAX_MESSAGE])
        answered = json.loads(found.response)["predictions"] if found.status == 200 else []
        outputs = {name: [row[name] for row in answered] for name in (answered[0] if answered else ())}
        return Response(found.status, found.response.encode(), found.mimetype, _to_columns(checked.inputs), outputs)


def _compile(model: PyFuncModel) -> CompiledModel:
    """Return the compiled model.

    :raises CannotCompileError: it would not predict the same
    """
    schema, example = model.metadata.get_input_schema(), model.input_example
    types = {column.name: column.type for column in schema.inputs} if schema else {}
    expected = dict.fromkeys(PROBLEM.numbers, DataType.double) | dict.fromkeys(PROBLEM.categories, DataType.string)
    if types != expected or not isinstance(example, pd.DataFrame):
        raise CannotCompileError("its signature or example is not that of include/problem.py")
    return CompiledModel(model.unwrap_python_model(), PROBLEM, example)


def _read_json(body: bytes) -> dict[str, Any]:
    """Return the request.

    :raises MlflowException: it is not an object, or has more than one column of a name
    :raises TooManyRowsError: as its name says
    """
    try:
        request = json.loads(body)
    except RecursionError:
        raise MlflowException("the JSON is nested too deeply", BAD_REQUEST) from None
    except ValueError as error:
        raise MlflowException(f"the body is not JSON: {error}", BAD_REQUEST) from None
    if not isinstance(request, dict):
        raise MlflowException(scoring_server.REQUIRED_INPUT_FORMAT, BAD_REQUEST)
    split = request.get(scoring_server.DF_SPLIT)
    columns = split.get("columns") if isinstance(split, dict) else None
    names = Counter(map(str, columns if isinstance(columns, list) else []))
    if repeated := [name for name, count in names.items() if count > 1]:
        raise MlflowException(f"the request has more than one column {', '.join(repeated)}", BAD_REQUEST)
    return request


def _refuse(message: str, error_code: str = "BAD_REQUEST", status: int = 400) -> Response:
    return Response(status, json.dumps({"error_code": error_code, "message": message}).encode(), JSON)


def _to_columns(rows: pd.DataFrame) -> dict[str, list[Any]]:
    """Return cells by column, None for a missing one."""
    return {name: rows[name].astype(object).where(rows[name].notna(), None).tolist() for name in rows}
