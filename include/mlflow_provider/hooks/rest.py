"""HTTP requests with time-outs, retries that never repeat a change, and errors that name the remedy."""

import logging
import random
import ssl
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests.utils import rewind_body
from urllib3.exceptions import ConnectTimeoutError, HTTPError, InvalidHeader, NewConnectionError
from urllib3.util import Retry

from ..exceptions import MLflowAPIError, MLflowConnectionError, MLflowError
from .base import MLflowBaseHook
from .clouds import DatabricksAuth, PluginAuth
from .server import CONNECT_TIMEOUT, MLflowServer

log = logging.getLogger(__name__)

API = "api/2.0/mlflow"
# Text fields that an entity in a response must have.
IDENTITY = {
    "experiment": ("experiment_id",),
    "run": ("info.run_id", "info.experiment_id", "info.artifact_uri"),
    "model": ("info.experiment_id", "info.artifact_uri"),
    "registered_model": ("name",),
    "model_version": ("name", "version"),
}
DATABASE_ERROR = "sqlalche.me"  # SQLAlchemy ends its messages with a link
RETRIES = 3
BACKOFF = 0.5  # seconds before the first retry at most, doubled for each one after it
RETRY_BUDGET = 20.0  # seconds after which no further attempt starts
RETRY_AFTER_MAX = 8  # seconds
READING_POSTS = ("/search", "/get-latest-versions")  # endpoints that only read, though they take a POST
EXCERPT = 300  # characters of a response that an error message quotes
UNMADE = (ValueError, requests.exceptions.InvalidJSONError)  # raised before a request is sent


class MLflowRestHook(MLflowBaseHook):
    """Sends requests to an MLflow server, all through one session; see :class:`MLflowClientHook`."""

    page_size = 200

    def __init__(
        self,
        method: str = "POST",
        mlflow_conn_id: str = MLflowBaseHook.default_conn_name,
        auth_type: Any = HTTPBasicAuth,
    ) -> None:
        super().__init__(mlflow_conn_id)
        self.method = method.upper()
        self.auth_type = auth_type

    @property
    def base_url(self) -> str:
        """Address of the server: scheme, host, port and path prefix."""
        return self.server.base_url

    @cached_property
    def session(self) -> requests.Session:
        """The session of this hook's own requests; threads may share it."""
        return self.get_conn()

    def get_conn(self, headers: dict[str, str] | None = None) -> requests.Session:
        """Return a new session with the connection's login, TLS settings, headers, time-outs and retries."""
        session, adapter = requests.Session(), _RetryingAdapter(self.server.timeout)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        session.verify = self.server.verify
        session.headers.update(self.server.headers | (headers or {}))
        session.auth = _auth(self.server, self.auth_type)
        return session

    def run(
        self,
        endpoint: str | None = None,
        headers: dict[str, str] | None = None,
        request_params: dict[str, Any] | None = None,
        *,
        accept_status: Collection[int] = (),
        **request_kwargs: Any,
    ) -> requests.Response:
        """Send a request with the hook's verb: any endpoint of https://mlflow.org/docs/latest/rest-api.html.

        :param endpoint: path below the server's address, such as ``api/2.0/mlflow/runs/search``
        :param request_params: query of a GET, JSON body of any other verb
        :param accept_status: HTTP statuses that are returned; other redirections and those from 400 on are raised
        :param request_kwargs: passed to ``requests``, such as ``timeout`` in seconds
        """
        request_kwargs["headers"] = headers
        try:
            return self._send(self.method, endpoint or "", request_params, accept_status, **request_kwargs)
        except MLflowAPIError as error:
            remedy = f" To read such an answer, call run(..., accept_status=[{error.status_code}])."
            raise MLflowAPIError(f"{error}{remedy}", error.status_code, error.error_code) from None

    def call(
        self, method: str, endpoint: str, params: dict[str, Any] | None = None, key: str = "", kind: type = dict
    ) -> Any:
        """Send a request with the given verb and return the JSON object of the response, or one field of it.

        :param key: name of the field; an entity under it must have the fields of :data:`IDENTITY`
        """
        response = self._send(method, endpoint, params)
        answer = _json(response)
        if not isinstance(answer, dict):
            raise _not_mlflow(response, self.mlflow_conn_id)
        if not key:
            return answer
        if not isinstance(answer.get(key), kind) or not is_identified(key, answer[key]):
            raise _not_mlflow(response, self.mlflow_conn_id, key)
        return answer[key]

    def pages(
        self, endpoint: str, items: str, params: dict[str, Any] | None = None, method: str = "GET"
    ) -> Iterator[dict[str, Any]]:
        """Yield the items of every page of an endpoint; ``items`` is the key of the list in the response."""
        query = {**(params or {}), "max_results": self.page_size}
        while True:
            answer = self.call(method, endpoint, query)
            found, token = answer.get(items) or [], answer.get("next_page_token")
            if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
                raise self.unexpected(f"{items!r} is not a list of objects", endpoint)
            yield from found
            if not token:
                return
            if token == query.get("page_token"):
                raise self.unexpected("a page names itself as the next one", endpoint)
            query["page_token"] = token

    def unexpected(self, problem: str, what: str = "") -> MLflowAPIError:
        """Return the error for a response that does not have the form of MLflow's."""
        return MLflowAPIError(f"MLflow's answer cannot be used: {problem} ({what}, connection {self.mlflow_conn_id!r})")

    def test_connection(self) -> tuple[bool, str]:
        """Return whether server and login work, and if not, why."""
        try:
            for kind in ("experiments", "registered-models"):
                self.call("GET", f"{API}/{kind}/search", {"max_results": 1})
            return True, f"MLflow answers at {self.base_url} and knows this login"
        except MLflowError as error:
            return False, str(error)

    def _send(
        self,
        method: str,
        endpoint: str,
        params: dict[str, Any] | None = None,
        accept_status: Collection[int] = (),
        **request_kwargs: Any,
    ) -> requests.Response:
        url = self.server.url(endpoint)
        payload = {"params" if method == "GET" else "json": params}
        # Named here as well, because REQUESTS_CA_BUNDLE wins over the setting of a session. Redirections are
        # not followed, because on most of them a change would become a GET, with a login from .netrc.
        options = {"verify": self.session.verify, "allow_redirects": False, **payload, **request_kwargs}
        with self.explained(f"{method} {url}"):
            response = self.session.request(method, url, **options)
        if response.status_code not in accept_status and (response.is_redirect or response.status_code >= 400):
            error_of = _redirection if response.is_redirect else _refusal
            raise error_of(response, self.mlflow_conn_id)
        return response

    @contextmanager
    def explained(self, request: str) -> Iterator[None]:
        """Raise a failed request, named by verb and URL, as an error that says what to check."""
        try:
            yield
        except requests.RequestException as error:
            raise _no_answer(request, self.mlflow_conn_id, error) from error
        except (TypeError, ValueError, RecursionError, HTTPError) as error:  # arguments that cannot be sent
            unmade = requests.exceptions.InvalidJSONError(str(error))
            raise _no_answer(request, self.mlflow_conn_id, unmade) from error


