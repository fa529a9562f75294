"""The identity of rows: their id, or a hash of their content."""

import re
from collections import Counter
from collections.abc import Iterable
from hashlib import sha256

import numpy as np
import pandas as pd

from include.data.seen import Seen
from include.spec import ROW_HASH, Problem

_SUFFIX = re.compile(r"~[0-9a-f]{8}$")


def add_identity(table: pd.DataFrame, problem: Problem, seen: Seen | None = None) -> pd.DataFrame:
    """Return the table with the column that identifies rows in front: theirs, or a hash of their inputs.

    The second row of the same content gets ``-2`` behind its hash, the third ``-3``.

    :param seen: the hashes of the batches before; those of these rows are added
    """
    if problem.row_id:
        return table
    seen, digests = Seen() if seen is None else seen, hash_inputs(table, problem)
    copies = digests.groupby(digests).cumcount() + seen.count(digests.to_numpy())
    seen.add(digests.to_numpy(), np.zeros(len(digests), np.int64))
    suffixes = (copies + 1).astype(str).radd("-").where(copies > 0, "")
    names = digests.map("{:016x}".format) + suffixes
    return table.assign(**{ROW_HASH: names})[[ROW_HASH, *table.columns]]


def remove_trained(rows: pd.DataFrame, training: Iterable[pd.DataFrame], problem: Problem) -> pd.DataFrame:
    """Return the rows that a model was not trained on, under this id or another.

    A row of another id is the same if inputs and target are. That counts where they occur once in `training`: in a
    table of few different rows they do not identify one.

    :param training: the rows that it was trained on, in batches
    """
    inputs, contents = hash_inputs(rows, problem), _describe_content(rows, problem)
    known: set[str] = set()
    counts: Counter[str] = Counter()
    for batch in training:
        alike = batch[hash_inputs(batch, problem).isin(inputs).to_numpy()]  # the others cannot be the same
        known.update(describe_rows(alike, problem))
        counts.update(_describe_content(alike, problem))
    once = [content for content, count in counts.items() if count == 1]
    trained = describe_rows(rows, problem).isin(known) | contents.isin(once)
    return rows[~trained.to_numpy()]


def describe_rows(rows: pd.DataFrame, problem: Problem) -> pd.Series:
    """Return a text for each row that is equal for the same rows: of one id and the same inputs.

    Without an id, rows are the same if inputs and target are.
    """
    if problem.row_id is None:
        return _describe_content(rows, problem)
    return hash_inputs(rows, problem).map("{:016x}:".format).astype(object) + base_ids(rows, problem)


def base_ids(rows: pd.DataFrame, problem: Problem) -> pd.Series:
    """Return the ids under which rows came, without what :func:`distinguish` put behind them."""
    return rows[problem.row_id].astype("str").str.replace(_SUFFIX, "", regex=True).astype(object)


def distinguish(rows: pd.DataFrame, problem: Problem) -> pd.Series:
    """Return ids for rows whose own ids belong to rows of other inputs: with a hash of the inputs behind them."""
    return base_ids(rows, problem) + hash_inputs(rows, problem).map("~{:016x}".format).astype(object).str[:9]


def _describe_content(rows: pd.DataFrame, problem: Problem) -> pd.Series:
    targets = rows[problem.target.name].astype(float)
    keys = [f"{digest:016x}:{value}" for digest, value in zip(hash_inputs(rows, problem), targets, strict=True)]
    return pd.Series(keys, rows.index, dtype=object)


def hash_inputs(rows: pd.DataFrame, problem: Problem) -> pd.Series:
    """Return a hash of each row's inputs; numbers count with twelve digits, which survive any text file."""
    columns = sorted(problem.numbers)
    fractions, exponents = np.frexp(rows[columns].to_numpy(float) + 0.0)  # -0.0 is 0.0
    rounded = np.ldexp(np.round(fractions * 2**40) / 2**40, exponents)
    numbers = pd.DataFrame(rounded, rows.index, columns)
    categories = rows[sorted(problem.categories)]
    texts = categories.astype(object).where(categories.notna(), "")
    return pd.util.hash_pandas_object(pd.concat([numbers, texts], axis="columns"), index=False)


def hash_table(table: pd.DataFrame) -> str:
    """Return the SHA-256 of a table's content: columns, types and values in their order."""
    header = repr([(name, str(dtype)) for name, dtype in table.dtypes.items()]).encode()
    return sha256(header + table.to_csv(index=False).encode()).hexdigest()
