import json
import math
from datetime import date
from decimal import Decimal
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from include.mlflow_provider.operators._model_process.results import collect, plain

FRAME = pd.DataFrame({"head": [94.1, 92.5]}, index=pd.Index([7, 9], name="case"))
DAY = "2026-01-02T00:00:00"


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (np.array([[1, 2]]), [[1, 2]]),
        (np.float64(1.5), 1.5),
        (FRAME, FRAME.to_json()),
        (FRAME["head"], FRAME["head"].to_json()),
        (["a"], ["a"]),
        (("a", None, True), ["a", None, True]),
        ({np.int64(1): np.float32(0.5), np.str_("b"): np.bool_(True)}, {1: 0.5, "b": True}),
        ([np.float16(0.5), np.longdouble(0.5), np.uint8(3), np.array(2.5)], [0.5, 0.5, 3, 2.5]),
        (np.array(["2026-01-02", "NaT"], "datetime64[ns]"), [DAY, None]),
        ([np.datetime64("2026-01-02"), pd.NaT, pd.NA, date(2026, 1, 2)], [DAY, None, None, "2026-01-02"]),
        (np.array([[1500]], "timedelta64[ms]"), [["P0DT0H0M1.5S"]]),
        (pd.Timestamp("2026-01-02T00:00:00.000000001"), f"{DAY}.000000001"),
        (np.array([b"\xff", b"a"]), ["/w==", "YQ=="]),
        (np.array([{"a": np.int8(1)}, [np.array([1])]], dtype=object), [{"a": 1}, [[1]]]),
        (pd.Index(["a", "b"]), ["a", "b"]),
        (pd.Categorical(["a", "b"]), ["a", "b"]),
        (csr_matrix(np.eye(2)), [[1.0, 0.0], [0.0, 1.0]]),
        (np.ma.masked_array([1.0, 2.0], [False, True]), [1.0, None]),
        (Decimal("1.10"), "1.10"),
        (2**80, 2**80),
        ({"a": np.array([1.5]), "b": [FRAME]}, {"a": [1.5], "b": [FRAME.to_json()]}),
    ],
)
def test_a_result_is_returned_as_plain_values(result, expected):
    found = plain(result)
    assert found == expected
    assert json.loads(json.dumps(found, allow_nan=False)) == json.loads(json.dumps(expected))


@pytest.mark.parametrize(
    ("result", "complaint"),
    [
        ([1.0, math.nan], r"holds nan at \[1\], for which JSON has no number: .* output_uri"),
        (np.array([[0.0], [np.inf]]), r"holds inf at \[1\]\[0\]"),
        ({"a": np.float32(-np.inf)}, r"holds -inf at \['a'\]"),
        (pd.DataFrame({"x": [1.0, np.inf]}), r"holds inf at \['x'\]\[1\]"),
        ([{1.5}], r"holds a set at \[0\], and a task returns JSON alone: .* output_uri"),
        (np.array([1j]), "holds a ndarray, and a task returns JSON alone"),
        (np.zeros(1, dtype=[("a", int)]), "and a task returns JSON alone"),
        ({"1": 0, 1: 0}, "are the same in JSON"),
        (pd.DataFrame({"x": [1, 2]}, index=[5, 5]), "are the same in JSON"),
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), "are the same in JSON"),
    ],
)
def test_what_json_cannot_hold_is_rejected_with_its_place(result, complaint):
    with pytest.raises((TypeError, ValueError), match=complaint):
        plain(result)


@pytest.mark.parametrize("number", [1.23e-12, 0.1 + 0.2, 5e-324, 1.7976931348623157e308, -1 / 3, 123456789.123456789])
def test_numbers_keep_all_their_digits(number):
    for result in ([number], pd.Series([number]), pd.DataFrame({"x": [number]}), np.array([number])):
        text = json.dumps(plain(result))
        assert repr(number) in text


def test_a_frame_comes_back_with_its_gaps_and_the_dicts_in_its_cells():
    frame = pd.DataFrame({"x": [1.5, np.nan], "d": [{"a": 1}, {"b": [None, {"c": 2}]}], "t": [None, "a"]})
    text = plain(frame)
    assert json.loads(text)["d"] == {"0": {"a": 1}, "1": {"b": [None, {"c": 2}]}}
    pd.testing.assert_frame_equal(pd.read_json(StringIO(text))[["x"]], frame[["x"]])


def test_what_is_too_big_to_return_names_the_way_out_unless_there_is_no_limit():
    with pytest.raises(ValueError, match=r"more bytes of JSON than the 100 .*output_uri"):
        collect(list(range(100)), 100)
    assert collect(np.zeros(100_000), None) == [0.0] * 100_000
