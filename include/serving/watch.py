"""The observers of the model server: metrics and, if the settings say so, a request log and a shadow challenger."""

from starlette.types import ASGIApp

from include.serving.metrics import Metrics, Watched
from include.serving.request_log import RequestLog
from include.serving.shadow import Shadow
from include.settings import REQUEST_LOG, SHADOW

PATH = "/metrics"


def watch(server: Watched, app: ASGIApp) -> ASGIApp:
    """Add the observers and ``/metrics`` to a server, and return the application to run.

    :param app: the server behind its guard, whose refusals are counted too
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
