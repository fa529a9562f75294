"""Row counts and bounded samples of tables that may not fit into memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from include.services import storage
from include.spec import SPLIT, Problem

if TYPE_CHECKING:
    import pandas as pd

HEAD = 10_000  # rows that describe a table to MLflow: its digest takes no more into account


class Counts(NamedTuple):
    """The rows of each split of a table, the training rows with a target, and the mean of these targets."""

    splits: dict[str, int]
    training: int
    mean: float


def count_rows(uri: str, problem: Problem) -> Counts:
    """Return the numbers of a table with a split."""
    import pandas as pd

    from include.data.split import select_training

    target, splits, known = problem.target.name, Counter[str](), []
    for batch in storage.read_batches(uri, [SPLIT, target]):
        splits.update(batch[SPLIT].value_counts().to_dict())
        known.append(select_training(batch, problem)[target])
    targets = pd.concat(known)
    return Counts(dict(splits), len(targets), float(targets.mean()))


def read_sample(
    uri: str,
    problem: Problem,
    *,
    training: int,
    holdout: int = 0,
    slices: Sequence[pd.Series] = (),
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return rows of a table with a target, drawn as :mod:`include.data.sampling` says, in the order of the table.

    :param training: training rows at most
    :param holdout: holdout rows at most
    :param slices: as :func:`include.data.sampling.draw_sample` takes them
    :param columns: those to return; all if None
    """
    import pandas as pd

    from include.data.sampling import draw_sample

    labels = storage.read_batches(uri, [problem.id, SPLIT, problem.target.name])
    drawn, first, parts = draw_sample(labels, problem, training=training, holdout=holdout, slices=slices), 0, []
    for batch in storage.read_batches(uri, columns):
        parts.append(batch[drawn[first : first + len(batch)]])
        first += len(batch)
    return pd.concat(parts, ignore_index=True)


def read_training(uri: str, problem: Problem, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Yield columns of the training rows of a table in batches; the target and ``_split`` are among them."""
    from include.data.split import select_training

    return (select_training(batch, problem) for batch in storage.read_batches(uri, columns))


def read_head(uri: str) -> tuple[pd.DataFrame, int]:
    """Return the first rows of a table, 10,000 at most, and the number of all."""
    import pandas as pd
    import pyarrow.parquet as pq

    total, head = pq.read_metadata(storage.open_object(uri)).num_rows, pd.DataFrame()
    for batch in storage.read_batches(uri):
        head = pd.concat([head, batch], ignore_index=True) if len(head) else batch
        if len(head) >= HEAD:
            break
    return head.head(HEAD), total


def read_parts(uri: str, rows: int, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Yield columns of a table in parts of so many rows; the last one may have fewer."""
    from include.data.reading import rebatch

    return rebatch(storage.read_batches(uri, columns), rows)


def list_columns(uri: str) -> list[str]:
    """Return the names of the columns of a table."""
    import pyarrow.parquet as pq

    return pq.read_schema(storage.open_object(uri)).names
