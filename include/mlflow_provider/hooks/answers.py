"""What a person reads when MLflow refuses, answers nonsense, or does not answer."""

from __future__ import annotations

import requests

from ..exceptions import MLflowAPIError, MLflowConnectionError

EXCERPT = 300  # characters of a foreign answer that a message quotes


def refusal(response: requests.Response, conn_id: str) -> MLflowAPIError:
    """Return the error for an answer with a status of 400 or above."""
    code, message = _error_of(response)
    return MLflowAPIError(
        f"MLflow answered {response.status_code} {code or response.reason}: {message} "
        f"({_origin(response, conn_id)}){_hint(response.status_code, code, conn_id)}",
        response.status_code,
        code,
    )


def foreign_answer(response: requests.Response, conn_id: str) -> MLflowAPIError:
    """Return the error for an answer that should be a JSON object and is not."""
    kind = response.headers.get("Content-Type", "no content type")
    return MLflowAPIError(
        f"Not MLflow's JSON but {kind}: {_excerpt(response)!r} ({_origin(response, conn_id)}). A proxy or login "
        "page may answer in MLflow's place: check host, schema and path prefix of the connection.",
        response.status_code,
    )


def no_answer(request: str, conn_id: str, error: requests.RequestException) -> MLflowConnectionError:
    """Return the error for a request that got no answer.

    :param request: verb and URL
    """
    return MLflowConnectionError(
        f"No answer from MLflow: {request} (connection {conn_id!r}): {_reason(error)}. "
        "Check that the server runs and that host, port, schema and TLS settings of the connection fit."
    )


def _error_of(response: requests.Response) -> tuple[str, str]:
    try:
        body = response.json()
        return str(body["error_code"]), str(body.get("message", ""))
    except (requests.JSONDecodeError, KeyError, TypeError):
        return "", _excerpt(response)


def _excerpt(response: requests.Response) -> str:
    return " ".join(response.text.split())[:EXCERPT]


def _origin(response: requests.Response, conn_id: str) -> str:
    url = (response.url or "").partition("?")[0]
    return f"{response.request.method} {url}, connection {conn_id!r}"


def _hint(status: int, code: str, conn_id: str) -> str:
    if status == 401:
        return f". Check login and password of connection {conn_id!r}."
    if status == 403:
        return ". The connection's user may lack this permission, or the server's --allowed-hosts this host."
    if status == 404:
        return ". Check the name or id." if code else ". Check host, port and path prefix of the connection."
    return ""


def _reason(error: BaseException) -> str:
    """Return what happened at the bottom, such as "Connection refused", without the layers around it."""
    reason = error
    while inner := error.__cause__ or error.__context__:
        error = inner
        reason = error if isinstance(error, OSError) else reason
    return str(reason) or type(reason).__name__
