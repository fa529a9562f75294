"""What watches the model server: metrics and, by the settings, a log of requests with a challenger in the shadow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.serving.metrics import Metrics, Watched
from include.serving.request_log import RequestLog
from include.serving.shadow import Shadow
from include.settings import REQUEST_LOG, SHADOW

if TYPE_CHECKING:
    from starlette.types import ASGIApp

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
        server.on_start.append(log.start)
        server.on_stop.append(log.stop)
    return metrics.measure(app)
