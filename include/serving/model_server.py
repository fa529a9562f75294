"""The champion over HTTP: MLflow's scoring server, which follows the alias when it moves.

``python -m include.serving.model_server`` answers as ``mlflow models serve`` does (``/invocations``, ``/ping``,
``/version``: https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/), on ``SERVE_HOST`` (127.0.0.1) and
``SERVE_PORT``. The header ``X-Model-Version`` of a response has the version that answered.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from typing import TYPE_CHECKING, cast

import uvicorn
from airflow.utils.deprecation_tools import DeprecatedImportWarning
from mlflow.pyfunc import scoring_server
from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse

from include.services.champions import CHAMPION_ALIAS, MODEL, OtherInputsError, check_inputs, find_champion, model_uri
from include.services.tracking import load_model
from include.serving.body_limit import BodyLimit
from include.serving.checked_model import CheckedModel
from include.serving.model_client import VERSION_HEADER
from include.settings import DEFAULT_PORTS, MAX_REQUEST

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLL = 3.0  # seconds; MLflow has no event for a moved alias
NO_CHAMPION = f"{MODEL} has no version with the alias {CHAMPION_ALIAS} yet, or MLflow does not answer"

log = logging.getLogger(__name__)


class ChampionServer:
    """An ASGI application that passes each request to the scoring server of the present champion.

    The next version is loaded and tried before it replaces the one that answers; requests that have begun end with the
    version that they began with. A version that cannot be loaded, or takes other inputs than the problem has, replaces
    nothing.
    """

    def __init__(self) -> None:
        self._serving: tuple[str, ASGIApp] = ("", PlainTextResponse(NO_CHAMPION, status_code=503))
        self._stopped = threading.Event()
        self._last_error = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or start and stop with the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        version, app = self._serving  # read once: it may be replaced at any time

        async def send_with_version(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[VERSION_HEADER] = version
            await send(message)

        await app(scope, receive, send_with_version)

    def follow(self) -> None:
        """Check the alias until the server stops; an error is logged once."""
        while True:
            try:
                self.update()
                self._last_error = ""
            except Exception as error:  # the present version must go on answering
                if str(error) != self._last_error:
                    log.exception("Version %s goes on answering", self._serving[0] or "none")
                self._last_error = str(error)
            if self._stopped.wait(POLL):
                return

    def update(self) -> None:
        """Serve the champion, if it is not served yet."""
        champion = find_champion()
        if champion is None or champion["version"] == self._serving[0]:
            return
        version = champion["version"]
        self._check_inputs(version)
        model = load_model(model_uri(version))
        if model.input_example is not None:
            model.predict(model.input_example)
        self._serving = (version, scoring_server.init(cast("PyFuncModel", CheckedModel(model))))
        log.info("Version %s answers from now on", version)

    def _check_inputs(self, version: str) -> None:
        """Raise if a version cannot predict the problem's rows; as long as none answers, responses have the reason."""
        try:
            check_inputs(version)
        except OtherInputsError as error:
            if not self._serving[0]:
                self._serving = ("", PlainTextResponse(str(error), status_code=503))
            raise

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        threading.Thread(target=self.follow, name="follow the champion", daemon=True).start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._stopped.set()
        await send({"type": "lifespan.shutdown.complete"})


def main() -> None:
    """Serve until stopped."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    # skops inspects every loaded module, and Airflow's deprecated ones warn each time.
    warnings.filterwarnings("ignore", category=DeprecatedImportWarning)
    host, port = os.environ.get("SERVE_HOST", "127.0.0.1"), os.environ.get("SERVE_PORT", DEFAULT_PORTS["SERVE_PORT"])
    uvicorn.run(BodyLimit(ChampionServer(), MAX_REQUEST), host=host, port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
