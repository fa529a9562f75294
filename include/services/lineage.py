"""What the running task reads, writes and checks, recorded for its OpenLineage event.

The notes stay in the task's process until ``include/services/openlineage.py`` collects them; nothing goes through XCom.
They hold names, types and counts, never values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import pandas as pd

    from include.data.checks import Inspection
    from include.data.schema import Result


class Dataset(NamedTuple):
    """A dataset by its OpenLineage name: https://openlineage.io/docs/spec/naming."""

    namespace: str
    name: str


class Table(NamedTuple):
    """Metadata of a table: the type of each column, the number of rows, the number of missing cells of each column."""

    columns: dict[str, str]
    rows: int
    missing: dict[str, int]


@dataclass
class Notes:
    """The notes of one task."""

    inputs: dict[Dataset, Table | None] = field(default_factory=dict)
    outputs: dict[Dataset, Table | None] = field(default_factory=dict)
    checks: dict[Dataset, tuple[Result, ...]] = field(default_factory=dict)
    mlflow_run_id: str = ""


_notes = Notes()


def take() -> Notes:
    """Return the notes since the last call, and start new ones."""
    global _notes
    taken, _notes = _notes, Notes()
    return taken


def tables_read() -> dict[Dataset, Table]:
    """Return the tables that the task has read so far."""
    return {dataset: table for dataset, table in _notes.inputs.items() if table}


def note_read(uri: str, table: pd.DataFrame | Table) -> None:
    """Note that the task read a table, or some of its columns, unless it wrote it itself."""
    dataset, read = locate(uri), table if isinstance(table, Table) else describe(table)
    if dataset in _notes.outputs:
        return
    if before := _notes.inputs.get(dataset):
        read = Table(before.columns | read.columns, read.rows, before.missing | read.missing)
    _notes.inputs[dataset] = read


def note_written(uri: str, table: pd.DataFrame | Table) -> None:
    """Note that the task wrote a table to a file or object."""
    _notes.outputs[locate(uri)] = table if isinstance(table, Table) else describe(table)


def note_model(uri: str, server: str) -> None:
    """Note that the task logged a model, ``models:/m-...``, on the MLflow server with this address."""
    _notes.outputs[locate_model(uri, server)] = None


def note_checks(inspection: Inspection) -> None:
    """Note the results of the checks, for each dataset that the task has read so far."""
    _notes.checks |= dict.fromkeys(_notes.inputs, inspection.results)


def note_run(run_id: str) -> None:
    """Note the MLflow run that the task logged to."""
    _notes.mlflow_run_id = run_id


def locate(uri: str) -> Dataset:
    """Return the OpenLineage name of a file or object: ``file`` and its path, or ``s3://<bucket>`` and its key."""
    scheme, _, location = uri.partition("://") if "://" in uri else ("file", "", uri)
    if scheme == "file":
        return Dataset("file", location)
    bucket, _, key = location.partition("/")
    return Dataset(f"{scheme}://{bucket}", key)


def locate_model(uri: str, server: str) -> Dataset:
    """Return the name of a model: MLflow's registry as the namespace, the rest of ``models:/...`` as the name.

    OpenLineage has no rule for models; this follows the one for data sources, ``<system>://<host>:<port>``.
    """
    return Dataset(f"mlflow://{urlsplit(server).netloc}", uri.removeprefix("models:/"))


def describe(table: pd.DataFrame) -> Table:
    """Return the metadata of a table."""
    types = {str(name): str(dtype) for name, dtype in table.dtypes.items()}
    return Table(types, len(table), {str(name): int(count) for name, count in table.isna().sum().items()})


def combine(batches: Sequence[Table]) -> Table:
    """Return the metadata of a table from that of its batches; the types are those of the first."""
    missing = {name: sum(batch.missing[name] for batch in batches) for name in batches[0].columns}
    return Table(batches[0].columns, sum(batch.rows for batch in batches), missing)


def short_name(dataset: Dataset) -> str:
    """Return a dataset's name for people: the file name, or model and version."""
    return dataset.name if dataset.namespace.startswith("mlflow:") else PurePosixPath(dataset.name).name
