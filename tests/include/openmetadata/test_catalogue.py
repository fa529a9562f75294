import json
from dataclasses import replace

from include.openmetadata.catalogue import describe_completion, describe_lineage
from include.problem import PROBLEM
from tests.toy import HOUSES


def test_the_projects_problem_is_described_in_json_with_text_and_doubles() -> None:
    columns = json.loads(json.dumps(describe_completion(PROBLEM)))["lineage"]["table"]["columns"]
    assert set(PROBLEM.inputs) < set(columns)
    assert columns[PROBLEM.target.name] == ["double", PROBLEM.target.label]

    columns = describe_lineage(HOUSES)["table"]["columns"]
    numbers = {"living area (m²)", "lambda", "price"}
    assert set(columns) == {"address", "split", "index"} | numbers
    assert {name for name, (type_, _) in columns.items() if type_ == "double"} == numbers


def test_a_table_in_s3_without_an_id_has_neither_folder_nor_id() -> None:
    lineage = describe_lineage(replace(HOUSES, table="s3://bucket/folder/houses.parquet", row_id=None))

    assert lineage["table"]["name"] == "houses.parquet"
    assert next(iter(lineage["table"]["columns"])) == "split"
    assert next(iter(lineage["predictions"]["columns"])) == replace(HOUSES, row_id=None).id
