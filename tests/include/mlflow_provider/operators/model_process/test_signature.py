"""Inputs reach a model as its signature says; each model is a real one, saved and loaded by MLflow."""

import base64
from datetime import date
from decimal import Decimal
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import ModelSignature
from mlflow.pyfunc import PythonModel
from mlflow.types import ColSpec, DataType, Schema, TensorSpec

from include.mlflow_provider.operators._model_process.inputs import read_chunks
from include.mlflow_provider.operators._model_process.signature import columns_of, fit

DAYS = ["2026-01-02", "2026-01-03"]


class Echo(PythonModel):
    """Returns its input, so that a test sees what reached the model."""

    def predict(self, context, model_input, params=None):
        return model_input


class Texts(PythonModel):
    def predict(self, model_input: list[str], params=None) -> list[str]:
        assert type(model_input) is list
        return [text.upper() for text in model_input]


@pytest.fixture(scope="session")
def load(tmp_path_factory):
    """Save a model with a signature and load it again."""

    def make(inputs, python_model=None, outputs=None):
        signature = ModelSignature(inputs=inputs, outputs=outputs) if inputs else None
        path = tmp_path_factory.mktemp("models") / "echo"
        mlflow.pyfunc.save_model(path, python_model=python_model or Echo(), signature=signature, pip_requirements=[])
        return mlflow.pyfunc.load_model(str(path))

    return make


def columns(**kinds):
    return Schema([ColSpec(kind, name) for name, kind in kinds.items()])


def predict(model, data):
    return model.predict(fit(data, model))


CSV = "d,f,l,i,s,b,t\n94,1,2,3,007,True,2026-01-02\n92,2,3,4,NA,False,2026-01-03T10:00\n"
EVERY = {"d": "double", "f": "float", "l": "long", "i": "integer", "s": "string", "b": "boolean", "t": "datetime"}
TYPES = ["float64", "float32", "int64", "int32", "str", "bool", "datetime64[ns]"]


@pytest.mark.parametrize("size", [None, 1])
def test_a_csv_has_the_types_of_the_signature_whatever_its_values(load, tmp_path, size):
    model = load(columns(**EVERY))
    (tmp_path / "data.csv").write_text(CSV)
    chunks = read_chunks(tmp_path / "data.csv", size, columns_of(model))
    found = pd.concat([predict(model, chunk.data) for chunk in chunks])
    assert [str(kind) for kind in found.dtypes] == TYPES
    assert found["s"].tolist()[0] == "007"
    assert found["s"].isna().tolist() == [False, True]
    assert found["t"].iloc[1] == pd.Timestamp("2026-01-03T10:00")
    assert found["d"].tolist() == [94.0, 92.0]


@pytest.mark.parametrize(
    "cells",
    [[0, 1], [94, 92], [2**53 + 2, 5], [1.5, None], ["94", "1e2"], [True, False], [Decimal("1.5"), None], [None, None]],
)
@pytest.mark.parametrize("kind", ["records", "dict", "frame", "category", "Int64", "array"])
def test_numbers_of_every_kind_fit_a_column_of_doubles(load, cells, kind):
    if kind == "Int64" and not all(cell is None or type(cell) is int for cell in cells):
        cells = [1, None]
    data = {
        "records": lambda: [{"x": cell} for cell in cells],
        "dict": lambda: {"x": cells},
        "frame": lambda: pd.DataFrame({"x": cells}),
        "category": lambda: pd.DataFrame({"x": pd.Categorical(cells)}),
        "Int64": lambda: pd.DataFrame({"x": pd.array(cells, "Int64")}),
        "array": lambda: np.array(cells).reshape(-1, 1),
    }[kind]()
    found = predict(load(columns(x="double")), data)["x"]
    assert found.dtype == "float64"
    assert found.tolist() == pytest.approx([np.nan if cell is None else float(cell) for cell in cells], nan_ok=True)


@pytest.mark.parametrize("kind", ["long", "integer"])
@pytest.mark.parametrize("cells", [[1, 2], [1.0, 2.0], pd.array([1, 2], "Int64"), pd.Categorical([1, 2]), ["1", "2.0"]])
def test_whole_numbers_fit_a_column_of_integers(load, kind, cells):
    found = predict(load(columns(x=kind)), pd.DataFrame({"x": cells}))["x"]
    assert (found.tolist(), found.dtype.kind) == ([1, 2], "i")


@pytest.mark.parametrize(
    ("kind", "cells", "complaint"),
    [
        ("long", [1.5, 2], r"column 'x' is long in the model's signature, and .* float64: np.float64\(1.5\)"),
        ("integer", [2**40], "is not an int32"),
        ("long", [1, None], "it misses values, which no column of integers can"),
        ("double", ["94", "wide"], "Unable to parse string .wide"),
        ("boolean", [True, "perhaps"], "'perhaps' is not a truth value"),
        ("datetime", ["02/03/2026"], "column 'x' is datetime"),
        ("binary", ["no base 64!"], "column 'x' is binary"),
    ],
)
def test_what_does_not_fit_is_rejected_with_the_column_and_the_value(load, kind, cells, complaint):
    with pytest.raises(ValueError, match=complaint):
        predict(load(columns(x=kind)), pd.DataFrame({"x": cells}))


