import pandas as pd
from openlineage.client.serde import Serde

from include.data.checks import Inspection
from include.data.schema import Result
from include.services import lineage
from include.services.openlineage import PythonTaskExtractor, to_lineage

TABLE = pd.DataFrame({"id": ["1", "2"], "age": [2.5, None]})


def test_notes_become_facets() -> None:
    lineage.take()
    lineage.note_read("s3://data/raw.parquet", TABLE)
    lineage.note_written("s3://data/table.parquet", TABLE)
    lineage.note_run("8e3f")
    event = to_lineage(lineage.take())
    read, written = (Serde.to_dict(dataset) for dataset in (*event.inputs, *event.outputs))
    for dataset in (read, written):
        fields = {field["name"]: field["type"] for field in dataset["facets"]["schema"]["fields"]}
        assert fields == {"id": "str", "age": "float64"}
        metrics = dataset["facets"]["dataQualityMetrics"]
        assert metrics["rowCount"] == 2
        assert metrics["columnMetrics"]["age"]["nullCount"] == 1
    assert written["outputFacets"]["outputStatistics"]["rowCount"] == 2
    assert event.run_facets["mlflow_run"].runId == "8e3f"


def test_checks_become_assertions_on_the_table_that_was_read() -> None:
    results = (
        Result("error", "age", "is possible"),
        Result("error", "sex", "exists", ("column sex is missing",), 1),
        Result("warning", "age", "is usual", (), 0),
        Result("repair", "all", "no row is repeated", ("row 3",), 1),
    )
    lineage.take()
    lineage.note_read("s3://data/raw.parquet", TABLE)
    lineage.note_checks(Inspection(TABLE, results, len(TABLE)))
    (read,) = to_lineage(lineage.take()).inputs
    found = [
        (check.column, check.assertion, check.success, check.severity)
        for check in read.inputFacets["dataQualityAssertions"].assertions
    ]
    assert found == [
        ("age", "is possible", True, "error"),
        ("sex", "exists", False, "error"),
        ("age", "is usual", True, "warn"),
        (None, "no row is repeated", False, "warn"),
    ]


def test_a_task_starts_without_the_notes_of_another() -> None:
    lineage.note_read("/houses.csv", TABLE)
    extractor = PythonTaskExtractor(None)
    extractor.extract()
    assert not extractor.extract_on_complete(None).inputs
