"""Whatever types a table has and however many rows are read at once, a model's result is what the model itself says."""

import json
import random
import string

import numpy as np
import pandas as pd
import pytest

from include.mlflow_provider.operators._model_process.inputs import read_chunks
from include.mlflow_provider.operators._model_process.main import apply
from include.mlflow_provider.operators._model_process.outputs import write
from include.mlflow_provider.operators._model_process.results import collect
from include.mlflow_provider.operators._model_process.signature import columns_of
from include.mlflow_provider.operators._subprocess import stage_input

from .test_signature import columns, load  # noqa: F401 # a fixture

DAY = pd.Timestamp("2026-01-02T03:04:05.000000006")
SIZES = [1, 3, 4, 7, None]
# For each type of a column how to make a cell, and how the column is made of cells.
PARQUET = {
    "double": (lambda chance: chance.choice([chance.gauss(0, 1e9), 1.23e-12, -0.0, 5e-324, 7.0]), np.array),
    "double with gaps": (
        lambda chance: chance.choice([chance.random(), None, np.nan]),
        lambda c: np.array(c, "float64"),
    ),
    "float": (lambda chance: chance.random(), lambda cells: np.array(cells, "float32")),
    "long": (lambda chance: chance.randrange(-(2**62), 2**62), np.array),
    "small": (lambda chance: chance.randrange(200), lambda cells: np.array(cells, "uint8")),
    "huge": (lambda chance: 2**63 + chance.randrange(2**62), lambda cells: np.array(cells, "uint64")),
    "nullable": (lambda chance: chance.choice([1, None, 2**60 + 1]), lambda cells: pd.array(cells, "Int64")),
    "boolean": (lambda chance: chance.random() < 0.5, lambda cells: np.array(cells, bool)),
    "flags with gaps": (lambda chance: chance.choice([True, False, None]), lambda cells: pd.array(cells, "boolean")),
    "text": (lambda chance: "".join(chance.choices(string.printable + "é,\"'\n", k=chance.randrange(4))), list),
    "text with gaps": (lambda chance: chance.choice(["a", "NA", "1", None]), lambda cells: pd.array(cells, "str")),
    "category": (lambda chance: chance.choice("fm"), lambda cells: pd.Categorical(cells, ["m", "f", "unknown"])),
    "date": (lambda chance: DAY + pd.Timedelta(chance.randrange(10**18)), pd.DatetimeIndex),
    "zone": (
        lambda chance: DAY + pd.Timedelta(chance.randrange(10**9)),
        lambda c: pd.DatetimeIndex(c).tz_localize("UTC"),
    ),
    "list": (lambda chance: [chance.randrange(9)] * chance.randrange(3), list),
    "dict": (lambda chance: {"a": chance.randrange(9), "b": chance.choice(["x", None])}, list),
    "nothing": (lambda chance: None, list),
}
CSV = ("double", "double with gaps", "long", "boolean", "flags with gaps", "text", "text with gaps", "nothing")
INDEXES = [
    None,
    pd.RangeIndex(3, 17, 2, name="case"),
    pd.Index(list("gfedcba"), name="case"),
    pd.Index([1, 1, 2, 2, 3, 3, 4]),
]


class Itself:
    """A model that returns its input, or a part of it in another form."""

    metadata = type("Metadata", (), {"get_input_schema": staticmethod(lambda: None)})

    def __init__(self, form=lambda data: data):
        self.predict = form


def make_table(seed, kinds, index=None):
    chance = random.Random(seed)
    cells = {kind: [PARQUET[kind][0](chance) for _ in range(7)] for kind in kinds}
    return pd.DataFrame({kind: PARQUET[kind][1](values) for kind, values in cells.items()}, index=index)


def run(model, path, size):
    return apply(model, read_chunks(path, size, columns_of(model)))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("size", SIZES)
