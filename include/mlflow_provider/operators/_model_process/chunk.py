"""A part of a model's input."""

from __future__ import annotations

from typing import Any, NamedTuple


class Chunk(NamedTuple):
    """What a model gets at once: some rows of a table, or a value.

    :param data: the rows or the value
    :param first: position of the first row in the table
    :param total: rows of the whole table; None for a value
    """

    data: Any
    first: int = 0
    total: int | None = None

    @property
    def rows(self) -> str:
        """Which rows these are, for messages."""
        return f"rows {self.first} to {self.first + len(self.data) - 1} of {self.total}"

    @property
    def is_part(self) -> bool:
        """Whether the table has other rows."""
        return self.total is not None and self.total > len(self.data)
