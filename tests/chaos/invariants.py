"""What must be true of a stack whatever has happened to it."""

import io
import json
import re
from collections import Counter
from collections.abc import Iterator

import httpx
import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq

from include.problem import PROBLEM
from include.services import champions, storage, trace
from include.services.assets import INCOMING, PREDICTIONS, PROCESSING
from include.settings import DATA_BUCKET
from include.tasks.predict_incoming import FAILED, PUBLISHED, REJECTED
from local.stack import Stack
from tests.airflow import Airflow

ANSWER = ["predicted", "lower", "upper"]


class Invariants:
    """Compares a stack with what it was undisturbed.

    :param expected: the undisturbed predictions, by id
    """

    def __init__(self, stack: Stack, expected: pd.DataFrame) -> None:
        self.stack = stack
        self.expected = expected
        self._seen: set[str] = set()
        self._events = 0
        list(self.violations(Airflow(stack.settings), []))

    def violations(self, airflow: Airflow, files: list[str]) -> Iterator[str]:
        """Yield what is not as it must be; the stack must be idle.

        :param files: stems of the files that were uploaded since the last call
        """
        new = [uri for uri in storage.list_objects(f"s3://{DATA_BUCKET}") if uri not in self._seen]
        self._seen |= set(new)
        yield from self._check_objects(new)
        yield from self._check_files(new, files)
        yield from self._check_versions()
        yield from self._check_events(airflow)
        yield from self._check_server()
        yield from self._check_processes()

    def _check_objects(self, uris: list[str]) -> Iterator[str]:
        """Every object is whole, and every prediction is the undisturbed one."""
        for uri in uris:
            try:
                content = storage.read_bytes(uri)
                if uri.endswith(".parquet"):
                    pq.ParquetFile(io.BytesIO(content))
                elif uri.endswith(".json"):
                    json.loads(content)
                elif uri.startswith(PREDICTIONS.uri) and uri.endswith(".csv"):
                    yield from self._compare(uri, pd.read_csv(io.BytesIO(content), dtype={PROBLEM.id: str}))
            except Exception as error:
                yield f"half an object: {uri}: {error}"
        yield from (f"half an object: {file}" for file in (self.stack.settings.home / "s3").rglob("*.partial"))

    def _compare(self, uri: str, predicted: pd.DataFrame) -> Iterator[str]:
        rows = predicted.set_index(PROBLEM.id)[ANSWER]
        if not np.allclose(rows, self.expected.loc[rows.index, ANSWER], rtol=1e-9):
            yield f"other predictions: {uri}"
        whole = uri.startswith(PUBLISHED) or len(rows) == len(self.expected)
        if not whole:
            yield f"only {len(rows)} rows: {uri}"
        if any("CHANGED" in line for lines in trace.read_trace(uri).values() for line in lines):
            yield f"does not lead to its version, run and data: {uri}"

    def _check_files(self, new: list[str], files: list[str]) -> Iterator[str]:
        """Every file was predicted once, and none is left, rejected or in pieces."""
        published = Counter(name_of(uri) for uri in new if uri.startswith(PUBLISHED))
        for name in files:
            if published[name] != 2:  # predictions and trail
                yield f"{name} was published as {published[name]} objects"
        scratch = f"s3://{DATA_BUCKET}/scratch"
        for folder in (INCOMING.uri, PROCESSING, REJECTED, FAILED, scratch):
            if left := storage.list_objects(folder):
                yield f"left: {', '.join(left)}"

    def _check_versions(self) -> Iterator[str]:
        hook = champions.connect()
        versions = champions.versions()
        for name in ("features_uri", champions.DAG_RUN_ID):
            counts = Counter(champions.read_tags(version).get(name) for version in versions)
            yield from (f"{count} versions of {name} {value}" for value, count in counts.items() if count > 1)
        yield from (
            f"version {version['version']} has no verdict" for version in versions if not champions.has_verdict(version)
        )
        experiment = hook.get_experiment_by_name(PROBLEM.experiment) or {}
        for run in hook.search_runs([experiment["experiment_id"]], "attributes.status = 'RUNNING'"):
            yield f"MLflow run {run['info']['run_name']} {run['info']['run_id']} is still RUNNING"
            hook.set_terminated(run["info"]["run_id"], "KILLED")  # found once

    def _check_events(self, airflow: Airflow) -> Iterator[str]:
        """The object, or the version, of every event exists."""
        numbers = {version["version"] for version in champions.versions()}
        events = airflow.get("assets/events", order_by="-timestamp", limit=100)["asset_events"]
        for event in (event for event in events if event["id"] > self._events):
            extra = event["extra"] or {}
            if extra.get("uri") and not storage.exists(extra["uri"]):
                yield f"event without its object: {event['name']} {extra['uri']}"
            if extra.get("version") and extra["version"] not in numbers:
                yield f"event without its version: {event['name']} {extra['version']}"
        self._events = max((event["id"] for event in events), default=0)

    def _check_server(self) -> Iterator[str]:
        """The model server predicts as undisturbed."""
        known = self.expected.head(5)
        rows = json.loads(known[PROBLEM.inputs].to_json(orient="records"))
        url = f"{self.stack.settings.url('serve')}/invocations"
        response = httpx.post(url, json={"dataframe_records": rows}, timeout=60)
        if response.is_error:
            yield f"the model server answers {response.status_code}: {response.text[:200]}"
        elif not np.allclose([row["prediction"] for row in response.json()["predictions"]], known["predicted"]):
            yield "the model server predicts otherwise"

    def _check_processes(self) -> Iterator[str]:
        """Every process of the stack is below the supervisor."""
        if (supervisor := self.stack.find_supervisor()) is None:
            yield "the supervisor has ended"
            return
        known = {supervisor, *supervisor.children(recursive=True)}
        for process in set(self.stack.processes()) - known:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                yield f"orphan process: {' '.join(process.cmdline())[:200]}"
                process.kill()


def name_of(uri: str) -> str:
    """Return the name that a published file had when it was uploaded, before time and hash were added."""
    return re.split(r"-\d{8}T\d{6}Z-", uri.rpartition("/")[2])[0]
