"""Reading tables: from the content of a file, or in batches from files of any size."""

import csv
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from io import BufferedReader, BytesIO, RawIOBase, TextIOWrapper
from itertools import accumulate
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from include.data.schema import name_row

MAX_CELLS = 50_000_000  # of a Parquet file that is read as a whole, whose few bytes may be a table of any size
BUFFER = 8 * 1024**2  # bytes of a CSV file that are fetched at once


class TableError(ValueError):
    """A table cannot be used; the message names file, row and column, and the remedy."""


class Part(NamedTuple):
    """A file of a table.

    :param name: for messages; Parquet if it ends in ``.parquet``, else comma-separated values in UTF-8
    :param open: returns its content as a file, which may be called more than once
    """

    name: str
    open: Callable[[], RawIOBase | BytesIO]

    @property
    def is_parquet(self) -> bool:
        """Whether it is a Parquet file."""
        return self.name.lower().endswith(".parquet")


def parse_rows(content: bytes, name: str) -> pd.DataFrame:
    """Read a table as it is, one row for each line of the file.

    :param content: Parquet if `name` ends in ``.parquet``, else comma-separated values in UTF-8
    :param name: of the file, for messages
    :return: the cells of a CSV file as text, those of a Parquet file in their types; column names are trimmed
    :raises TableError: it is not a table, has no rows, or has two columns of the same name
    """
    return parse_parts({name: content})


def parse_parts(contents: Mapping[str, bytes]) -> pd.DataFrame:
    """Read the files of a table as :func:`parse_rows` reads one.

    :param contents: by name
    :raises TableError: as :func:`read_parts`
    """
    parts = [Part(name, partial(BytesIO, content)) for name, content in contents.items()]
    for part in (part for part in parts if part.is_parquet):
        with _open_parquet(part) as file:
            cells = file.metadata.num_rows * file.metadata.num_columns
        if cells > MAX_CELLS:
            raise TableError(f"{part.name} has {cells:,} cells, {MAX_CELLS:,} is the limit: split the file")
    batches = [batch for _, batch in read_parts(parts, MAX_CELLS)]
    return pd.concat(batches, ignore_index=True) if len(batches) > 1 else batches[0]


def read_parts(parts: Sequence[Part], most: int) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the rows of a table, with the name of the part that they are from; as :func:`parse_rows` reads them.

    :param parts: all CSV or all Parquet, and with the same columns
    :param most: rows that are yielded at once
    :raises TableError: as :func:`parse_rows`, or because a part has other columns or types
    """
    kinds = {part.is_parquet: part.name for part in parts}
    if len(kinds) > 1:
        raise TableError(f"{kinds[True]} is a Parquet file, {kinds[False]} is not: keep parts of one kind")
    schema = _unify_schemas(parts) if parts[0].is_parquet else None
    columns: list[str] = []
    for part in parts:
        count = 0
        for rows in _read_parquet(part, schema, most) if schema else _read_csv(part, most):
            columns = columns or _check_names([str(name).strip() for name in rows], part.name)
            rows.columns = _check_same([str(name).strip() for name in rows], columns, part, parts[0])
            count += len(rows)
            yield part.name, rows[columns]
        if not count:
            raise TableError(f"{part.name} has no rows: add some below the header")


def rebatch(batches: Iterable[pd.DataFrame], size: int) -> Iterator[pd.DataFrame]:
    """Yield the rows of batches in batches of this size; the last may be smaller."""
    held: list[pd.DataFrame] = []
    for batch in batches:
        held.append(batch)
        while sum(map(len, held)) >= size:
            joined = pd.concat(held, ignore_index=True)
            yield joined.head(size)
            rest = joined.iloc[size:]
            held = [rest] if len(rest) else []  # an empty one would keep the rows in memory
    if held:
        yield pd.concat(held, ignore_index=True)


def name_rows(parts: Mapping[str, int]) -> Callable[[int], str]:
    """Return what names a row by its number in the table: by its number in its part, and the part if there are more.

    :param parts: the number of rows of each part
    """
    names, ends = list(parts), list(accumulate(parts.values()))

    def name(index: int) -> str:
        part = bisect_right(ends, index)
        return f"{names[part]}, {name_row(index - ends[part] + parts[names[part]])}"

    return name if len(parts) > 1 else name_row


def _check_names(names: list[str], part: str) -> list[str]:
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise TableError(f"{part} has more than one column {', '.join(map(repr, repeated))}: rename or remove them")
    return names


def _check_same(names: list[str], columns: Sequence[str], part: Part, first: Part) -> list[str]:
    if sorted(names) != sorted(columns):
        lacking, others = set(columns).difference(names), set(names).difference(columns)
        differences = [f"lacks column {name}" for name in sorted(lacking)]
        differences += [f"has column {name}" for name in sorted(others)]
        raise TableError(f"{part.name} has other columns than {first.name}: it {', '.join(differences)}")
    return names


@contextmanager
def _reported(part: Part, kind: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, pd.errors.ParserError, UnicodeDecodeError, csv.Error, OSError) as error:
        raise TableError(f"{part.name} is not a {kind}: {error}") from error


def _open_parquet(part: Part) -> pq.ParquetFile:
    with _reported(part, "Parquet file"):
        return pq.ParquetFile(part.open(), pre_buffer=True)


def _unify_schemas(parts: Sequence[Part]) -> pa.Schema:
    """Return the types that hold the cells of all parts, whichever batches they come in."""
    schema, nullable = pa.schema([]), set()
    for part in parts:
        with _open_parquet(part) as file:
            found = file.schema_arrow
            whole = [field.name for field in found if pa.types.is_integer(field.type) or pa.types.is_null(field.type)]
            nullable |= {name for name in whole if _has_missing(file, name)}
        schema = schema if len(schema) else found
        _check_same(found.names, schema.names, part, parts[0])
        try:
            schema = pa.unify_schemas([schema, found], promote_options="permissive")
        except pa.ArrowException as error:
            raise TableError(f"{part.name} has other types than {parts[0].name}: {error}") from error
    for place, field in enumerate(schema):  # pandas knows no whole number that is missing
        if pa.types.is_integer(field.type) and field.name in nullable:
            schema = schema.set(place, field.with_type(pa.float64()))
    return schema


def _has_missing(file: pq.ParquetFile, name: str) -> bool:
    """Return whether cells of a column are missing, from the file's statistics if it has some."""
    groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
    columns = [group.column(place) for group in groups for place in range(group.num_columns)]
    found = [column.statistics for column in columns if column.path_in_schema == name]
    if all(each is not None and each.has_null_count for each in found):
        return any(each.null_count > 0 for each in found)
    return file.read([name])[name].null_count > 0


