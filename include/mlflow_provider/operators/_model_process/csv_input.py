"""A CSV table in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .chunk import Chunk

if TYPE_CHECKING:
    import pandas as pd

INTEGER, FLOAT, BOOLEAN, TEXT, GAP = "integer", "float", "boolean", "text", "gap"


def read_csv(path: Path, size: int | None) -> Iterator[Chunk]:
    """Yield the rows of a file, which is read twice if it has more than one chunk.

    :param size: rows of a chunk; None for the whole table in one
    """
    import pandas as pd

    total, types = survey(path, size) if size else (0, {})
    if not size or total <= size:
        table = pd.read_csv(path)
        yield Chunk(table, 0, len(table))
        return
    first = 0
    with pd.read_csv(path, chunksize=size, dtype=types) as reader:
        for frame in reader:
            yield Chunk(with_plain_booleans(frame), first, total)
            first += len(frame)


def survey(path: Path, size: int) -> tuple[int, dict[str, str]]:
    """Return the number of rows, and the types of those columns that no chunk could tell by itself."""
    import pandas as pd

    rows = 0
    kinds: dict[str, set[str]] = {}
    with pd.read_csv(path, chunksize=size) as reader:
        for frame in reader:
            rows += len(frame)
            for name in frame:
                kinds.setdefault(name, set()).update(kinds_of(frame[name]))
    return rows, {name: type_of(found) for name, found in kinds.items() if len(found) > 1}


def kinds_of(column: pd.Series) -> set[str]:
    """Return what the cells of a column are: numbers, booleans, text, missing."""
    present = column.dropna()
    gap = {GAP} if len(present) < len(column) else set()
    if present.empty:
        return gap
    if column.dtype.kind in "iuf":
        return gap | {INTEGER if column.dtype.kind == "i" else FLOAT}
    # A column with a gap keeps its booleans as objects.
    is_boolean = column.dtype.kind == "b" or all(isinstance(cell, bool) for cell in present)
    return gap | {BOOLEAN if is_boolean else TEXT}


def type_of(kinds: set[str]) -> str:
    """Return the type that pandas gives to a column with cells of several kinds."""
    if kinds <= {INTEGER, FLOAT, GAP}:
        return "float64"
    return "boolean" if kinds == {BOOLEAN, GAP} else "str"


def with_plain_booleans(frame: pd.DataFrame) -> pd.DataFrame:
    """Return booleans with gaps as pandas reads them from a whole file: as objects, with NaN in the gaps."""
    for name in frame.columns[frame.dtypes == "boolean"]:
        column = frame[name]
        frame[name] = column.astype(object).where(column.notna(), float("nan"))
    return frame
