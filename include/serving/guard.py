"""Checks of requests before the model server reads them: token, host name, size and time."""

import asyncio
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from include.serving.model_client import read_token
from include.settings import MAX_REQUEST, SERVE_SECONDS

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
PUBLIC_PATHS = ("/ping", "/health")  # for probes, which have no token
MAX_WAIT = 10.0  # seconds for a client to send a request, headers and body
MAX_BODIES = 10  # of the largest size that are in memory at a time


class ExposedError(ValueError):
    """The server would answer other machines without authentication; the message names the settings."""


class RefusedError(Exception):
    """A request is refused, with this status and text."""

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status, self.headers = status, headers


@dataclass(frozen=True)
class Rules:
    """Requirements for requests.

    :param token: bearer token; if empty, none is required
    :param hosts: names in the header Host, without a port; ``*`` for any
    :param limit: bytes of a body
    :param wait: seconds for the body to arrive
    :param seconds: for the answer
    """

    token: str = field(default="", repr=False)
    hosts: tuple[str, ...] = LOOPBACK
    limit: float = MAX_REQUEST
    wait: float = MAX_WAIT
    seconds: float = SERVE_SECONDS


def read_rules(host: str) -> Rules:
    """Return the rules for a server that listens on an address, from ``SERVE_...`` in the environment.

    :raises ExposedError: it is not a loopback address, and there is no token
    """
    token = read_token()
    if not (token or _is_loopback(host) or os.environ.get("SERVE_WITHOUT_TOKEN") == "1"):
        raise ExposedError(
            f"SERVE_HOST is {host}, which other machines may reach: write a token into a file and name it in "
            "SERVE_TOKEN_FILE, or set SERVE_WITHOUT_TOKEN=1 if something else controls who may ask"
        )
    hosts = os.environ.get("SERVE_HOSTS", "").replace(",", " ").lower().split()
    return Rules(token, (*LOOPBACK, *hosts))


class Guard:
    """An ASGI application that forwards requests that comply with the rules, each body in one piece."""

    def __init__(self, app: ASGIApp, rules: Rules | None = None) -> None:
        self.app, self.rules = app, rules or Rules()
        self._credentials = f"Bearer {self.rules.token}".encode()
        self._held = 0  # bytes of the bodies that are being read or answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            self._check(scope["path"], Headers(scope=scope))
            await self._pass_on(scope, receive, send)
        except RefusedError as refused:
            response = PlainTextResponse(f"{refused}\n", refused.status, refused.headers)
            await response(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, held = False, 0

        def hold(size: int) -> None:
            nonlocal held
            if size and self._held + size > MAX_BODIES * self.rules.limit:
                text = "the server has too many large requests in memory: try again in a second"
                raise RefusedError(503, text, {"Retry-After": "1", "Connection": "close"})
            held, self._held = held + size, self._held + size

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        try:
            messages = [{"type": "http.request", "body": await self._read(receive, hold), "more_body": False}]
            async with asyncio.timeout(self.rules.seconds):
                await self.app(scope, replay, send_and_note)
        except TimeoutError:
            if not started:
                text = f"no answer within {self.rules.seconds:g} s (SERVE_SECONDS): send fewer rows at once"
                raise RefusedError(504, text) from None
        finally:
            self._held -= held

    def _check(self, path: str, headers: Headers) -> None:
        hosts = self.rules.hosts
        name = headers.get("host", "").lower()
        if name not in hosts and name.rpartition(":")[0] not in hosts and "*" not in hosts:
            raise RefusedError(403, f"the server is not {name[:100]!r}: SERVE_HOSTS lists its names")
        given = headers.get("authorization", "").encode()
        if self.rules.token and path not in PUBLIC_PATHS and not hmac.compare_digest(given, self._credentials):
            raise RefusedError(401, "a token is needed: Authorization: Bearer ...", {"WWW-Authenticate": "Bearer"})
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self.rules.limit:
            raise self._too_large()

    async def _read(self, receive: Receive, hold: Callable[[int], None]) -> bytes:
        """Return the body, whose length need not be in a header; call `hold` with the bytes of each part."""
        parts, more, size = [], True, 0
        try:
            async with asyncio.timeout(self.rules.wait):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":  # a part of the rows must not pass for all
                        raise RefusedError(400, "the connection was closed before the whole request had arrived")
                    parts.append(message.get("body", b""))
                    more, size = message.get("more_body", False), size + len(parts[-1])
                    if size > self.rules.limit:
                        raise self._too_large()
                    hold(len(parts[-1]))
        except TimeoutError:
            raise RefusedError(408, f"the request did not arrive within {self.rules.wait:g} s") from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _too_large(self) -> RefusedError:
        text = f"a request may have {self.rules.limit / 1e6:g} MB (MAX_REQUEST_MB): send fewer rows at once"
        return RefusedError(413, text, {"Connection": "close"})


class ImpatientProtocol(HttpToolsProtocol):
    """Closes connections whose headers do not arrive in time: uvicorn sets no limit."""

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._expect_request(MAX_WAIT)

    def data_received(self, data: bytes) -> None:
        """Read a part of a request; uvicorn stops its own timer here."""
        waits = self.timeout_keep_alive_task
        super().data_received(data)
        if waits is not None and (self.cycle is None or self.cycle.response_complete) and self.parser is not None:
            self._expect_request(max(0.0, waits.when() - self.loop.time()))

    def _expect_request(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
