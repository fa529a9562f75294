"""What each column of a table is used as: target, ID, number or category; or why it is left out."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial

import numpy as np
import pandas as pd
from pandas.api.types import is_hashable

from include.data.cleaning import MISSING
from include.spec import Limits

MAX_LEVELS = 20  # of a category with more, any value is accepted
MAX_NUMBER = 1e100  # beyond it, ranges overflow
MOSTLY_NUMBERS = 0.8  # share of numbers above which the other cells of a column are probably mistakes
DATE = (
    r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2})"
    r"|\d{1,2}\.? [A-Za-z]{3,9}\.?,? \d{4}|[A-Za-z]{3,9}\.? \d{1,2},? \d{4})([T ].*)?"
)
ID_WORDS = {"id", "key", "no", "nr", "case", "code", "index", "uuid", "guid", "identifier"}


class AdaptError(Exception):
    """The project cannot be adapted to a table; the message names the reason and the remedy."""


@dataclass(frozen=True)
class Choice:
    """What a column is used as, and why.

    :param use: "target", "ID", "number", "category" or "left out"
    :param unsure: whether a person should check it
    """

    column: str
    use: str
    reason: str = ""
    unsure: bool = False


def clean_cells(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a table with every cell as trimmed text, or NaN if it is missing.

    :param rows: as :func:`include.data.reading.parse_rows` returns them
    :raises AdaptError: a cell is a list, or something else that is more than one value
    """
    if nested := [name for name in rows if not rows[name].map(is_hashable).all()]:
        raise AdaptError(
            f"Cells of {', '.join(nested)} hold more than one value: keep one in each, or remove the column"
        )
    texts = rows.astype(object).map(lambda cell: str(cell).strip(), na_action="ignore")
    texts = texts.replace(r"^(-?\d+)\.0+$", r"\1", regex=True)  # 1.0 is the ID 1
    return texts.mask(texts.isin(MISSING), np.nan)


def to_numbers(cells: pd.Series) -> pd.Series:
    """Return text cells as numbers, those that are not finite numbers as NaN."""
    numbers = pd.to_numeric(cells, errors="coerce").astype(float)
    return numbers.where(numbers.abs() < MAX_NUMBER)


def choose_uses(cells: pd.DataFrame, target: str, row_id: str | None = None) -> list[Choice]:
    """Choose what each column is used as.

    :param cells: as :func:`clean_cells` returns them
    :param row_id: the column that identifies rows; if None, one that looks like it is proposed
    :return: one choice for each column, in the table's order
    :raises AdaptError: there is nothing to predict, or nothing to predict from
    """
    check_names(list(cells), target, row_id)
    check_target(target, cells[target])
    unique = cells.drop_duplicates()  # the pipeline leaves out repeated rows of a table with IDs
    if row_id:
        check_id(row_id, unique[row_id])
    given = row_id is not None
    row_id = row_id or next((name for name in cells if name != target and _is_id(name, unique[name])), None)
    fixed = {target: choose_target(target, cells[target])}
    if row_id:
        fixed[row_id] = Choice(row_id, "ID", "different in every row", unsure=not given)
    choices = [fixed.get(name) or choose_use(name, cells[name]) for name in cells]
    if not any(choice.use in ("number", "category") for choice in choices):
        reasons = "; ".join(f"{choice.column}: {choice.reason}" for choice in choices if choice.use == "left out")
        raise AdaptError(f"No column is left to predict {target} from: add one. {reasons}".rstrip())
    return choices


def check_names(columns: Sequence[str], target: str, row_id: str | None) -> None:
    """Raise an error unless the target and the ID are columns."""
    for name, option in ((target, "TARGET"), (row_id, "ID")):
        if name and name not in columns:
            close = get_close_matches(name.casefold(), [known.casefold() for known in columns], n=1)
            meant = next((f" Did you mean {known}?" for known in columns if known.casefold() in close), "")
            raise AdaptError(f"{option}={name} is not a column of the table.{meant} Its columns: {', '.join(columns)}")
    if row_id == target:
        raise AdaptError(f"ID={row_id} is the target: name another column, or leave ID out")


