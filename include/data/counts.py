"""Checks of a numeric column as a whole, from counts that add up over the batches of a table."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

import pandas as pd

from include.data.schema import Result, describe_range
from include.spec import Limits, Number

MIN_JUDGED = 10  # cells of a column from which on its share outside of the expected range counts


@dataclass
class Counts:
    """Counts of the cells of a column, before and after impossible numbers are taken as missing.

    :param numbers: cells that are numbers, before
    :param outside: of them, those outside of the expected range
    :param known: cells that are not missing, after
    :param missing: those that are
    :param low: the smallest number, after
    :param high: the largest
    """

    column: Number
    numbers: int = 0
    outside: int = 0
    known: int = 0
    missing: int = 0
    low: float = inf
    high: float = -inf

    def add(self, numbers: pd.Series, repaired: pd.Series) -> None:
        """Add the cells of a batch.

        :param numbers: as :func:`include.data.schema.to_numbers` returns them
        :param repaired: the cells without impossible numbers
        """
        cells, known = numbers.dropna(), repaired.notna()
        self.numbers += len(cells)
        self.outside += int((~cells.between(*self.column.expected)).sum())
        self.known += int(known.sum())
        self.missing += int((~known).sum())
        self.low, self.high = min(self.low, numbers[known].min()), max(self.high, numbers[known].max())

    def check_unit(self, most: float) -> Result:
        """Check that the column is not mostly outside of its expected range, as in another unit."""
        share = self.outside / self.numbers if self.numbers >= MIN_JUDGED else 0.0
        line = (
            f"column {self.column.name}: {share:.0%} of its values are outside of the expected "
            f"{describe_range(self.column.expected, self.column.unit)}. Is it in another unit? "
            "If it is right, widen `expected` in include/problem.py"
        )
        return self._result("error", "is in the expected unit", line, share > most)

    def check_missing(self, severity: str, most: float) -> Result:
        """Check that not too many cells are missing."""
        check = f"more than {most:.0%} of it is missing"
        line = f"column {self.column.name}: {check}"
        return self._result(severity, check, line, self.missing / (self.known + self.missing) > most)

    def check_target(self, limits: Limits) -> Iterator[Result]:
        """Check that enough rows have a target."""
        few = f"{self.known} rows have a target, {limits.min_rows} is the minimum: add rows"
        yield self._result("error", "has enough rows", few, self.known < limits.min_rows)
        missing, most = 1 - self.known / (self.known + self.missing), limits.max_missing_target
        sparse = f"column {self.column.name}: {missing:.0%} of its cells are missing, at most {most:.0%} may be"
        yield self._result("error", "is known for most rows", sparse, missing > most)

    def check_varies(self, remedy: str) -> Result:
        """Check that the values differ: a constant is mostly a lost column or a placeholder."""
        line = f"column {self.column.name}: every value is {self.low:g}, {remedy}"
        return self._result("error", "varies", line, self.low == self.high)

    def _result(self, severity: str, check: str, line: str, failed: bool) -> Result:
        return Result(severity, self.column.name, check, (line,) if failed else (), int(failed))
