"""Convert a model's input to its signature, as MLflow's scoring server does."""

from __future__ import annotations

import base64
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def columns_of(model: Any) -> list[str]:
    """Return the column names in a model's signature."""
    schema = model.metadata.get_input_schema()
    is_table = schema is not None and not schema.is_tensor_spec() and not _is_checked_by_hint(model)
    return schema.input_names() if is_table and schema.has_input_names() else []


def fit(data: Any, model: Any) -> Any:
    """Return an input as a table or arrays of a model's signature, or unchanged; a ValueError if it does not fit."""
    import numpy as np
    import pandas as pd

    if _is_checked_by_hint(model):
        return data
    schema = model.metadata.get_input_schema()
    if schema is None:
        is_records = isinstance(data, list) and all(isinstance(item, dict) for item in data)
        return pd.DataFrame(data) if is_records else np.array(data) if isinstance(data, list) else data
    if schema.is_tensor_spec():
        return _fit_arrays(data, schema)
    if not schema.has_input_names():
        return data
    table = _as_table(data, schema)
    return _cast_columns(table, schema) if isinstance(table, pd.DataFrame) else table


def _is_checked_by_hint(model: Any) -> bool:
    # MLflow checks the input against the type hint of the model's function, such as list[str].
    return bool(getattr(model.metadata, "_is_signature_from_type_hint", bool)())


def _fit_arrays(data: Any, schema: Any) -> Any:
    import numpy as np

    if isinstance(data, list):
        shape = [0 if size == -1 else size for size in schema.inputs[0].shape]
        return np.asarray(data, schema.inputs[0].type) if data else np.empty(shape, schema.inputs[0].type)
    if isinstance(data, dict) and schema.has_input_names():
        kinds = {spec.name: spec.type for spec in schema.inputs}
        return {name: np.asarray(value, kinds.get(name)) for name, value in data.items()}
    return data


def _as_table(data: Any, schema: Any) -> Any:
    """Return records, a dict of lists, a series or an array as a table; other values unchanged."""
    import numpy as np
    import pandas as pd

    names = schema.input_names()
    depths = {_depth(value) for value in data.values()} if isinstance(data, dict) else set()
    if isinstance(data, dict) and max(depths, default=0) < 2:
        has_rows = depths == {1}
        simple = all(hasattr(spec.type, "to_pandas") for spec in schema.inputs)
        return (pd.DataFrame(data) if has_rows else pd.DataFrame([data])) if simple else data
    if isinstance(data, list) and all(isinstance(item, dict) for item in data):
        return pd.DataFrame(data, columns=None if data else names)
    if isinstance(data, pd.Series):
        return data.to_frame(names[0]) if len(names) == 1 else data
    has_names = isinstance(data, pd.DataFrame) and not isinstance(data.columns, pd.RangeIndex)
    if has_names or not isinstance(data, (list, np.ndarray, pd.DataFrame)):
        return data.copy(deep=False) if has_names else data
    table = pd.DataFrame(data)
    if table.shape[1] != len(names):
        raise ValueError(
            f"the model has the columns {names}, and the input without column names has the shape {np.shape(data)}: "
            f"pass a table with these columns, or an array of shape (rows, {len(names)}) with them in this order"
        )
    log.warning("The input has no column names: its columns are taken as %s, in this order", names)
    return table.set_axis(names, axis=1)


def _depth(value: Any) -> int:
    if not isinstance(value, (list, tuple)):
        return getattr(value, "ndim", 0)
    return 1 + max(map(_depth, value), default=0)


def _cast_columns(table: pd.DataFrame, schema: Any) -> pd.DataFrame:
    if twice := [name for name in schema.input_names() if list(table.columns).count(name) > 1]:
        raise ValueError(f"the input has more than one column {twice[0]!r}")
    for spec in schema.inputs:
        if spec.name in table and hasattr(spec.type, "to_pandas"):
            column = table[spec.name]
            try:
                table[spec.name] = _cast(column, spec.type)
            except (TypeError, ValueError, OverflowError) as error:
                problem = f"is {spec.type.name} in the model's signature, and the input has {column.dtype}: {error}"
                raise ValueError(f"column {spec.name!r} {problem}") from error
    return table


def _cast(column: pd.Series, kind: Any) -> pd.Series:
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    is_text = column.dtype == object or isinstance(column.dtype, pd.StringDtype)
    if kind.name == "string":
        return column if is_text else column.astype(object)
    if kind.name == "binary":
        return column.map(lambda cell: base64.b64decode(cell, validate=True) if isinstance(cell, str) else cell)
    if kind.name == "boolean":
        return _cast_booleans(column)
    if kind.name == "datetime":
        # A format guessed from the first row could read other rows in another order of day and month.
        iso = {"format": "ISO8601"} if int(pd.__version__.split(".")[0]) >= 2 else {}
        return pd.to_datetime(column, **iso) if is_text else column
    return column if column.dtype.kind in "mM" else _cast_numbers(column, kind.to_numpy())


def _cast_booleans(column: pd.Series) -> pd.Series:
    names = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
    found = column.map(lambda cell: names.get(str(cell).lower()), na_action="ignore").astype(object)
    if wrong := list(column[found.isna() & column.notna()][:1]):
        raise ValueError(f"{wrong[0]!r} is not a truth value")
    return found.where(column.notna(), None) if column.isna().any() else found.astype(bool)


def _cast_numbers(column: pd.Series, kind: Any) -> pd.Series:
    import numpy as np
    import pandas as pd

    numbers = pd.to_numeric(column)
    if kind.kind == "f":
        return pd.Series(numbers.to_numpy(kind, na_value=np.nan), column.index, name=column.name)
    if numbers.isna().any():
        raise ValueError("it misses values, which no column of integers can: log the model with doubles there")
    whole = numbers.to_numpy().astype(kind)
    if (different := whole != numbers.to_numpy()).any():
        raise ValueError(f"{numbers[different].iloc[0]!r} is not an {kind}")
    return pd.Series(whole, column.index, name=column.name)
