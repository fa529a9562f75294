"""Calls to MLflow's REST API."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import requests
from requests.auth import HTTPBasicAuth

from ..exceptions import MLflowAPIError, MLflowError
from .answers import foreign_answer, no_answer, redirection, refusal
from .base import MLflowBaseHook
from .session import open_session

API = "api/2.0/mlflow"


class MLflowRestHook(MLflowBaseHook):
    """Sends requests to an MLflow server.

    :param method: HTTP verb of :meth:`run`
    :param mlflow_conn_id: id of the Airflow connection of the MLflow server
    :param auth_type: called with login and password to make a ``requests`` auth
    """

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

    def get_conn(self, headers: dict[str, str] | None = None) -> requests.Session:
        """Return a session with the connection's login, time-outs and retries.

        :param headers: sent with every request of the session
        :raises MLflowError: the connection cannot be used
        """
        return open_session(self.server, self.auth_type, headers)

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
        :param headers: sent with this request
        :param request_params: query of a GET, JSON body of any other verb
        :param accept_status: HTTP statuses that are returned instead of raised
        :param request_kwargs: passed to ``requests``, such as ``timeout`` in seconds
        :raises MLflowAPIError: the server answered with another status of 400 or above, or redirected
        :raises MLflowConnectionError: no answer came
        """
        return self._send(
            self.method,
            endpoint or "",
            request_params,
            headers=headers,
            accept_status=accept_status,
            **request_kwargs,
        )

    def call(self, method: str, endpoint: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request with a verb of its own and return the JSON object of the answer.

        :raises MLflowAPIError: the server answered with an error, or not with a JSON object
        :raises MLflowConnectionError: no answer came
        """
        response = self._send(method, endpoint, params)
        try:
            answer = response.json()
        except requests.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict):
            raise foreign_answer(response, self.mlflow_conn_id)
        return answer

    def delete(self, endpoint: str, params: dict[str, Any], missing_ok: bool) -> None:
        """Delete what the parameters name.

        :param missing_ok: do nothing if there is none
        :raises MLflowAPIError: there is none and ``missing_ok`` is False, or the server refused
        """
        try:
            self.call("DELETE", endpoint, params)
        except MLflowAPIError as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST" or not missing_ok:
                raise

    def pages(
        self, endpoint: str, items: str, params: dict[str, Any] | None = None, method: str = "GET"
    ) -> Iterator[dict[str, Any]]:
        """Walk through every page of an endpoint.

        :param items: the key of the answer that holds the list
        :param method: the verb that the endpoint wants
        """
        query = {**(params or {}), "max_results": self.page_size}
        while True:
            answer = self.call(method, endpoint, query)
            yield from answer.get(items, [])
            if not answer.get("next_page_token"):
                return
            query["page_token"] = answer["next_page_token"]

    def test_connection(self) -> tuple[bool, str]:
        """Tell whether server and login work, and if not, why."""
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
        *,
        headers: dict[str, str] | None = None,
        accept_status: Collection[int] = (),
        **request_kwargs: Any,
    ) -> requests.Response:
        url = self.server.url(endpoint)
        payload = {"params" if method == "GET" else "json": params}
        with self.explained(f"{method} {url}"), self.get_conn(headers) as session:
            # Named here as well, because REQUESTS_CA_BUNDLE wins over the setting of a session. Redirections are
            # not followed, because on most of them a change would become a GET, with a login from .netrc.
            options = {"verify": session.verify, "allow_redirects": False, **payload, **request_kwargs}
            response = session.request(method, url, **options)
        if response.is_redirect and response.status_code not in accept_status:
            raise redirection(response, self.mlflow_conn_id)
        if response.status_code >= 400 and response.status_code not in accept_status:
            raise refusal(response, self.mlflow_conn_id)
        return response

    @contextmanager
    def explained(self, request: str) -> Iterator[None]:
        """Turn a failed exchange into an error that names connection, URL and what to check.

        :param request: verb and URL
        """
        handled = sys.exception()
        try:
            yield
        except requests.RequestException as error:
            raise no_answer(request, self.mlflow_conn_id, error, handled) from error
