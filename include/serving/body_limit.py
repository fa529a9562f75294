"""A limit for the size of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """An ASGI application that refuses large requests with status 413, before another one reads them.

    :param app: the other one
    :param limit: bytes that a request may have
    """

    def __init__(self, app: ASGIApp, limit: float) -> None:
        self.app, self.limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        body = None if length.isdecimal() and int(length) > self.limit else await self._read(receive)
        if body is None:
            text = f"a request may have {self.limit / 1e6:g} MB (MAX_REQUEST_MB): send fewer rows at once\n"
            await PlainTextResponse(text, status_code=413)(scope, receive, send)
            return
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        await self.app(scope, replay, send)

    async def _read(self, receive: Receive) -> bytes | None:
        """Return the body, or None if it has too many bytes: its length need not be in a header."""
        parts, more, size = [], True, 0
        while more and size <= self.limit:
            message = await receive()
            if message["type"] == "http.disconnect":
                return b""
            parts.append(message.get("body", b""))
            more, size = message.get("more_body", False), size + len(parts[-1])
        return b"".join(parts) if size <= self.limit else None
