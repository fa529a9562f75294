import subprocess
import sys

import pandas as pd
import pytest
from airflow.sdk import RetryAction

from include.services import lineage, memory
from include.services.memory import OutOfMemoryPolicy

ALLOCATE = """
import resource, subprocess, sys
import numpy
from include.services.memory import limit_memory
if "lower" in sys.argv:
    resource.setrlimit(resource.RLIMIT_DATA, (300 * 10**6, resource.RLIM_INFINITY))
limit_memory({})
if "child" in sys.argv:
    sys.exit(subprocess.run([sys.executable, "-c", "import numpy; numpy.ones(10**8)"]).returncode)
numpy.ones(int(sys.argv[1]))
"""


def allocate(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Allocate numbers of 8 bytes in a process that may have 600 MB."""
    command = [sys.executable, "-c", ALLOCATE, *arguments]
    environment = {"TASK_MEMORY_MB": "600", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": "."}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not keep to the limit")
@pytest.mark.parametrize("arguments", [("100_000_000",), ("0", "child")], ids=["in the task", "in a process it starts"])
def test_beyond_the_limit_there_is_a_memory_error(arguments: tuple[str, ...]) -> None:
    result = allocate(*arguments)

    assert result.returncode == 1
    assert "MemoryError: Unable to allocate 763. MiB" in result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not keep to the limit")
def test_a_limit_that_is_lower_stays() -> None:
    assert "MemoryError" in allocate("40_000_000", "lower").stderr


def test_below_the_limit_there_is_none() -> None:
    assert allocate("10_000_000").returncode == 0


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 763. MiB"),
        MemoryError(),
        RuntimeError("rows 0 to 9 of 20: MemoryError: Unable to allocate"),
    ],
    ids=["of the task", "without a message", "of the process of a model"],
)
def test_a_task_that_ran_out_of_memory_is_not_repeated_and_says_why(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "TASK_MEMORY", 4e9)
    lineage.take()
    lineage.note_read("s3://data/features.parquet", pd.DataFrame({"a": range(12_345)}))
    cause = str(error) or "MemoryError"

    decision = OutOfMemoryPolicy().evaluate(error, 1, 3)

    assert decision.action == RetryAction.FAIL
    assert decision.reason == str(error)
    for fact in ("4,000 MB", "TASK_MEMORY_MB", "12,345 rows of features.parquet", cause):
        assert fact in str(error)


@pytest.mark.parametrize("error", [ValueError("no memory of it"), ConnectionError()])
def test_any_other_error_is_repeated_as_usual(error: Exception) -> None:
    assert OutOfMemoryPolicy().evaluate(error, 1, 3).action == RetryAction.DEFAULT