@pytest.mark.parametrize(
    "cells", [DAYS, [date(2026, 1, 2), date(2026, 1, 3)], pd.to_datetime(DAYS), pd.Categorical(DAYS)]
)
def test_dates_of_every_kind_arrive_as_dates(load, cells):
    found = predict(load(columns(x="datetime")), pd.DataFrame({"x": cells}))["x"]
    assert found.tolist() == [pd.Timestamp(day) for day in DAYS]


def test_texts_categories_bytes_and_booleans_with_gaps_arrive(load):
    model = load(columns(s="string", c="string", b="boolean", y="binary"))
    packed = base64.b64encode(b"\xff").decode()
    frame = {"s": ["a", 5], "c": pd.Categorical(["m", "f"]), "b": [True, None], "y": [packed, packed]}
    found = predict(model, pd.DataFrame(frame))
    assert found["s"].tolist() == ["a", 5]
    assert found["c"].tolist() == ["m", "f"]
    assert found["b"].tolist() == [True, None]
    assert found["y"].tolist() == [b"\xff", b"\xff"]
    frame["y"] = [b"\xfe", b"\xff"]
    assert predict(model, pd.DataFrame(frame))["y"].tolist() == [b"\xfe", b"\xff"]


def test_the_input_is_not_changed(load):
    frame = pd.DataFrame({"x": [1, 2]})
    predict(load(columns(x="double")), frame)
    assert frame["x"].dtype == "int64"


def test_a_list_stays_a_list_for_a_model_of_texts(load):
    model = load(None, Texts())
    assert predict(model, ["a", "b"]) == ["A", "B"]
    assert predict(model, []) == []


@pytest.mark.parametrize("data", [[], pd.DataFrame({"x": []})])
def test_an_empty_list_is_an_empty_table(load, data):
    found = predict(load(columns(x="double", **{} if isinstance(data, pd.DataFrame) else {"y": "string"})), data)
    assert isinstance(found, pd.DataFrame)
    assert (len(found), found["x"].dtype) == (0, "float64")
    assert fit([], load(None)).shape == (0, 0)


@pytest.mark.parametrize("make", [np.array, list, pd.DataFrame])
def test_columns_without_names_are_taken_by_position_with_a_warning(load, caplog, make):
    model = load(columns(head="double", tail="double"))
    found = predict(model, make([[94, 36], [92, 37]]))
    assert found.to_dict("list") == {"head": [94.0, 92.0], "tail": [36.0, 37.0]}
    assert "its columns are taken as ['head', 'tail'], in this order" in caplog.text
    with pytest.raises(ValueError, match=r"has the shape \(1, 3\): pass a table .* or an array of shape \(rows, 2\)"):
        predict(model, make([[1, 2, 3]]))


def test_a_series_or_flat_list_is_the_only_column(load):
    model = load(columns(head="double"))
    for data in ([94, 92], np.array([94, 92]), pd.Series([94, 92])):
        assert predict(model, data)["head"].tolist() == [94.0, 92.0]


def test_other_columns_are_no_matter_and_missing_or_double_ones_are_named(load):
    model = load(columns(x="double"))
    assert list(predict(model, [{"x": 1, "y": "other"}]).columns) == ["x"]
    with pytest.raises(mlflow.MlflowException, match=r"missing inputs \['x'\]"):
        predict(model, [{"y": 1}])
    with pytest.raises(ValueError, match="more than one column 'x'"):
        predict(model, pd.DataFrame([[1, 2]], columns=["x", "x"]))


def test_arrays_have_the_type_of_the_tensor(load):
    model = load(Schema([TensorSpec(np.dtype("float32"), (-1, 2))]))
    for data in ([[1, 2]], np.array([[1, 2]], "float32")):
        assert predict(model, data).dtype == "float32"
    assert predict(model, []).shape == (0, 2)
    named = load(Schema([TensorSpec(np.dtype("float64"), (-1,), "a"), TensorSpec(np.dtype("int64"), (-1, 1), "b")]))
    found = predict(named, {"a": [1, 2], "b": [[1], [2]]})
    assert (found["a"].dtype, found["b"].shape) == ("float64", (2, 1))


def test_without_a_signature_nothing_is_changed_but_lists(load):
    model = load(None)
    assert predict(model, [[1, 2]]).shape == (1, 2)
    assert list(predict(model, [{"a": 1}]).columns) == ["a"]
    assert predict(model, {"a": [1]}) == {"a": [1]}


def test_a_model_of_an_old_mlflow_has_no_type_hints():
    model = SimpleNamespace(metadata=SimpleNamespace(get_input_schema=lambda: Schema([ColSpec(DataType.double, "x")])))
    assert fit([{"x": 1}], model)["x"].dtype == "float64"
    assert columns_of(model) == ["x"]
