import pandas as pd
import pytest

from include.services import lineage
from include.services.lineage import Dataset

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


@pytest.mark.parametrize("host", ["127.0.0.1:5000", "x.cloud.databricks.com"])
def test_a_models_namespace_is_its_registry(host: str) -> None:
    assert lineage.locate_model("models:/Reg_house/3", f"https://{host}") == Dataset(f"mlflow://{host}", "Reg_house/3")


def test_notes_are_taken_once_and_contain_types_and_counts_without_values() -> None:
    lineage.take()
    lineage.note_read("/houses.csv", TABLE)
    lineage.note_written("s3://data/raw.parquet", TABLE)
    lineage.note_run("8e3f")
    taken = lineage.take()
    table = lineage.Table({"id": "str", "age": "float64"}, 2, {"id": 0, "age": 1})
    assert taken.inputs == {Dataset("file", "/houses.csv"): table}
    assert taken.outputs == {Dataset("s3://data", "raw.parquet"): table}
    assert taken.mlflow_run_id == "8e3f"
    assert lineage.take() == lineage.Notes()


def test_a_table_that_the_task_wrote_itself_is_not_an_input() -> None:
    lineage.take()
    lineage.note_written("s3://data/checked.parquet", TABLE)
    lineage.note_read("s3://data/checked.parquet", TABLE)

    assert lineage.take().inputs == {}


def test_a_table_that_is_read_again_in_part_keeps_its_other_columns() -> None:
    lineage.take()
    lineage.note_read("/houses.csv", TABLE)
    lineage.note_read("/houses.csv", TABLE[["age"]])

    assert lineage.take().inputs == {Dataset("file", "/houses.csv"): lineage.describe(TABLE)}
