"""What watches the model server: metrics and, by the settings, a log of requests with a challenger in the shadow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from include.serving.metrics import Metrics, Watched
from include.serving.request_log import RequestLog
from include.serving.shadow import Shadow
from include.settings import REQUEST_LOG, SHADOW

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATH = "/metrics"


def watch(server: Watched, app: ASGIApp) -> ASGIApp:
    """Add the observers and ``/metrics`` to a server, and return the application that is to be run.

    :param app: the server with what is around it, whose refusals count too
    """
    shadow = Shadow() if SHADOW else None
    log = RequestLog(shadow) if REQUEST_LOG else None
    metrics = Metrics(server, log, shadow)
    server.routes[PATH] = metrics.expose
    server.observers.append(metrics.observe)
    if log:
        server.observers.append(log)
        app = _live_together(app, log)
    return metrics.measure(app)


def _live_together(app: ASGIApp, log: RequestLog) -> ASGIApp:
    """Return the application with a log that starts when it starts and stops before it stops."""

    async def living(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_stop(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                log.start()
            if message["type"] == "lifespan.shutdown.complete":
                await run_in_threadpool(log.stop)
            await send(message)

        await app(scope, receive, send_and_stop if scope["type"] == "lifespan" else send)

    return living
