"""Random faults: that they are repeatable and real, and ten rounds of them."""

import os
import subprocess
import time

import pandas as pd
import psutil
import pytest

from local.stack import SERVICES, Stack
from tests.chaos.__main__ import approving, run, running, tabulate
from tests.chaos.faults import Fault, applied, draw, find_missing
from tests.chaos.invariants import name_of
from tests.waiting import wait_until

PROGRAMS = ("s3", "mlflow", "scheduler", "api-server")

needs_root = pytest.mark.skipif(bool(missing := find_missing()), reason=missing)


def test_a_round_depends_on_its_seed_and_number_alone() -> None:
    first = [draw(7, number, PROGRAMS) for number in range(1, 100)]

    assert [draw(7, number, PROGRAMS) for number in reversed(range(1, 100))] == first[::-1]
    assert [draw(8, number, PROGRAMS) for number in range(1, 100)] != first
    assert {fault.kind for fault in first} == {"kill", "stop", "reset", "fill", "skew"}


def test_a_published_file_is_known_by_its_name_whatever_its_hash() -> None:
    assert name_of("s3://data/predictions/incoming/14-late-20261126T164524Z-20816eb3.csv") == "14-late"


def test_the_table_counts_rounds_and_violations_by_kind() -> None:
    rows = [{"kind": "kill", "round": n, "back": 3.0 + n, "idle": 40.0, "violations": "x" * (n == 2)} for n in (1, 2)]

    assert tabulate(pd.DataFrame(rows)).splitlines()[-1] == "| kill | 2 | 5 s | 40 s | 1 |"


def environment_of(stack: Stack, program: str) -> dict[str, str]:
    return psutil.Process(int(stack.info(program)["pid"])).environ()


@needs_root
def test_faults_change_a_service_and_are_taken_back(own_stack: Stack) -> None:
    own_stack.start(["s3", "mlflow"])
    (rclone,) = (process for process in own_stack.processes() if process.name() == "rclone")
    with applied(Fault("stop", "s3", 0, 1, 0), own_stack):
        wait_until(lambda: rclone.status() == psutil.STATUS_STOPPED)
        assert not own_stack.is_ready(SERVICES["s3"])
    wait_until(lambda: own_stack.is_ready(SERVICES["s3"]))
    with applied(Fault("skew", "mlflow", 0, 1, 300), own_stack):
        wait_until(lambda: "FAKETIME" in environment_of(own_stack, "mlflow"))  # until run.py has become MLflow
        clock = subprocess.check_output(["date", "+%s"], env=environment_of(own_stack, "mlflow"))
        assert int(clock) - time.time() == pytest.approx(300, abs=5)
    assert "FAKETIME" not in environment_of(own_stack, "mlflow")
    with applied(Fault("kill", "s3", 0, 0, 0), own_stack):
        rclone.wait(timeout=10)


@needs_root
def test_a_full_disk_is_full_and_empty_again(own_stack: Stack) -> None:
    home = own_stack.settings.home
    home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "chaos", home], check=True)
    try:
        with applied(Fault("fill", "disk", 0, 0, 0), own_stack), pytest.raises(OSError, match="No space left"):
            (home / "file").write_bytes(os.urandom(100_000))
        (home / "file").write_bytes(os.urandom(100_000))
    finally:
        subprocess.run(["umount", home], check=True)


@needs_root
@pytest.mark.extended
def test_ten_random_faults_lose_nothing_and_make_nothing_twice() -> None:
    with running() as stack, approving(stack):
        violations = {row["fault"]: row["violations"] for row in run(stack, 15, range(1, 11))}

    assert {fault: found for fault, found in violations.items() if found} == {}
