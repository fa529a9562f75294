"""Break a stack at random while the pipeline runs, and check after each round that nothing was lost or made twice.

A round depends on the seed and its number alone, so that ``make chaos SEED=n ROUNDS=k-k`` repeats it. Every promotion
needs an approval, which a thread gives. The rounds are written to ``.local/chaos.csv``, and a table of them by kind is
printed as Markdown.
"""

import io
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pandas as pd

from include.mlflow_provider.hooks.base import patched_environment
from include.problem import PROBLEM
from include.services import approval, storage
from include.services.assets import INCOMING, PREDICTIONS, PROCESSING
from local.airflow import POLL
from local.demo import DAGS
from local.settings import PROJECT, load, temporary
from local.stack import SERVICES, Stack
from tests.airflow import Airflow
from tests.chaos.faults import Fault, applied, draw, find_missing
from tests.chaos.invariants import ANSWER, Invariants

BACK_WITHIN, IDLE_WITHIN = 120, 900  # seconds after a fault
FOLLOWED = [*DAGS, "predict_incoming"]
SIZE = "1500m"  # of the file system that is filled

Row = dict[str, Any]


def main(numbers: Sequence[int], seed: int) -> int:
    """Run the rounds of these numbers, and return how many had a violation."""
    if missing := find_missing():
        raise SystemExit(f"make chaos {missing}")
    rows: list[Row] = []
    with running() as stack, approving(stack), suppress(KeyboardInterrupt):
        for row in run(stack, seed, numbers):
            rows.append(row)
            sys.stdout.write(f"{row['round']:4} {row['fault']:34} back {row['back']:4.0f} s, idle {row['idle']:4.0f} s")
            sys.stdout.write(f"  {row['violations'] or 'ok'}\n")
            sys.stdout.flush()
            pd.DataFrame(rows).to_csv(PROJECT / ".local" / "chaos.csv", index=False)
    sys.stdout.write(f"\nSeed {seed}, {len(rows)} rounds:\n\n{tabulate(pd.DataFrame(rows))}\n")
    return sum(bool(row["violations"]) for row in rows)


def run(stack: Stack, seed: int, numbers: Sequence[int]) -> Iterator[Row]:
    """Run the pipeline twice undisturbed, then yield a row about each round: ``fault``, ``back``, ``violations`` ..."""
    airflow = Airflow(stack.settings)
    airflow.wait_for_dags(FOLLOWED, timeout=BACK_WITHIN)
    for _ in range(2):
        started = airflow.trigger("feature_eng")
        settle(airflow, IDLE_WITHIN)
    invariants = Invariants(stack, _read_rows(airflow, started))
    programs = tuple(
        program
        for service in SERVICES.values()
        for program in stack.programs(service)
        if program != "housekeeping"  # it sleeps
    )
    for number in numbers:
        fault = draw(seed, number, programs)
        yield {"round": number, "fault": str(fault), "kind": fault.kind} | run_round(number, fault, stack, invariants)


def run_round(number: int, fault: Fault, stack: Stack, invariants: Invariants) -> Row:
    """Start everything, apply the fault, and wait until the services are back and all runs have ended."""
    airflow = Airflow(stack.settings)
    before = {dag_id: set(airflow.run_ids(dag_id)) for dag_id in FOLLOWED}
    files = [f"{number}-{part}" for part in ("early", "late")]
    inputs = invariants.expected[PROBLEM.inputs].reset_index()
    violations = []
    _upload(files[0], inputs[:3])
    airflow.trigger("feature_eng")
    time.sleep(fault.after)
    try:
        with applied(fault, stack):
            time.sleep(fault.seconds if fault.kind != "kill" else 0)
    except LookupError as error:
        violations.append(str(error))
    ended = time.monotonic()
    while (missing := _find_missing(stack)) and time.monotonic() - ended < BACK_WITHIN:
        time.sleep(POLL)
    back = time.monotonic() - ended
    if missing:
        violations.append(f"not back after {BACK_WITHIN} s: {missing}")
        stack.stop()
        stack.start(list(SERVICES))
    _upload(files[1], inputs[3:5])
    try:
        settle(airflow, IDLE_WITHIN)
    except TimeoutError as error:
        violations.append(str(error))
    idle = time.monotonic() - ended
    for dag_id, known in before.items():
        for run_id in set(airflow.run_ids(dag_id)) - known:
            if (state := airflow.run(dag_id, run_id)["state"]) != "success":
                failed = [task["task_id"] for task in airflow.tasks(dag_id, run_id) if task["state"] == "failed"]
                violations.append(f"{dag_id} {run_id} {state}: {', '.join(failed)}")
    violations += invariants.violations(airflow, files)
    return {"back": back, "idle": idle, "violations": "; ".join(violations)}