def check_target(name: str, cells: pd.Series) -> None:
    """Raise an error unless the target has enough numbers that differ."""
    known = cells.dropna()
    numbers = to_numbers(known)
    if (wrong := known[numbers.isna()]).size:
        raise AdaptError(
            f"{len(wrong)} of {len(known)} cells of the target {name} are not numbers, such as {wrong.iloc[0]!r}. "
            "Regression needs numbers: correct these cells, or choose another target"
        )
    if len(known) < Limits().min_rows:
        raise AdaptError(f"{len(known)} rows have a target, {Limits().min_rows} is the minimum: add rows")
    if numbers.nunique() == 1:
        raise AdaptError(f"Every {name} is {known.iloc[0]}: there is nothing to predict. Choose another target")


def check_id(name: str, cells: pd.Series) -> None:
    """Raise an error unless every row has an ID, and no two have the same."""
    if missing := int(cells.isna().sum()):
        raise AdaptError(f"{missing} cells of ID={name} are missing: fill them in, or leave ID out")
    if (repeated := cells[cells.duplicated()]).size:
        raise AdaptError(
            f"{len(repeated)} rows have an ID that another row has, such as {name} {repeated.iloc[0]}: "
            "correct them, name another column, or leave ID out"
        )


def choose_target(name: str, cells: pd.Series) -> Choice:
    """Return the use of the target, unsure if it may be a class."""
    if _has_few_values(cells):
        reason = f"has {cells.nunique()} different values: if they are classes, this is not regression"
        return Choice(name, "target", reason, unsure=True)
    return Choice(name, "target")


def choose_use(name: str, cells: pd.Series) -> Choice:
    """Choose what a column is used as that is neither the target nor the ID."""
    return next(choice for applies, choice in _list_choices(name, cells) if applies)


def _list_choices(name: str, cells: pd.Series) -> Iterator[tuple[bool, Choice]]:
    """Yield whether a choice applies, and the choice; the first that applies is the right one."""
    known = cells.dropna()
    numbers, left_out = to_numbers(known), partial(Choice, name, "left out")
    yield not name, left_out("it has no name in the header")
    if numbers.notna().all():
        distinct, missing, limit = numbers.nunique(), cells.isna().mean(), Limits().max_missing
        yield distinct <= 1, left_out("its cells do not differ")
        yield missing > limit, left_out(f"{missing:.0%} of its cells are missing, {limit:.0%} may be")
        yield _is_id(name, cells), left_out("it looks like another ID")
        names = distinct > 2 and _has_few_values(numbers) and bool((numbers % 1 == 0).all())
        question = f"has {distinct} different whole numbers: if they are codes, change it to Category"
        yield names, Choice(name, "number", question, unsure=True)
        yield True, Choice(name, "number")
    distinct, wrong = known.nunique(), known[numbers.isna()]
    yield cells.nunique(dropna=False) <= 1, left_out("its cells do not differ")
    mistakes = f"{len(wrong)} cells are not numbers, such as {wrong.iloc[0]!r}: correct them"
    yield numbers.notna().mean() >= MOSTLY_NUMBERS, left_out(mistakes, unsure=True)
    dates = known.str.fullmatch(DATE).mean() > 0.9
    yield dates, left_out("it contains dates: add a numeric column computed from them, such as an age")
    yield distinct > len(known) / 2, left_out(f"{distinct} different texts in {len(known)} cells")
    many = f"has {distinct} different values: any value is accepted"
    yield distinct > MAX_LEVELS, Choice(name, "category", many, unsure=True)
    yield True, Choice(name, "category")


def _is_id(name: str, cells: pd.Series) -> bool:
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}
    if not words & ID_WORDS or cells.isna().any() or cells.duplicated().any():
        return False
    numbers = to_numbers(cells)
    return bool(numbers.isna().any() or (numbers % 1 == 0).all())


def _has_few_values(cells: pd.Series) -> bool:
    """Return whether a column's numbers repeat so often that they may be names."""
    return cells.nunique() <= min(10, len(cells) / 5)
