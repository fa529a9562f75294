from __future__ import annotations

import pandas as pd
import pytest

from include.platform import lineage as notes
from include.platform.lineage import Dataset

TABLE = pd.DataFrame({"age": [2.5, None], "sex": ["f", "m"]}, index=pd.Index([3, 1], name="case"))


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("s3://data/features/run/raw.parquet", Dataset("s3://data", "features/run/raw.parquet")),
        ("/project/include/possum.csv", Dataset("file", "/project/include/possum.csv")),
        ("file:///project/include/possum.csv", Dataset("file", "/project/include/possum.csv")),
    ],
)
def test_files_and_objects_have_the_names_of_the_specification(uri: str, name: Dataset) -> None:
    assert notes.locate(uri) == name


@pytest.mark.parametrize(
    ("server", "namespace"),
    [
        ("http://127.0.0.1:5000", "mlflow://127.0.0.1:5000"),
        ("https://x.cloud.databricks.com", "mlflow://x.cloud.databricks.com"),
    ],
)
def test_a_model_is_named_after_its_registry(server: str, namespace: str) -> None:
    assert notes.locate_model("models:/Reg_RidgeCV_possums/3", server) == Dataset(namespace, "Reg_RidgeCV_possums/3")


def test_a_table_is_described_by_types_and_counts_and_no_values() -> None:
    described = notes.describe(TABLE)
    assert described.columns == {"case": "int64", "age": "float64", "sex": "str"}
    assert described.rows == 2
    assert described.missing == {"case": 0, "age": 1, "sex": 0}


def test_notes_are_taken_once() -> None:
    notes.take()
    notes.note_read("/possum.csv", TABLE)
    notes.note_written("s3://data/raw.parquet", TABLE)
    notes.note_run("8e3f")
    taken = notes.take()
    assert list(taken.inputs) == [Dataset("file", "/possum.csv")]
    assert list(taken.outputs) == [Dataset("s3://data", "raw.parquet")]
    assert taken.mlflow_run_id == "8e3f"
    assert notes.take() == notes.Notes()
