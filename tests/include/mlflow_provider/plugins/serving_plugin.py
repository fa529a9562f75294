"""A target of ``mlflow.deployments`` that serves each model with `mlflow models serve` on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import requests
from mlflow.deployments import BaseDeploymentClient, PredictionsResponse

START = 60  # seconds
RUNNING: dict[str, Served] = {}


@dataclass
class Served:
    process: subprocess.Popen
    url: str
    log: Path


class ServingClient(BaseDeploymentClient):
    def create_deployment(self, name, model_uri, flavor=None, config=None, endpoint=None):
        if name in RUNNING:
            raise ValueError(f"There is a deployment {name!r} already")
        RUNNING[name] = served = _serve(model_uri)
        _wait(served)
        return {"name": name, "flavor": flavor, "config": config, "endpoint": endpoint}

    def predict(self, deployment_name=None, inputs=None, endpoint=None):
        body = {"dataframe_split": inputs.to_dict("split")} if hasattr(inputs, "to_dict") else inputs
        response = requests.post(f"{RUNNING[deployment_name].url}/invocations", json=body, timeout=30)
        response.raise_for_status()
        return PredictionsResponse.from_json(response.text)

    def delete_deployment(self, name, config=None, endpoint=None):
        served = RUNNING.pop(name)
        os.killpg(served.process.pid, signal.SIGKILL)
        served.process.wait()
        served.log.unlink()

    def update_deployment(self, name, model_uri=None, flavor=None, config=None, endpoint=None):
        raise NotImplementedError

    def list_deployments(self, endpoint=None):
        return [{"name": name} for name in RUNNING]

    def get_deployment(self, name, endpoint=None):
        return {"name": name, "url": RUNNING[name].url}


def run_local(target, name, model_uri, flavor=None, config=None):
    raise NotImplementedError


def target_help():
    return "serving: no settings"


def _serve(model_uri):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    programs = str(Path(sys.executable).parent)
    log = Path(tempfile.mkstemp(prefix="serving-", suffix=".log")[1])
    command = ["mlflow", "models", "serve", "-m", model_uri, "-h", "127.0.0.1", "-p", str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(
            [f"{programs}/{command[0]}", *command[1:], "--env-manager", "local"],
            env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "MLFLOW_DISABLE_TELEMETRY": "true"},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return Served(process, f"http://127.0.0.1:{port}", log)


def _wait(served):
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and served.process.poll() is None:
        try:
            return requests.get(f"{served.url}/health", timeout=5).raise_for_status()
        except requests.ConnectionError:
            time.sleep(0.1)
    raise RuntimeError(f"The model is not served: {served.log.read_text()}")
