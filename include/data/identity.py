"""The identity of rows: their id, or a hash of their content."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pandas as pd

from include.spec import ROW_HASH, Problem


def add_identity(table: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Return the table with the column that identifies rows in front: theirs, or a hash of their inputs.

    The second row of the same content gets ``-2`` behind its hash, the third ``-3``.
    """
    if problem.row_id:
        return table
    digests = hash_inputs(table, problem).map("{:016x}".format)
    copies = digests.groupby(digests).cumcount()
    suffixes = (copies + 1).astype(str).radd("-").where(copies > 0, "")
    return table.assign(**{ROW_HASH: digests + suffixes})[[ROW_HASH, *table.columns]]


def remove_known(rows: pd.DataFrame, known: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Return the rows that are not in `known`, each once.

    Rows are the same if id and inputs are; without an id, if inputs and target are.
    """
    keys = describe_rows(rows, problem)
    new = ~keys.isin(describe_rows(known, problem)) & ~keys.duplicated()
    return rows[new.to_numpy()]


def describe_rows(rows: pd.DataFrame, problem: Problem) -> pd.Series:
    """Return a text for each row: a hash of its inputs, and its id, or its target if there is no id."""
    distinguishing = rows[problem.row_id] if problem.row_id else rows[problem.target.name].astype(float)
    keys = [f"{digest:016x}:{value}" for digest, value in zip(hash_inputs(rows, problem), distinguishing, strict=True)]
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
