"""HTTP sessions that neither wait for ever nor send a change twice."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth
from urllib3.util import Retry

from .server import CONNECT_TIMEOUT, MLflowServer

RETRIES = 3
BACKOFF = 0.5  # seconds before the second retry, doubled for each one after it
RETRY_BUDGET = 20.0  # seconds after which no further attempt starts
RETRY_AFTER_MAX = 8  # seconds
READING_POSTS = ("/search", "/get-latest-versions")  # endpoints that change nothing, though they want a POST


class BoundedRetry(Retry):
    """Retries that stop starting new attempts after ``RETRY_BUDGET`` seconds.

    Connection failures, 429, and 503 that says when to come again are retried for every request; a lost answer,
    500, 502, 504 and any other 503 only for those that read, because the server may have acted on the others: a
    proxy has no other answer if it loses the server meanwhile. What TLS refuses stays refused.
    """

    deadline = float("inf")

    @classmethod
    def starting_now(cls, reads: bool) -> BoundedRetry:
        """Return the retries of a call that starts now.

        :param reads: whether it changes nothing, as :func:`is_read` tells
        """
        retry = cls(
            total=RETRIES,
            other=0,
            allowed_methods=None if reads else frozenset({"GET"}),
            status_forcelist={500, 502, 503, 504},
            backoff_factor=BACKOFF,
            backoff_jitter=BACKOFF / 2,
            raise_on_status=False,
            retry_after_max=RETRY_AFTER_MAX,
        )
        retry.deadline = time.monotonic() + RETRY_BUDGET
        return retry

    def new(self, **kwargs: Any) -> BoundedRetry:
        """Return the retries that are left, with the same deadline."""
        retry = super().new(**kwargs)
        retry.deadline = self.deadline
        return retry

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        """Tell whether an answer with this status is worth another attempt."""
        was_refused = status_code == 429 or (status_code == 503 and has_retry_after)
        return was_refused or super().is_retry(method, status_code, has_retry_after)

    def is_exhausted(self) -> bool:
        """Tell whether attempts or time have run out."""
        return time.monotonic() > self.deadline or super().is_exhausted()


class BoundedAdapter(HTTPAdapter):
    """Gives each request of a session time-outs and retries of its own.

    :param timeout: seconds to wait for an answer, unless a request brings its own time-out
    """

    def __init__(self, timeout: float) -> None:
        super().__init__()
        self.timeout = (CONNECT_TIMEOUT, timeout)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        """Send a request."""
        self.max_retries = BoundedRetry.starting_now(is_read(request.method or "", request.url or ""))
        kwargs["timeout"] = kwargs.get("timeout") or self.timeout
        return super().send(request, **kwargs)

    def cert_verify(self, conn: Any, url: str, verify: bool | str, cert: Any) -> None:
        """Prepare the TLS check.

        :raises requests.exceptions.SSLError: the CA bundle is not there; ``requests`` itself raises a bare OSError
        """
        try:
            super().cert_verify(conn, url, verify, cert)
        except OSError as error:
            raise requests.exceptions.SSLError(error) from error


class NoAuth(AuthBase):
    """Adds nothing; without an ``auth`` a ``.netrc`` entry would win over the headers of the connection."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request as it is."""
        return request


class BearerAuth(AuthBase):
    """Sends a token; as an ``auth`` it wins over a ``.netrc`` entry, which a plain header would not."""

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request with the token in its header."""
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


def is_read(method: str, url: str) -> bool:
    """Tell whether a request changes nothing, so that it may be sent again whatever became of it."""
    return method in ("GET", "HEAD") or (method == "POST" and urlsplit(url).path.endswith(READING_POSTS))


def open_session(server: MLflowServer, auth_type: Any, headers: dict[str, str] | None) -> requests.Session:
    """Return a session with the login, TLS settings, time-outs and retries of a server.

    :param auth_type: called with login and password to make a ``requests`` auth
    :param headers: sent with every request, over those of the connection
    """
    session = requests.Session()
    session.mount("http://", BoundedAdapter(server.timeout))
    session.mount("https://", BoundedAdapter(server.timeout))
    session.verify = server.verify
    session.headers.update(server.headers | (headers or {}))
    session.auth = _auth(server, auth_type)
    return session


def _auth(server: MLflowServer, auth_type: Any) -> Any:
    if server.token or (server.is_databricks and server.password):
        return BearerAuth(server.password or "")
    if not server.login:
        return NoAuth()
    if auth_type is HTTPBasicAuth:
        # MLflow reads UTF-8, as its own client sends it; requests would send Latin-1.
        return HTTPBasicAuth(server.login.encode(), (server.password or "").encode())
    return auth_type(server.login, server.password or "")