def is_identified(key: str, entity: Any) -> bool:
    """Return whether an entity of a response has its identifying text fields."""
    for path in IDENTITY.get(key, ()):
        value = entity
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if not isinstance(value, str):
            return False
    return True


class _RetryingAdapter(HTTPAdapter):
    """Sends requests with time-outs, and retries them where that is safe, until ``RETRY_BUDGET`` is used up.

    All are retried if no connection was made, the server asks for it (429, or 503 with Retry-After), or MLflow's
    database failed, which rolls back the change. Those that only read are also retried if no answer came and after
    500, 502, 503 and 504. TLS errors are final.
    """

    # urllib3's Retry decides by method and status alone: it cannot see that the database failed (which the body
    # of a 400 or 503 says) or that a POST only reads, and it limits attempts, not seconds.

    def __init__(self, timeout: float) -> None:
        super().__init__()
        self.timeout = (CONNECT_TIMEOUT, timeout)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        kwargs["timeout"] = kwargs.get("timeout") or self.timeout
        reads = _is_read(request.method or "", request.url or "")
        deadline = time.monotonic() + RETRY_BUDGET
        start = request._body_position  # set for a file; a generator has none and cannot be sent again
        can_repeat = isinstance(start, int) or isinstance(request.body, bytes | str | None)
        for attempt in range(RETRIES if can_repeat else 0):
            pause = BACKOFF * 2**attempt * random.uniform(0.5, 1)  # noqa: S311
            try:
                response = super().send(request, **kwargs)
                database_failed = response.status_code >= 400 and DATABASE_ERROR in response.text
                # The first failure may come late: MLflow waits 30 s for a free connection to its database.
                is_final = time.monotonic() > deadline and not (database_failed and attempt == 0)
                if is_final or not (database_failed or _is_temporary(response, reads)):
                    return response
                pause = _retry_after(response) or pause
            except (requests.ConnectionError, requests.Timeout) as error:
                is_safe = reads or _is_unsent(error)
                if time.monotonic() > deadline or not is_safe or isinstance(error, requests.exceptions.SSLError):
                    raise
            log.warning("Retrying in %.1f s: %s %s", pause, request.method, (request.url or "").partition("?")[0])
            time.sleep(pause)
            if start is not None:
                rewind_body(request)
        return super().send(request, **kwargs)

    def cert_verify(self, conn: Any, url: str, verify: bool | str, cert: Any) -> None:
        try:
            super().cert_verify(conn, url, verify, cert)
        except OSError as error:  # the CA bundle does not exist
            raise requests.exceptions.SSLError(error) from error


def _is_temporary(response: requests.Response, reads: bool) -> bool:
    is_deferred = response.status_code == 429 or (response.status_code == 503 and "Retry-After" in response.headers)
    return is_deferred or (reads and response.status_code in (500, 502, 503, 504))


