"""A client of the model server."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from include.settings import SERVE_TOKEN_FILE

if TYPE_CHECKING:
    import pandas as pd

VERSION_HEADER = "X-Model-Version"
PREDICTION_HEADER = "X-Prediction-Id"
POLL = 0.5  # seconds between two requests for the version


class ServingError(RuntimeError):
    """The server does not respond as it should; the message has its address and response."""


def read_token() -> str:
    """Return the server's token, or an empty string if no file is set.

    :raises ServingError: the file cannot be read, or is empty
    """
    if not SERVE_TOKEN_FILE:
        return ""
    try:
        token = Path(SERVE_TOKEN_FILE).read_text().strip()
    except OSError as error:
        raise ServingError(f"SERVE_TOKEN_FILE: {error}") from error
    if not token:
        raise ServingError(f"SERVE_TOKEN_FILE: {SERVE_TOKEN_FILE} is empty")
    return token


def is_up(url: str) -> bool:
    """Return whether a server responds, with a model or not yet."""
    try:
        served_version(url)
    except ServingError:
        return False
    return True


def served_version(url: str) -> str:
    """Return the version that answers, or an empty string if there is none yet.

    :raises ServingError: no server responds
    """
    return _send("GET", f"{url}/ping").headers.get(VERSION_HEADER, "")


def smoke_test(url: str, rows: pd.DataFrame, version: str | None = None, timeout: float = 60) -> str:
    """Let the server predict a few rows, and check the response.

    :param rows: the columns ``problem.inputs``
    :param version: the version that should answer; the server may take until `timeout` to load it
    :param timeout: seconds
    :return: the result in one sentence
    :raises ServingError: another version answers, rows are rejected, or a prediction is not a number in its interval
    """
    if version:
        _wait_for_version(url, version, timeout)
    body = {"dataframe_split": json.loads(rows.to_json(orient="split", index=False))}
    token = read_token()
    started = time.monotonic()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    response = _send("POST", f"{url}/invocations", json=body, headers=headers)
    took = (time.monotonic() - started) * 1000
    status, answered, text = response.status_code, response.headers.get(VERSION_HEADER, ""), response.text
    if status != 200 or (version and answered != version):
        reason = _reason(response)
        raise ServingError(f"{url}/invocations responds with {status}, version {answered or 'unknown'}: {reason}")
    predictions = response.json()["predictions"]
    if len(predictions) != len(rows) or not all(_is_valid(prediction) for prediction in predictions):
        raise ServingError(f"{url}, version {answered}, predicts for {len(rows)} rows: {text[:500]}")
    return f"version {answered} at {url} predicted {len(rows)} rows in {took:.0f} ms"


def _wait_for_version(url: str, version: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while (served := served_version(url)) != version:
        if time.monotonic() > deadline:
            raise ServingError(f"{url} serves version {served or 'none'} after {timeout:.0f} s, not {version}")
        time.sleep(POLL)


def _reason(response: httpx.Response) -> str:
    """Return the message of an error in MLflow's protocol, else the text of the response."""
    try:
        return response.json()["message"]
    except (ValueError, KeyError, TypeError):
        return response.text


def _is_valid(prediction: Any) -> bool:
    """Return whether a prediction is a finite number, in its interval if it has one."""
    named = prediction if isinstance(prediction, dict) else {"prediction": prediction}
    value, lower, upper = (named.get(name) for name in ("prediction", "lower", "upper"))
    if not isinstance(value, int | float) or not math.isfinite(value):  # NaN is null in JSON
        return False
    return lower is None or upper is None or lower <= value <= upper


def _send(method: str, url: str, **request: Any) -> httpx.Response:
    """Return the response, of any status."""
    try:
        return httpx.request(method, url, timeout=20, **request)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ServingError(f"{url}: {error}. Is the model server running? make serve") from error
