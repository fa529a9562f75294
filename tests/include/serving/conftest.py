"""A fitted model as MLflow loads it, and a server that runs in a thread."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import mlflow
import pandas as pd
import pytest
import uvicorn
from mlflow.models import infer_signature
from sklearn.pipeline import Pipeline

from include.data.split import select_training
from include.model import interval_regressor
from include.model.candidates import find_candidate
from include.model.interval_regressor import PARTS, IntervalRegressor, fill
from include.model.training import build_model, fit_with_intervals
from include.problem import PROBLEM
from include.serving.guard import ImpatientProtocol
from include.spec import Problem

from ... import waiting
from ...network import free_port

Records = list[dict[str, Any]]
wait_until = partial(waiting.wait_until, pause=0.05)


@pytest.fixture(scope="session")
def training(project_table: pd.DataFrame) -> pd.DataFrame:
    return select_training(project_table, PROBLEM)


@pytest.fixture(scope="module")
def rows(project_table: pd.DataFrame) -> pd.DataFrame:
    """Three rows of the project's table, complete."""
    return project_table[PROBLEM.inputs].dropna().head(3)


@pytest.fixture(scope="module")
def records(rows: pd.DataFrame) -> Records:
    return json.loads(rows.to_json(orient="records"))


def fit(name: str, training: pd.DataFrame, problem: Problem = PROBLEM) -> IntervalRegressor:
    """Return a candidate, fitted as ``train`` does."""
    selected = {key: values[0] for key, values in find_candidate(name).grid.items()}
    return fit_pipeline(build_model(problem, name, selected), training, problem)


def fit_pipeline(model: Pipeline, training: pd.DataFrame, problem: Problem = PROBLEM) -> IntervalRegressor:
    fitted = fit_with_intervals(model, training[problem.inputs], training[problem.target.name])
    fitted.levels = {name: fill(training[name]).unique().tolist() for name in problem.categories}
    return fitted


def store(model: IntervalRegressor, example: pd.DataFrame) -> Any:
    """Return a fitted model as MLflow stores and loads it."""
    with TemporaryDirectory() as folder:
        model.save(parts := Path(folder) / f"{PARTS}.skops")
        mlflow.pyfunc.save_model(
            f"{folder}/model",
            python_model=interval_regressor.__file__,
            artifacts={PARTS: str(parts)},
            signature=infer_signature(example, model.predict(None, example)),
            input_example=example,
            pip_requirements=[],
        )
        return mlflow.pyfunc.load_model(f"{folder}/model")


@pytest.fixture(scope="session")
def stored(training: pd.DataFrame) -> Any:
    """The simplest candidate."""
    return store(fit("RidgeCV", training), training[PROBLEM.inputs].head(3))


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an application on a free port, and give its address."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, http=ImpatientProtocol, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=30)
    assert not thread.is_alive()


def connect(url: str) -> socket.socket:
    address = httpx.URL(url)
    return socket.create_connection((address.host, address.port), timeout=10)


def ask(url: str, records: Records) -> httpx.Response:
    """Ask a server to predict rows; their numbers may be infinite, which JSON does not have and httpx refuses."""
    body, headers = json.dumps({"dataframe_records": records}), {"Content-Type": "application/json"}
    return httpx.post(f"{url}/invocations", content=body, headers=headers, timeout=30)
