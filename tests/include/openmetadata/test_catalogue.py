from __future__ import annotations

import json
from dataclasses import replace

from include.openmetadata.catalogue import describe_completion, describe_lineage
from include.problem import PROBLEM
from tests.toy import HOUSES


def test_the_projects_problem_is_described_in_json() -> None:
    lineage = json.loads(json.dumps(describe_completion(PROBLEM)))["lineage"]

    assert set(PROBLEM.inputs) < set(lineage["table"]["columns"])
    assert lineage["table"]["columns"][PROBLEM.target.name] == ["double", PROBLEM.target.label]


def test_categories_and_ids_are_text_and_numbers_are_doubles() -> None:
    columns = describe_lineage(HOUSES)["table"]["columns"]

    assert {name: type_ for name, (type_, _) in columns.items()} == {
        "address": "string",
        "split": "string",
        "index": "string",
        "living area (m²)": "double",
        "lambda": "double",
        "price": "double",
    }


def test_a_table_in_s3_without_an_id_has_neither_folder_nor_id() -> None:
    lineage = describe_lineage(replace(HOUSES, table="s3://bucket/folder/houses.parquet", row_id=None))

    assert lineage["table"]["name"] == "houses.parquet"
    assert next(iter(lineage["table"]["columns"])) == "split"
    assert next(iter(lineage["predictions"]["columns"])) == replace(HOUSES, row_id=None).id
