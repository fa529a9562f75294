from dataclasses import replace

from include.openmetadata.catalogue import describe_lineage
from tests.toy import HOUSES


def test_a_table_in_s3_without_an_id_has_neither_folder_nor_id() -> None:
    lineage = describe_lineage(replace(HOUSES, table="s3://bucket/folder/houses.parquet", row_id=None))

    assert lineage["table"]["name"] == "houses.parquet"
    assert next(iter(lineage["table"]["columns"])) == "split"
    assert next(iter(lineage["predictions"]["columns"])) == replace(HOUSES, row_id=None).id
