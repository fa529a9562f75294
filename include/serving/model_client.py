"""Asking the server that answers with the champion's predictions."""

from __future__ import annotations

import json
import math
import time
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    import pandas as pd

VERSION_HEADER = "X-Model-Version"
POLL = 0.5  # seconds between two looks at the version that answers


class ServingError(RuntimeError):
    """The server does not answer as it should; the message names it and what it said."""


def is_up(url: str) -> bool:
    """Tell whether a server answers there, with a model or, as yet, without."""
    try:
        served_version(url)
    except ServingError:
        return False
    return True


def served_version(url: str) -> str:
    """Return the version that answers, or nothing if none does yet.

    :raises ServingError: if there is no server
    """
    return _ask(Request(f"{url}/ping"))[1]  # noqa: S310 # the address is the project's own setting


def smoke_test(url: str, rows: pd.DataFrame, version: str | None = None, timeout: float = 60) -> str:
    """Have a few rows predicted by the server, and check the answer.

    :param rows: columns ``config.RAW`` and ``case``
    :param version: the version that should answer; the server is given time to notice that the alias moved
    :param timeout: seconds until another version's answer is a failure
    :return: what was found, in one sentence
    :raises ServingError: if another version answers, rows are refused, or a prediction is no length in its interval
    """
    if version:
        _wait_for_version(url, version, timeout)
    body = json.dumps({"dataframe_split": json.loads(rows.to_json(orient="split", index=False))}).encode()
    started = time.monotonic()
    request = Request(f"{url}/invocations", body, {"Content-Type": "application/json"})  # noqa: S310 # see above
    status, answered, text = _ask(request)
    took = (time.monotonic() - started) * 1000
    if status != 200 or (version and answered != version):
        raise ServingError(f"{url}/invocations answered {status}, version {answered or 'unknown'}: {text}")
    predictions = json.loads(text)["predictions"]
    if len(predictions) != len(rows) or not all(_is_sound(prediction) for prediction in predictions):
        raise ServingError(f"{url}, version {answered}, gave for {len(rows)} rows: {text[:500]}")
    return f"version {answered} at {url} predicted {len(rows)} rows in {took:.0f} ms"


def _wait_for_version(url: str, version: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while (served := served_version(url)) != version:
        if time.monotonic() > deadline:
            raise ServingError(f"{url} answers with version {served or 'none'} after {timeout:.0f} s, not {version}")
        time.sleep(POLL)


def _is_sound(prediction: Any) -> bool:
    """Tell whether a prediction is a positive length within its interval, if it has one."""
    if not isinstance(prediction, dict):
        return math.isfinite(prediction) and prediction > 0
    length, lower, upper = (prediction.get(name) for name in ("prediction", "lower", "upper"))
    if length is None or not math.isfinite(length) or length <= 0:
        return False
    return lower is None or upper is None or lower <= upper


def _ask(request: Request) -> tuple[int, str, str]:
    """Return status, version and text of an answer, of whatever status."""
    try:
        with urlopen(request, timeout=20) as answer:  # noqa: S310 # as above
            return answer.status, answer.headers.get(VERSION_HEADER, ""), answer.read().decode()
    except HTTPError as answer:
        return answer.code, answer.headers.get(VERSION_HEADER, ""), answer.read().decode()
    except (URLError, HTTPException, OSError) as error:
        raise ServingError(f"{request.full_url}: {error}. Is the model server up? make serve") from error