def test_a_frame_of_every_parquet_type_comes_back_as_it_went(tmp_path, seed, size):
    index = INDEXES[seed % len(INDEXES)]
    make_table(seed, PARQUET, index).to_parquet(path := tmp_path / "in.parquet", row_group_size=1 + seed % 5)
    expected = pd.read_parquet(path)
    write(run(Itself(), path, size), tmp_path / "out.parquet")
    found = pd.read_parquet(tmp_path / "out.parquet")
    pd.testing.assert_frame_equal(found, expected, check_index_type="exact", check_exact=True)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("size", SIZES)
def test_a_frame_of_every_csv_type_comes_back_as_it_went(tmp_path, seed, size):
    make_table(seed, CSV).to_csv(path := tmp_path / "in.csv", index=False)
    expected = pd.read_csv(path, low_memory=False)
    write(run(Itself(), path, size), tmp_path / "out.csv")
    found = pd.read_csv(tmp_path / "out.csv", low_memory=False)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


@pytest.mark.parametrize("kind", [kind for kind in PARQUET if kind != "nothing"])
@pytest.mark.parametrize("form", ["list", "array", "dict", "series", "frame"])
def test_a_returned_result_is_what_the_model_says_or_refused(tmp_path, kind, form):
    make_table(3, [kind]).to_parquet(path := tmp_path / "in.parquet")
    forms = {
        "list": lambda data: data[kind].tolist(),
        "array": lambda data: data[kind].to_numpy(),
        "dict": lambda data: {"x": data[kind].tolist()},
        "series": lambda data: data[kind],
        "frame": lambda data: data,
    }
    model = Itself(forms[form])
    try:
        found = collect(next(run(model, path, None))[1], None)
    except ValueError as error:
        assert str(error).startswith("the result holds nan at ")  # noqa: PT017 # the only thing that JSON lacks here
        assert form in ("list", "array", "dict")
        return
    cells = pd.read_parquet(path)[kind].astype(object).tolist()
    text = json.loads(found) if form in ("series", "frame") else found
    values = {
        "dict": lambda: text["x"],
        "frame": lambda: list(text[kind].values()),
        "series": lambda: list(text.values()),
    }
    for value, cell in zip(values.get(form, lambda: found)(), cells, strict=True):
        assert is_same(value, cell)


def is_same(value, cell):
    """Return whether a value of JSON says what a cell says."""
    if isinstance(cell, dict):
        return value.keys() == cell.keys() and all(is_same(value[key], cell[key]) for key in cell)
    if isinstance(cell, list | np.ndarray):
        return value == list(cell)
    if cell is None or pd.isna(cell):
        return value is None
    if isinstance(cell, pd.Timestamp):
        return pd.Timestamp(value) == cell
    return value == cell and type(value) is type(cell if not hasattr(cell, "item") else cell.item())


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("size", SIZES)
def test_with_a_signature_every_way_to_send_a_table_gives_the_model_the_same(tmp_path, load, seed, size):  # noqa: F811
    kinds = {"double": "double", "long": "long", "text": "string", "boolean": "boolean", "date": "datetime"}
    model = load(columns(**kinds))
    table = make_table(seed, kinds)
    table["text"] = table["text"].where(table["text"].str.strip() != "", "x").str.replace(r"[\r\n]", "", regex=True)
    table["text"] = table["text"] + "é"
    table.to_csv(tmp_path / "in.csv", index=False)
    table.to_parquet(tmp_path / "in.parquet")
    (folder := tmp_path / "staged").mkdir()
    expected = model.predict(table)
    records = json.loads(table.to_json(orient="records", date_format="iso", date_unit="ns", double_precision=15))
    for kind, record in zip(table["double"], records, strict=True):
        record["double"] = kind
    sources = [tmp_path / "in.csv", tmp_path / "in.parquet", stage_input(table, folder, None)]
    sources.append(stage_input(records, folder, None))
    for source in sources:
        found = pd.concat([result for _, result in run(model, source, size)])
        assert list(found.dtypes) == list(expected.dtypes)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