@contextmanager
def approving(stack: Stack) -> Iterator[None]:
    """Require an approval of every promotion, and give it whenever Airflow can be reached."""
    airflow, ended = Airflow(stack.settings), Event()
    airflow.send("POST", "variables", {"key": approval.VARIABLE, "value": "true"})

    def approve() -> None:
        while not ended.wait(1):
            with suppress(httpx.HTTPError):
                waiting = airflow.get("dags/~/dagRuns/~/hitlDetails", response_received=False)["hitl_details"]
                for task in (detail["task_instance"] for detail in waiting):
                    airflow.answer(task["dag_id"], task["dag_run_id"], task["task_id"], "Approve")

    thread = Thread(target=approve)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def settle(airflow: Airflow, seconds: float) -> None:
    """Wait until no run and no file is left.

    :raises TimeoutError: something is left after that time
    """
    deadline, idle, busy = time.monotonic() + seconds, 0, ["Airflow or S3"]
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError, storage.StorageError):
            busy = [run["dag_id"] for run in airflow.active_runs()]
            busy += storage.list_objects(INCOMING.uri) + storage.list_objects(PROCESSING)
            if not busy:
                busy = [f"an event for {dag_id}" for dag_id in FOLLOWED if airflow._events_waiting(dag_id)]
            idle = 0 if busy else idle + 1
            if idle == 3:  # an event may become a run between two requests
                return
        time.sleep(3 * POLL)
    raise TimeoutError(f"not idle after {seconds} s: {', '.join(busy)}")


def _find_missing(stack: Stack) -> str:
    """Return the services that do not run or do not answer."""
    services = SERVICES.values()
    return ", ".join(one.title for one in services if not (stack.is_running(one) and stack.is_ready(one)))


def tabulate(rows: pd.DataFrame) -> str:
    """Return a Markdown table of the rounds by kind of fault."""
    groups = rows.assign(wrong=rows["violations"] != "").groupby("kind")
    counts = groups.agg(rounds=("round", "size"), back=("back", "max"), idle=("idle", "max"), wrong=("wrong", "sum"))
    titles = ["fault", "rounds", "services back, at most", "all runs ended, at most", "with a violation"]
    lines = [titles, ["---"] * len(titles)]
    lines += [
        [kind, str(one.rounds), f"{one.back:.0f} s", f"{one.idle:.0f} s", str(one.wrong)]
        for kind, one in zip(counts.index, counts.itertuples(), strict=True)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@contextmanager
def running() -> Iterator[Stack]:
    """A stack of its own on a small file system, with its connections in this process."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        folder = Path(name)
        settings = load(folder)  # EXECUTOR and DATABASE
        options = {name: getattr(settings, name) for name in ("executor", "workers", "database")}
        stack = Stack(replace(temporary(folder, **options), model_environments=folder / "models"))
        stack.settings.home.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "chaos", stack.settings.home], check=True)
        try:
            stack.start(list(SERVICES))
            with patched_environment(stack.settings.environment()):
                yield stack
        finally:
            stack.stop()
            shutil.copytree(stack.settings.logs, PROJECT / ".local" / "chaos-logs", dirs_exist_ok=True)
            subprocess.run(["umount", "--lazy", stack.settings.home], check=True)


def _read_rows(airflow: Airflow, run_id: str) -> pd.DataFrame:
    """Return all rows by id with their undisturbed predictions."""
    features = airflow.events("feature_eng", run_id)[0]
    events = airflow.get("assets/events", order_by="-timestamp", limit=10)["asset_events"]
    uri = next(event["extra"]["uri"] for event in events if event["name"] == PREDICTIONS.name)
    predicted = pd.read_csv(io.BytesIO(storage.read_bytes(uri)), dtype={PROBLEM.id: str})
    table = storage.read_table(features["extra"]["uri"])[[PROBLEM.id, *PROBLEM.inputs]].astype({PROBLEM.id: str})
    return table.merge(predicted[[PROBLEM.id, *ANSWER]], on=PROBLEM.id).set_index(PROBLEM.id)


def _upload(name: str, rows: pd.DataFrame) -> None:
    storage.write_bytes(rows.to_csv(index=False).encode(), f"{INCOMING.uri.rstrip('/')}/{name}.csv")


if __name__ == "__main__":
    first, _, last = (os.environ.get("ROUNDS") or "1-10").rpartition("-")
    logging.disable(logging.WARNING)
    sys.exit(main(range(int(first or 1), int(last) + 1), int(os.environ.get("SEED") or 0)))
