"""Cells in one form: without blanks around them, and missing where a text says so."""

from collections.abc import Collection
from numbers import Number as AnyNumber

import numpy as np
import pandas as pd

from include.spec import Category, Problem

# Texts that stand for a missing cell, in any CSV file.
MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A")


def trim(rows: pd.DataFrame, problem: Problem) -> tuple[pd.DataFrame, int]:
    """Remove blanks around cells, and bring texts for missing cells and for whole numbers into one form.

    :return: the rows, and the number of cells that had blanks around them
    """
    table, trimmed = rows.copy(), 0
    levels = {column.name: column.levels for column in problem.features if isinstance(column, Category)}
    texts = [*levels, *filter(None, [problem.row_id])]
    for name in [name for name in (*texts, *problem.numbers, problem.target.name) if name in rows]:
        if name in texts or not pd.api.types.is_numeric_dtype(rows[name].dtype):
            table[name], count = _trim_column(rows[name], set(MISSING).difference(levels.get(name, ())))
            trimmed += count
        if name in texts:  # 1, 1.0 and "1" are one category
            table[name] = table[name].astype("str").str.replace(r"^(-?\d+)\.0+$", r"\1", regex=True)
    return table, trimmed


def _trim_column(cells: pd.Series, missing: Collection[str]) -> tuple[pd.Series, int]:
    if cells.dtype == "str":
        stripped = cells.str.strip()
        return stripped.mask(stripped.isin(missing)), int((cells != stripped)[cells.notna()].sum())
    values = cells.astype(object).where(cells.notna(), np.nan).tolist()
    trimmed = sum(isinstance(value, str) and value != value.strip() for value in values)
    return pd.Series([_clean(value, missing) for value in values], cells.index, object), trimmed


def _clean(cell: object, missing: Collection[str]) -> object:
    """Return a number as it is, anything else as text, and NaN for a text that stands for a missing cell."""
    if isinstance(cell, AnyNumber):
        return cell
    text = str(cell).strip()
    return np.nan if text in missing else text
