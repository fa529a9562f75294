"""Requests that need no repair: right columns and types, and values that are neither an error nor a warning."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from include.serving.compiled import Domain

Columns = dict[str, tuple[Any, ...]]


class Split(msgspec.Struct, forbid_unknown_fields=True):
    """Rows as ``pandas.DataFrame.to_dict(orient="split")`` writes them."""

    columns: tuple[str, ...]
    data: Raw
    index: list[int] | UnsetType = UNSET


class CleanReader:
    """Reads requests in MLflow's protocol whose rows are all in a domain.

    :param inputs: the columns that a request must have; those that the domain lacks may have any number or text
    """

    def __init__(self, domain: Domain) -> None:
        numbers = {name: Annotated[float, Meta(ge=low, le=high)] | None for name, (low, high) in domain.ranges.items()}
        self._types: dict[str, Any] = numbers | {name: Literal[tuple(levels)] for name, levels in domain.levels.items()}
        self._names = domain.inputs
        fields = [(f"cell{place}", self._types[name]) for place, name in enumerate(self._names)]
        renamed = {field: name for (field, _), name in zip(fields, self._names, strict=True)}
        row = msgspec.defstruct("Row", fields, rename=renamed, forbid_unknown_fields=True, gc=False)
        rows: Any = list[row]  # type: ignore[valid-type]
        request = msgspec.defstruct(
            "Request",
            [("dataframe_records", rows | UnsetType, UNSET), ("dataframe_split", Split | UnsetType, UNSET)],
            forbid_unknown_fields=True,
        )
        self._decoder = msgspec.json.Decoder(request)
        self._decode_data = lru_cache(maxsize=16)(self._build_decoder)

    def read(self, body: bytes) -> Columns | None:
        """Return the cells by column, None for a missing number; or None if the request needs another look."""
        try:
            request: Any = self._decoder.decode(body)
            if (request.dataframe_records is UNSET) == (request.dataframe_split is UNSET):
                return None
            if request.dataframe_split is not UNSET:
                return self._read_split(request.dataframe_split)
            rows = map(msgspec.structs.astuple, request.dataframe_records)
            return dict(zip(self._names, zip(*rows, strict=True), strict=False)) or None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None

    def _read_split(self, split: Split) -> Columns | None:
        if sorted(split.columns) != sorted(self._names):
            return None
        rows: Sequence[tuple[Any, ...]] = self._decode_data(split.columns).decode(split.data)
        if not rows or (split.index is not UNSET and len(split.index) != len(rows)):
            return None
        return dict(zip(split.columns, zip(*rows, strict=True), strict=True))

    def _build_decoder(self, columns: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
        rows: Any = list[tuple[*(self._types[name] for name in columns)]]  # type: ignore[misc]
        return msgspec.json.Decoder(rows)
