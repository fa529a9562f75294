"""What the running task reads, writes and checks, noted where it happens.

The notes stay in the task's process until its OpenLineage event takes them along (``include/platform/openlineage.py``);
nothing of them goes through XCom. They hold names, types and counts, no values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import pandas as pd

    from include.data.checks import Inspection, Result


class Dataset(NamedTuple):
    """A dataset by the names that OpenLineage has for it: https://openlineage.io/docs/spec/naming."""

    namespace: str
    name: str


@dataclass(frozen=True)
class Table:
    """What is said of a table: the type of each column, the number of rows, how many cells of each column are empty."""

    columns: dict[str, str]
    rows: int
    missing: dict[str, int]


@dataclass
class Notes:
    """All that one task noted."""

    inputs: dict[Dataset, Table | None] = field(default_factory=dict)
    outputs: dict[Dataset, Table | None] = field(default_factory=dict)
    checks: dict[Dataset, tuple[Result, ...]] = field(default_factory=dict)
    mlflow_run_id: str = ""


_notes = Notes()


def take() -> Notes:
    """Return what has been noted since the last time, and begin anew."""
    global _notes
    taken, _notes = _notes, Notes()
    return taken


def note_read(uri: str, table: pd.DataFrame | None = None) -> None:
    """Note that the task read a file or object, and the table that is in it, if it is at hand."""
    _notes.inputs[locate(uri)] = None if table is None else describe(table)


def note_written(uri: str, table: pd.DataFrame) -> None:
    """Note that the task wrote a table to a file or object."""
    _notes.outputs[locate(uri)] = describe(table)


def note_model(uri: str, server: str) -> None:
    """Note that the task logged a model, ``models:/m-...``, on the MLflow server with this address."""
    _notes.outputs[locate_model(uri, server)] = None


def note_checks(inspection: Inspection) -> None:
    """Note what the checks of all that the task has read so far have found."""
    _notes.checks |= dict.fromkeys(_notes.inputs, inspection.results)


def note_run(run_id: str) -> None:
    """Note the MLflow run that the task logged to."""
    _notes.mlflow_run_id = run_id


def locate(uri: str) -> Dataset:
    """Return the OpenLineage name of a file or object: ``file`` and its path, or ``s3://<bucket>`` and its key."""
    location = urlsplit(uri)
    if location.scheme in ("", "file"):
        return Dataset("file", location.path)
    return Dataset(f"{location.scheme}://{location.netloc}", location.path.lstrip("/"))


def locate_model(uri: str, server: str) -> Dataset:
    """Return the name of a model: MLflow's registry as the namespace, the rest of ``models:/...`` as the name.

    OpenLineage has no rule for models; this follows the one for data sources, ``<system>://<host>:<port>``.
    """
    return Dataset(f"mlflow://{urlsplit(server).netloc}", uri.removeprefix("models:/"))


def describe(table: pd.DataFrame) -> Table:
    """Return what is said of a table; a named index, such as that of the animals, is a column too."""
    columns = table.reset_index() if table.index.name else table
    types = {str(name): str(dtype) for name, dtype in columns.dtypes.items()}
    return Table(types, len(table), {str(name): int(count) for name, count in columns.isna().sum().items()})


def short_name(dataset: Dataset) -> str:
    """Return the part of a dataset's name that a person tells it by."""
    return dataset.name if dataset.namespace.startswith("mlflow:") else PurePosixPath(dataset.name).name