def _read_parquet(part: Part, schema: pa.Schema, most: int) -> Iterator[pd.DataFrame]:
    with _open_parquet(part) as file, _reported(part, "Parquet file"):
        for group in range(file.num_row_groups):  # one by one, because what was fetched is kept until the iterator ends
            for batch in file.iter_batches(most, row_groups=[group]):
                yield _to_frame(pa.Table.from_batches([batch]), schema)


def _to_frame(table: pa.Table, schema: pa.Schema) -> pd.DataFrame:
    """Return rows in the types of a schema; named levels of an index become columns."""
    table.validate(full=True)  # a text that is not UTF-8 would fail much later
    metadata = table.schema.metadata
    rows = table.select(schema.names).cast(schema, safe=False).replace_schema_metadata(metadata).to_pandas()
    named = [level for level, label in enumerate(rows.index.names) if label is not None and label not in rows]
    return rows.reset_index(named).reset_index(drop=True)


def _read_csv(part: Part, most: int) -> Iterator[pd.DataFrame]:
    with _reported(part, "table of comma-separated values in UTF-8"):
        with _open_text(part) as text:
            header = _check_shape(text, part.name)
        # Not header=None with skiprows=1, which would read the header as a row after an empty line.
        options = {"dtype": str, "keep_default_na": False, "index_col": False, "chunksize": most}
        with _open_text(part) as text, pd.read_csv(text, **options) as batches:
            for rows in batches:
                yield rows.set_axis(header, axis=1).reset_index(drop=True)


def _open_text(part: Part) -> TextIOWrapper:
    return TextIOWrapper(BufferedReader(part.open(), BUFFER), "utf-8-sig", newline="")


def _check_shape(text: TextIOWrapper, name: str) -> list[str]:
    """Return the header; reject rows with more or fewer cells, which pandas would shift or fill without a warning."""
    rows = csv.reader(text, strict=True)
    header = next((cells for cells in rows if cells), [])
    if not header:
        raise TableError(f"{name} is empty: write a header and rows")
    if len(header) == 1 and any(separator in header[0] for separator in ";\t|"):
        raise TableError(f"{name} is not separated by commas: save it with commas")
    for cells in rows:
        if cells and len(cells) != len(header):
            raise TableError(f"{name}, row {rows.line_num}: {len(cells)} cells under a header of {len(header)}")
    return header
