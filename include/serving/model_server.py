"""The champion over HTTP: a server that follows the alias when it moves.

``python -m include.serving.model_server`` answers as ``mlflow models serve`` does (``/invocations``, ``/ping``,
``/health``, ``/version``: https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/), on ``SERVE_HOST``
(127.0.0.1) and ``SERVE_PORT``. The header ``X-Model-Version`` of a response has the version that answered, and
``X-Prediction-Id`` the id of its predictions.
"""

import asyncio
import gc
import logging
import os
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from uuid import uuid4

import uvicorn
from airflow.utils.deprecation_tools import DeprecatedImportWarning
from mlflow.pyfunc import PyFuncModel
from mlflow.version import VERSION
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from include.services.champions import CHAMPION_ALIAS, MODEL, OtherInputsError, check_inputs, find_champion, model_uri
from include.services.tracking import load_model
from include.serving.answer import Answer, Observer
from include.serving.guard import Guard, ImpatientProtocol, read_rules
from include.serving.model_client import PREDICTION_HEADER, VERSION_HEADER
from include.serving.scoring import JSON, Response, Scorer
from include.serving.watch import watch
from include.settings import DEFAULT_PORTS

POLL = 3.0  # seconds; MLflow has no event for a moved alias
NO_CHAMPION = f"{MODEL} has no version with the alias {CHAMPION_ALIAS} yet, or MLflow does not answer"
PATHS = {"/invocations": "POST", "/ping": "GET", "/health": "GET", "/version": "GET"}
LARGE = 200_000  # bytes; larger bodies are answered in a thread, so that other requests do not wait
CONNECTIONS = 1000  # at the same time; others get status 503
THREADS = 2  # that answer at once; others wait

log = logging.getLogger(__name__)


class ChampionServer:
    """An ASGI application that answers each request with the present champion.

    The next version is loaded and tried before it replaces the one that answers; requests that have begun end with the
    version that they began with. A version that cannot be loaded, or takes other inputs than the problem has, replaces
    nothing.

    :ivar observers: are called with each answer that has predictions
    :ivar on_start: are called when the server starts
    :ivar on_stop: are called when it stops, after the last answer
    :ivar routes: other applications by their path
    :ivar refused_rows: of requests that the checks of values have refused so far
    """

    def __init__(self) -> None:
        self.observers: list[Observer] = []
        self.on_start: list[Callable[[], None]] = []
        self.on_stop: list[Callable[[], None]] = []
        self.routes: dict[str, ASGIApp] = {}
        self.refused_rows = 0
        self._serving: tuple[str, Scorer | None] = ("", None)
        self._reason = NO_CHAMPION
        self._threads = ThreadPoolExecutor(THREADS, "answer")
        self._stopped = threading.Event()
        self._last_error = ""

    @property
    def version(self) -> str:
        """The version that answers, empty before the first champion."""
        return self._serving[0]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or start and stop with the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        elif route := self.routes.get(scope["path"]):
            await route(scope, receive, send)
        else:
            await self._respond(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        version, scorer = self._serving  # read once: it may be replaced at any time
        response = self._answer_at_once(scope, scorer) or await self._predict(scope, receive, scorer)
        self.refused_rows += response.refused
        headers = [
            (b"content-type", response.media_type.encode()),
            (b"content-length", str(len(response.body)).encode()),
            (VERSION_HEADER.lower().encode(), version.encode()),
        ]
        prediction_id = uuid4().hex
        if response.outputs:
            headers.append((PREDICTION_HEADER.lower().encode(), prediction_id.encode()))
        if response.status == 405:
            headers.append((b"allow", PATHS[scope["path"]].encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})
        if response.outputs and self.observers:
            self._notify(version, response, prediction_id)

    def _answer_at_once(self, scope: Scope, scorer: Scorer | None) -> Response | None:
        """Answer everything but requests for predictions."""
        path, method = scope["path"], scope["method"]
        if path not in PATHS:
            paths = ", ".join((*PATHS, *self.routes))
            return Response(404, f"there is no {path[:100]} here; there are {paths}\n".encode())
        if method != PATHS[path] and (method, PATHS[path]) != ("HEAD", "GET"):
            return Response(405, f"{path} takes {PATHS[path]}\n".encode())
        if scorer is None:
            return Response(503, self._reason.encode())
        if path == "/version":
            return Response(200, VERSION.encode(), JSON)
        return None if path == "/invocations" else Response(200, b"\n", JSON)

    async def _predict(self, scope: Scope, receive: Receive, scorer: Scorer | None) -> Response:
        assert scorer is not None  # noqa: S101 # 503 otherwise
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        content_type = Headers(scope=scope).get("content-type", "")
        response = scorer.answer_clean(body, content_type) if len(body) < LARGE else None
        if response:
            return response

        def answer() -> Response:
            clean = scorer.answer_clean(body, content_type) if len(body) >= LARGE else None
            return clean or scorer.answer(body, content_type)

        return await asyncio.get_running_loop().run_in_executor(self._threads, answer)

    def _notify(self, version: str, response: Response, prediction_id: str) -> None:
        count = len(response.outputs["prediction"])
        ids = [f"{prediction_id}-{row}" for row in range(1, count + 1)]
        answer = Answer(version, response.inputs, response.outputs, ids)
        for observe in self.observers:
            try:
                observe(answer)
            except Exception:  # the response was sent, and others must be
                log.exception("%s failed", observe)

    def follow(self) -> None:
        """Check the alias until the server stops; an error is logged once."""
        while True:
            try:
                self.update()
                self._last_error = ""
            except Exception as error:  # the present version must go on answering
                if str(error) != self._last_error:
                    log.exception("Version %s goes on answering", self.version or "none")
                self._last_error = str(error)
            if self._stopped.wait(POLL):
                return

    def update(self) -> None:
        """Serve the champion, if it is not served yet."""
        champion = find_champion()
        if champion is None or champion["version"] == self.version:
            return
        version = champion["version"]
        try:
            check_inputs(version)
        except OtherInputsError as error:
            self._reason = str(error)  # responses have it as long as no version answers
            raise
        model = load_model(model_uri(version))
        if model.input_example is not None:
            model.predict(model.input_example)
        self.serve(version, model)

    def serve(self, version: str, model: PyFuncModel) -> None:
        """Answer with this version from now on."""
        self._serving = (version, Scorer(model))
        log.info("Version %s answers from now on", version)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        threading.Thread(target=self.follow, name="follow the champion", daemon=True).start()
        for start in self.on_start:
            start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._stopped.set()
        for stop in self.on_stop:
            await run_in_threadpool(stop)
        await send({"type": "lifespan.shutdown.complete"})


def main() -> None:
    """Serve until stopped."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    # skops inspects every loaded module, and Airflow's deprecated ones warn each time.
    warnings.filterwarnings("ignore", category=DeprecatedImportWarning)
    host, port = os.environ.get("SERVE_HOST", "127.0.0.1"), os.environ.get("SERVE_PORT", DEFAULT_PORTS["SERVE_PORT"])
    server, rules = ChampionServer(), read_rules(host)
    app = watch(server, Guard(server, rules))
    gc.freeze()  # the collector need not search the libraries again and again, for a tenth of a second each time
    uvicorn.run(
        app,
        host=host,
        port=int(port),
        http=ImpatientProtocol,
        ws="none",
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=ceil(rules.seconds),
        log_level="warning",
        access_log=False,
        proxy_headers=False,
    )


if __name__ == "__main__":
    main()
