import threading
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from include.problem import PROBLEM
from include.serving import request_log
from include.serving.answer import Answer
from include.serving.request_log import RequestLog
from include.spec import LOGGED

from .conftest import wait_until

CELLS: dict[str, Any] = dict.fromkeys(PROBLEM.numbers, 1.5) | dict.fromkeys(PROBLEM.categories, "007")
LAST = PROBLEM.inputs[-1]
Start = Callable[..., RequestLog]


def answer(number: int, rows: int = 1, **outputs: Any) -> Answer:
    """What version 3 answered to the request of a number."""
    inputs = {name: [cell] * rows for name, cell in CELLS.items()}
    outputs = {"prediction": [36.0 + number] * rows, "warnings": [""] * rows} | outputs
    return Answer("3", inputs, outputs, [f"r{number}-{row + 1}" for row in range(rows)])


class Store:
    """Takes what is written, or refuses it."""

    def __init__(self) -> None:
        self.files: dict[str, pd.DataFrame] = {}
        self.is_away = False
        self.tries = 0
        self.wait: Callable[[], object] = lambda: None  # before a file is written

    def write(self, content: bytes, uri: str) -> None:
        self.tries += 1
        self.wait()
        if self.is_away:
            raise OSError("S3 is away")
        self.files[uri] = pd.read_parquet(BytesIO(content))

    @property
    def ids(self) -> list[str]:
        return [name for file in self.files.values() for name in file["prediction_id"]]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store()
    monkeypatch.setattr(request_log.storage, "write_bytes", store.write)
    return store


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts logs, which are stopped after the test."""
    started: list[RequestLog] = []

    def begin(*args: Any, **kwargs: Any) -> RequestLog:
        started.append(RequestLog(*args, **kwargs))
        started[-1].start()
        return started[-1]

    yield begin
    for log in started:
        log.stop()


def test_rows_are_written_with_inputs_and_predictions_in_their_types(store: Store) -> None:
    log = RequestLog()
    incomplete = answer(1, lower=[34.0], upper=[38.0], warnings=["odd"])
    log(incomplete._replace(inputs={**incomplete.inputs, LAST: [None]}))
    log(answer(2, rows=2))
    log.start()
    log.stop()

    ((uri, file),) = store.files.items()
    assert uri.startswith(f"{request_log.REQUESTS}/")
    assert uri.endswith(".parquet")
    outputs = ["predicted", "lower", "upper", "warnings"]
    assert list(file) == ["prediction_id", "_time", "_version", *PROBLEM.inputs, *outputs]
    assert file["prediction_id"].tolist() == ["r1-1", "r2-1", "r2-2"]
    assert file["predicted"].tolist() == [37.0, 38.0, 38.0]
    assert file["lower"].fillna(0).tolist() == [34.0, 0, 0]
    assert file["warnings"].tolist() == ["odd", "", ""]
    assert file["_version"].unique().tolist() == ["3"]
    assert file[LAST].isna().tolist() == [True, False, False]
    assert file.loc[1, PROBLEM.inputs].to_dict() == CELLS
    assert abs((pd.Timestamp.now("UTC") - file["_time"]).dt.total_seconds()).max() < 60


def test_a_file_is_written_as_soon_as_there_are_rows_enough(store: Store, start: Start) -> None:
    log = start(rows=3, seconds=3600)
    log(answer(1))
    log(answer(2, rows=2))

    wait_until(lambda: log.written == 3)

    assert (log.waiting, log.dropped, len(store.files)) == (0, 0, 1)


def test_a_single_row_does_not_wait_for_others(store: Store, start: Start) -> None:
    log = start(seconds=0.05)
    log(answer(1))

    wait_until(lambda: store.ids == ["r1-1"])


def test_what_waits_is_written_when_the_server_stops(store: Store, start: Start) -> None:
    log = start(rows=2, seconds=3600)
    for number in range(5):
        log(answer(number))

    log.stop()

    assert store.ids == [f"r{number}-1" for number in range(5)]
    assert log.dropped == 0


def test_while_s3_is_away_rows_wait_up_to_the_limit_and_others_are_counted(store: Store, start: Start) -> None:
    store.is_away = True
    log = start(rows=1, seconds=0.02, limit=3)
    for number in range(5):
        log(answer(number))
    wait_until(lambda: store.tries > 2)
    assert (log.waiting, log.dropped) == (3, 2)

    store.is_away = False
    wait_until(lambda: log.waiting == 0)

    assert store.ids == ["r0-1", "r1-1", "r2-1"]
    assert (log.written, log.dropped) == (3, 2)


def test_rows_that_cannot_be_written_at_the_end_are_counted(
    store: Store, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    store.is_away = True
    log = start(seconds=3600)
    log(answer(1, rows=4))

    log.stop()

    assert log.dropped == 4
    assert "4 requested rows are lost" in caplog.text


def test_rows_that_make_no_table_are_counted_and_stop_no_others(
    store: Store, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    log = start(rows=2, seconds=3600)
    log(answer(1, rows=2, prediction=["a text", "another"]))
    wait_until(lambda: log.dropped == 2)
    log(answer(2, rows=2))
    wait_until(lambda: log.written == 2)

    assert store.ids == ["r2-1", "r2-2"]
    assert log.waiting == 0
    assert "requested rows wait until they can be written" in caplog.text


def test_an_answer_is_taken_at_once_while_a_file_is_being_written(store: Store, start: Start) -> None:
    go_on = threading.Event()
    store.wait = lambda: go_on.wait(20)
    log = start(rows=1, seconds=3600)
    log(answer(1))
    wait_until(lambda: store.tries)
    log(answer(2))

    assert log.waiting == 2
    go_on.set()
    wait_until(lambda: store.ids == ["r1-1", "r2-1"])


def test_files_are_written_although_there_always_is_another_row(store: Store, start: Start) -> None:
    def shadow(inputs: pa.Table) -> None:
        if not log.written:
            log(answer(2))

    log = start(shadow, rows=2, seconds=3600)
    log(answer(1, rows=2))
    wait_until(lambda: store.ids == ["r1-1", "r1-2"], timeout=20)
    log.stop()

    assert store.ids == ["r1-1", "r1-2", "r2-1"]


def test_rows_that_come_while_a_file_is_written_are_written_when_the_server_stops(store: Store, start: Start) -> None:
    log = start(rows=2, seconds=3600)
    store.wait = lambda: wait_until(log._stopped.is_set)
    log(answer(1, rows=2))
    wait_until(lambda: store.tries)
    log(answer(2))
    log.stop()

    assert store.ids == ["r1-1", "r1-2", "r2-1"]
    assert log.dropped == 0


def test_what_a_challenger_predicts_is_beside_the_champions_predictions(store: Store, start: Start) -> None:
    def shadow(inputs: pa.Table) -> tuple[str, list[float]] | None:
        assert inputs.column_names == PROBLEM.inputs
        return ("4", [35.0] * inputs.num_rows) if inputs.num_rows > 1 else None

    log = start(shadow, rows=2, seconds=3600)
    log(answer(1, rows=2))
    log(answer(2))
    log.stop()

    both, alone = store.files.values()
    assert both["_challenger"].tolist() == ["4", "4"]
    assert both["_challenger_predicted"].tolist() == [35.0, 35.0]
    assert not set(LOGGED[-2:]) & set(alone)