def _retry_after(response: requests.Response) -> float:
    with suppress(InvalidHeader, ValueError, OverflowError):
        return min(Retry().parse_retry_after(response.headers.get("Retry-After", "0")), RETRY_AFTER_MAX)
    return 0.0


def _is_unsent(error: requests.RequestException) -> bool:
    """Return whether the server cannot have received the request, because no connection was made."""
    unsent = (NewConnectionError, ConnectTimeoutError, requests.exceptions.SSLError)
    return any(isinstance(cause, unsent) for cause in _chain(error))


def _is_read(method: str, url: str) -> bool:
    """Return whether a request changes nothing, so that it is safe to send it again."""
    return method in ("GET", "HEAD") or (method == "POST" and urlsplit(url).path.endswith(READING_POSTS))


def _auth(server: MLflowServer, auth_type: Any) -> Any:
    if server.plugin_uri:
        return PluginAuth(server)
    if server.is_service_principal:
        return DatabricksAuth(server)
    if server.is_databricks or not server.login or server.token:
        return partial(_add_token, server.password or "")
    if auth_type is HTTPBasicAuth:
        # MLflow reads UTF-8, as its own client sends it; requests would send Latin-1.
        return HTTPBasicAuth(server.login.encode(), (server.password or "").encode())
    return auth_type(server.login, server.password or "")


def _add_token(token: str, request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Send a token, or nothing; as an ``auth`` it wins over a ``.netrc`` entry, which plain headers would not."""
    if token:
        request.headers["Authorization"] = f"Bearer {token}"
    return request


def _json(response: requests.Response) -> Any:
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def _refusal(response: requests.Response, conn_id: str) -> MLflowAPIError:
    body, status = _json(response), response.status_code
    is_mlflow = isinstance(body, dict) and "error_code" in body
    code = str(body["error_code"]) if is_mlflow else ""
    message = str(body.get("message", "")) if is_mlflow else _excerpt(response)
    problem = f"MLflow answered {status} {code or response.reason}: {message}"
    return _error(response, conn_id, problem, _hint(status, code, message, conn_id), code)


def _not_mlflow(response: requests.Response, conn_id: str, key: str = "") -> MLflowAPIError:
    kind = f"an answer without a usable {key!r}" if key else response.headers.get("Content-Type", "no content type")
    remedy = "A proxy or login page may answer in MLflow's place: check host, schema and path prefix of the connection."
    return _error(response, conn_id, f"Not MLflow's JSON but {kind}: {_excerpt(response)!r}", remedy)


def _redirection(response: requests.Response, conn_id: str) -> MLflowAPIError:
    target = urlsplit(urljoin(response.url, response.headers["Location"]))
    address = f"{target.scheme}://{target.netloc.rpartition('@')[2]}{target.path}"
    problem = f"Answered {response.status_code} {response.reason}: the address is now {address}"
    remedy = (
        "Set host and schema of the connection to it if that is MLflow; "
        "if it is a login page, MLflow cannot be reached here with the connection's login."
    )
    return _error(response, conn_id, problem, remedy)


def _error(response: requests.Response, conn_id: str, problem: str, remedy: str, code: str = "") -> MLflowAPIError:
    origin = f"{response.request.method} {(response.url or '').partition('?')[0]}, connection {conn_id!r}"
    return MLflowAPIError(f"{problem} ({origin}){remedy and f'. {remedy}'}", response.status_code, code)


def _no_answer(request: str, conn_id: str, error: requests.RequestException) -> MLflowConnectionError:
    # The innermost error says what happened, such as "Connection refused".
    reason = [cause for cause in _chain(error) if isinstance(cause, OSError)][-1]
    is_harmless = _is_read(*request.split(" ", 1)) or isinstance(error, UNMADE) or _is_unsent(error)
    return MLflowConnectionError(
        f"No answer from MLflow: {request} (connection {conn_id!r}): {str(reason) or type(reason).__name__}. "
        f"{_remedy(error, reason, conn_id)}{'' if is_harmless else ' MLflow may have acted on it all the same.'}"
    )


def _excerpt(response: requests.Response) -> str:
    return " ".join(response.text.split())[:EXCERPT]


def _hint(status: int, code: str, message: str, conn_id: str) -> str:
    if status == 404 and code:
        return "Check the name or id."
    if status == 403 and "Host header" in message:
        return f"Name this host in the server's --allowed-hosts, or another as host of connection {conn_id!r}."
    hints = {
        401: f"Check login and password of connection {conn_id!r}.",
        403: f"The user of connection {conn_id!r} lacks this permission, or the object does not exist.",
        404: "Check host, port and path prefix of the connection; an old MLflow may not know this endpoint either.",
        429: "The server limits requests: an Airflow pool limits the tasks that send them at once.",
    }
    return hints.get(status, "The server's log, or that of a proxy before it, tells why." if status >= 500 else "")


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


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what led to it; urllib3 keeps some of that in the arguments or as the ``reason``."""
    link: BaseException | None = error
    while link:
        yield link
        found = (link.__cause__, getattr(link, "reason", None), *link.args)
        link = next((item for item in found if isinstance(item, BaseException)), None)
