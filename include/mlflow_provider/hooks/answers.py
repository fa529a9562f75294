"""What a person reads when MLflow refuses, answers nonsense, or does not answer."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from ..exceptions import MLflowAPIError, MLflowConnectionError
from .session import is_read

EXCERPT = 300  # characters of a foreign answer that a message quotes
UNMADE = (ValueError, requests.exceptions.InvalidJSONError)  # errors of requests that could not even be made


def refusal(response: requests.Response, conn_id: str) -> MLflowAPIError:
    """Return the error for an answer with a status of 400 or above."""
    code, message = _error_of(response)
    return MLflowAPIError(
        f"MLflow answered {response.status_code} {code or response.reason}: {message} "
        f"({_origin(response, conn_id)}){_hint(response.status_code, code, message, conn_id)}",
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


def redirection(response: requests.Response, conn_id: str) -> MLflowAPIError:
    """Return the error for an answer that names another address instead of a result."""
    target = urlsplit(urljoin(response.url, response.headers["Location"]))
    address = f"{target.scheme}://{target.netloc.rpartition('@')[2]}{target.path}"
    return MLflowAPIError(
        f"Answered {response.status_code} {response.reason}: the address is now {address} "
        f"({_origin(response, conn_id)}). Set host and schema of the connection to it if that is MLflow; "
        "if it is a login page, MLflow cannot be reached here with the connection's login.",
        response.status_code,
    )


def no_answer(
    request: str, conn_id: str, error: requests.RequestException, handled: BaseException | None
) -> MLflowConnectionError:
    """Return the error for a request that got no answer.

    :param request: verb and URL
    :param handled: the error that the caller was handling when it sent the request, which is not to blame
    """
    causes = list(_chain(error, handled))
    # At the bottom is what happened, such as "Connection refused", without the layers around it.
    reason = [cause for cause in causes if isinstance(cause, OSError)][-1]
    return MLflowConnectionError(
        f"No answer from MLflow: {request} (connection {conn_id!r}): {str(reason) or type(reason).__name__}. "
        f"{_remedy(error, reason, conn_id)}{_doubt(request, causes)}"
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


def _hint(status: int, code: str, message: str, conn_id: str) -> str:
    if status == 404 and code:
        return ". Check the name or id."
    if status == 403 and "Host header" in message:
        return f". Name this host in the server's --allowed-hosts, or another as host of connection {conn_id!r}."
    hints = {
        401: f". Check login and password of connection {conn_id!r}.",
        403: f". The user of connection {conn_id!r} lacks this permission; MLflow says so of what is not there too.",
        404: ". Check host, port and path prefix of the connection; an old MLflow may not know this endpoint either.",
        429: ". The server limits requests: an Airflow pool limits the tasks that send them at once.",
    }
    return hints.get(status, ". The server's log, or that of a proxy before it, tells why." if status >= 500 else "")


def _remedy(error: requests.RequestException, reason: BaseException, conn_id: str) -> str:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return (
            f"Set `ca_bundle` in the extra of connection {conn_id!r} to the path of a file with the authority that "
            "signed it, and its host to a name in the certificate; `verify` false switches the check off."
        )
    if isinstance(error, UNMADE):
        return f"Nothing was sent: check the arguments of the call and the fields of connection {conn_id!r}."
    if isinstance(error, requests.exceptions.SSLError):
        return f"Check schema and port of connection {conn_id!r}, and the file that `ca_bundle` in its extra names."
    return f"Check that the server runs and that host, port and schema of connection {conn_id!r} fit."


def _doubt(request: str, causes: list[BaseException]) -> str:
    """Return what to add for a request that MLflow may or may not have received."""
    unsent = (NewConnectionError, ConnectTimeoutError, requests.exceptions.SSLError)
    if is_read(*request.split(" ", 1)) or isinstance(causes[0], UNMADE) or any(isinstance(c, unsent) for c in causes):
        return ""
    return " MLflow may have acted on it all the same."


def _chain(error: BaseException, end: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what led to it; urllib3 keeps some of that in the arguments or as the ``reason``."""
    link: BaseException | None = error
    while link:
        yield link
        found = (link.__cause__, link.__context__, getattr(link, "reason", None), *link.args)
        link = next((item for item in found if isinstance(item, BaseException) and item is not end), None)
