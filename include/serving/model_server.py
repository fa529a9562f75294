"""The champion over HTTP: MLflow's own scoring server, which follows the alias when it moves.

``python -m include.serving.model_server`` answers as ``mlflow models serve`` does (``/invocations``, ``/ping``,
``/version``: https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/), on ``SERVE_HOST`` (127.0.0.1) and
``SERVE_PORT``. Every answer names the version that gave it, in the header ``X-Model-Version``.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST
from mlflow.pyfunc import PyFuncModel, scoring_server
from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse

from include import config
from include.config import CHAMPION_ALIAS, MLFLOW_CONN_ID, RAW
from include.data.table import TableError
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.platform.champions import find_champion
from include.platform.tracking import load_version
from include.serving.model_client import VERSION_HEADER
from include.tasks.predict_incoming import ROWS_ALONE, check_rows

if TYPE_CHECKING:
    import pandas as pd
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)
POLL = 3.0  # seconds between two looks at the alias; MLflow tells nobody when it moves
NOBODY = f"{config.REGISTERED_MODEL} has no version with the alias {CHAMPION_ALIAS} yet, or MLflow does not answer"


class CheckedModel:
    """A model that refuses rows which are no possums, with a reason for each, before it predicts the others.

    MLflow itself compares names and types of columns with the model's signature, and no values.
    """

    def __init__(self, model: PyFuncModel) -> None:
        self.model = model
        self.metadata = model.metadata

    def predict(self, rows: pd.DataFrame, params: dict[str, Any] | None = None) -> Any:
        """Predict.

        :raises MlflowException: rows cannot be used; it becomes the answer 400
        """
        try:
            checked = check_rows(rows, "the request", ROWS_ALONE)
        except TableError as error:
            raise MlflowException(str(error), error_code=BAD_REQUEST) from None
        return self.model.predict(checked[RAW], params=params)


class ChampionServer:
    """An ASGI application that passes each request to the scoring server of the version that is champion.

    The next version is loaded and tried beside the one that answers, which is then replaced at once: a request that
    has begun ends with the version that it began with. A version that cannot be loaded replaces nothing.
    """

    def __init__(self) -> None:
        self._serving: tuple[str, ASGIApp] = ("", PlainTextResponse(NOBODY, status_code=503))
        self._stopped = threading.Event()
        self._trouble = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or start and stop with the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        version, app = self._serving  # read once: what replaces it meanwhile is for the next request

        async def send_with_version(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[VERSION_HEADER] = version
            await send(message)

        await app(scope, receive, send_with_version)

    def follow(self) -> None:
        """Look at the alias again and again until the server stops; what goes wrong is logged once."""
        while True:
            try:
                self.update()
                self._trouble = ""
            except Exception as error:  # whatever it is, the version that answers goes on answering
                if str(error) != self._trouble:
                    log.exception("Version %s goes on answering", self._serving[0] or "none")
                self._trouble = str(error)
            if self._stopped.wait(POLL):
                return

    def update(self) -> None:
        """Serve the champion, if it is not served yet."""
        champion = find_champion(MLflowClientHook("GET", MLFLOW_CONN_ID))
        if champion is None or champion["version"] == self._serving[0]:
            return
        version = champion["version"]
        model = load_version(version)
        if model.input_example is not None:
            model.predict(model.input_example)
        self._serving = (version, scoring_server.init(cast("PyFuncModel", CheckedModel(model))))
        log.info("Version %s answers from now on", version)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        threading.Thread(target=self.follow, name="follow the champion", daemon=True).start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._stopped.set()
        await send({"type": "lifespan.shutdown.complete"})


def main() -> None:
    """Serve until told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    host, port = os.environ.get("SERVE_HOST", "127.0.0.1"), int(os.environ.get("SERVE_PORT", "5002"))
    uvicorn.run(ChampionServer(), host=host, port=port, log_level="warning")


if __name__ == "__main__":
    main()
