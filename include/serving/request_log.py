"""Requests to the model server and its answers: Parquet files in S3, one row for each row of a request.

The columns are ``prediction_id``, ``_time`` (UTC), ``_version``, ``problem.inputs``, ``predicted``, ``lower``,
``upper``, ``warnings`` and, if a challenger predicted the same row, ``_challenger`` and ``_challenger_predicted``.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from io import BytesIO
from itertools import chain, repeat
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from include.problem import PROBLEM
from include.services import storage
from include.services.assets import REQUESTS
from include.serving.answer import Answer
from include.spec import LOGGED, PREDICTION_ID

ROWS = 10_000  # of a file
SECONDS = 60.0  # that a row waits until it is written
LIMIT = 100_000  # rows that wait while S3 is away: 2 kB each at first, 0.1 kB as soon as they are a file
PATIENCE = 8.0  # seconds for the last rows, after the last request, when the server stops

_, TIME, VERSION, CHALLENGER, CHALLENGER_PREDICTED = LOGGED

log = logging.getLogger(__name__)


Predictions = tuple[str, Sequence[float] | np.ndarray]  # a version, and what it predicts
Shadow = Callable[[pa.Table], Predictions | None]


class Entry(NamedTuple):
    """An answer, and when it was given."""

    time: datetime
    answer: Answer


class RequestLog:
    """An observer of the model server that writes answers to S3 in a separate thread.

    Rows wait until there are enough of them, or for some time. Up to a limit they also wait while S3 is away; beyond
    it, new rows are dropped and counted.

    :param shadow: a version that predicts the same rows, if any
    :param rows: of a file
    :param seconds: that a row waits at most
    :param limit: rows that wait at most
    """

    def __init__(
        self, shadow: Shadow | None = None, *, rows: int = ROWS, seconds: float = SECONDS, limit: int = LIMIT
    ) -> None:
        self.shadow, self.rows, self.seconds, self.limit = shadow, rows, seconds, limit
        self.waiting = self.written = self.dropped = 0  # rows
        self._entries: list[Entry] = []
        self._files: list[tuple[str, bytes, int]] = []  # URI, content and rows of what S3 has not taken yet
        self._fresh = 0  # rows of the entries
        self._lock, self._wake, self._stopped = threading.Lock(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="request log", daemon=True)
        self._last_error = ""

    def __call__(self, answer: Answer) -> None:
        """Keep an answer; it costs microseconds and does not wait for S3."""
        rows = len(answer.ids)
        with self._lock:
            if self.waiting + rows > self.limit:
                self.dropped += rows
                return
            self._entries.append(Entry(datetime.now(UTC), answer))
            self.waiting += rows
            self._fresh += rows
        if self._fresh >= self.rows:
            self._wake.set()

    def start(self) -> None:
        """Start writing."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, and stop; rows that cannot be written are counted as dropped."""
        self._stopped.set()
        self._wake.set()
        self._thread.join(PATIENCE)
        if self.waiting:
            self.dropped += self.waiting
            log.warning("%s requested rows are lost: they could not be written to %s", self.waiting, REQUESTS)

    def _run(self) -> None:
        stopped = False
        while not stopped:
            self._wake.wait(self.seconds)
            self._wake.clear()
            stopped = self._stopped.is_set()  # after the last answer: what follows writes the last rows
            try:
                self._flush()
                self._last_error = ""
            except Exception as error:  # the thread must go on; an error is logged once
                if str(error) != self._last_error:
                    log.exception("%s requested rows wait until they can be written", self.waiting)
                self._last_error = str(error)

    def _flush(self) -> None:
        due = self._fresh  # those that come meanwhile have their turn, or under load no file would ever be written
        while due > 0:
            entries = self._take()
            rows = sum(len(entry.answer.ids) for entry in entries)
            due -= rows
            try:
                self._files.append(self._build_file(entries))
            except Exception:
                self._count(rows, lost=True)
                raise
        while self._files:
            uri, content, rows = self._files[0]
            storage.write_bytes(content, uri)
            del self._files[0]
            self._count(rows)

    def _build_file(self, entries: Sequence[Entry]) -> tuple[str, bytes, int]:
        table = build_table(entries)
        if self.shadow and (predicted := self.shadow(table.select(PROBLEM.inputs))):
            table = _add_challenger(table, *predicted)
        pq.write_table(table, buffer := BytesIO())
        uri = f"{REQUESTS}/{entries[0].time:%Y-%m-%d/%H%M%S}-{uuid4().hex[:8]}.parquet"
        return uri, buffer.getvalue(), table.num_rows

    def _count(self, rows: int, *, lost: bool = False) -> None:
        """Count rows that wait no longer."""
        with self._lock:
            self.waiting -= rows
            self.written += 0 if lost else rows
            self.dropped += rows if lost else 0

    def _take(self) -> list[Entry]:
        """Return the first entries, as many as make a file."""
        taken, rows = 0, 0
        with self._lock:
            while taken < len(self._entries) and rows < self.rows:
                rows += len(self._entries[taken].answer.ids)
                taken += 1
            entries, self._entries = self._entries[:taken], self._entries[taken:]
            self._fresh -= rows
        return entries


def build_table(entries: Sequence[Entry]) -> pa.Table:
    """Return a row for each row of the answers."""

    def collect(cells: Iterator[Any], kind: pa.DataType) -> pa.Array:
        return pa.array(list(chain.from_iterable(cells)), kind, from_pandas=True)

    def output(name: str) -> Iterator[Any]:
        return (answer.outputs.get(name, repeat(None, len(answer.ids))) for _, answer in entries)

    number, text, time = pa.float64(), pa.string(), pa.timestamp("us", tz="UTC")
    kinds = dict.fromkeys(PROBLEM.numbers, number) | dict.fromkeys(PROBLEM.categories, text)
    columns = {
        PREDICTION_ID: collect((answer.ids for _, answer in entries), text),
        TIME: collect((repeat(at, len(answer.ids)) for at, answer in entries), time),
        VERSION: collect((repeat(answer.version, len(answer.ids)) for _, answer in entries), text),
        **{name: collect((answer.inputs[name] for _, answer in entries), kinds[name]) for name in PROBLEM.inputs},
        "predicted": collect(output("prediction"), number),
        "lower": collect(output("lower"), number),
        "upper": collect(output("upper"), number),
        "warnings": collect(output("warnings"), text),
    }
    return pa.table(columns)


def _add_challenger(table: pa.Table, version: str, predicted: Sequence[float] | np.ndarray) -> pa.Table:
    versions = pa.array([version] * table.num_rows, pa.string())
    predictions = pa.array(predicted, pa.float64(), from_pandas=True)  # NaN is missing
    return table.append_column(CHALLENGER, versions).append_column(CHALLENGER_PREDICTED, predictions)
