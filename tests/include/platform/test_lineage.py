from __future__ import annotations

import pandas as pd
import pytest

from include.platform import lineage
from include.platform.lineage import Dataset

TABLE = pd.DataFrame({"id": ["3", "1"], "age": [2.5, None]})


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("s3://data/features/run/raw.parquet", Dataset("s3://data", "features/run/raw.parquet")),
        ("/project/include/houses.csv", Dataset("file", "/project/include/houses.csv")),
        ("file:///project/include/houses.csv", Dataset("file", "/project/include/houses.csv")),
    ],
)
def test_files_and_objects_have_the_names_of_the_specification(uri: str, name: Dataset) -> None:
    assert lineage.locate(uri) == name


@pytest.mark.parametrize(
    ("server", "namespace"),
    [
        ("http://127.0.0.1:5000", "mlflow://127.0.0.1:5000"),
        ("https://x.cloud.databricks.com", "mlflow://x.cloud.databricks.com"),
    ],
)
def test_a_models_namespace_is_its_registry(server: str, namespace: str) -> None:
    assert lineage.locate_model("models:/Reg_house/3", server) == Dataset(namespace, "Reg_house/3")


def test_a_table_is_described_by_types_and_counts_without_values() -> None:
    described = lineage.describe(TABLE)
    assert described.columns == {"id": "str", "age": "float64"}
    assert described.rows == 2
    assert described.missing == {"id": 0, "age": 1}


def test_notes_are_taken_once() -> None:
    lineage.take()
    lineage.note_read("/houses.csv", TABLE)
    lineage.note_written("s3://data/raw.parquet", TABLE)
    lineage.note_run("8e3f")
    taken = lineage.take()
    assert list(taken.inputs) == [Dataset("file", "/houses.csv")]
    assert list(taken.outputs) == [Dataset("s3://data", "raw.parquet")]
    assert taken.mlflow_run_id == "8e3f"
    assert lineage.take() == lineage.Notes()
