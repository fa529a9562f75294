from __future__ import annotations

import pandas as pd
from openlineage.client.serde import Serde

from include.data.checks import inspect
from include.platform import lineage as notes
from include.platform.openlineage import PythonTaskExtractor, to_lineage

TABLE = pd.DataFrame({"case": [1, 2], "age": [2.5, None]})


def test_notes_become_facets() -> None:
    notes.take()
    notes.note_read("s3://data/raw.parquet", TABLE)
    notes.note_written("s3://data/possum.parquet", TABLE)
    notes.note_run("8e3f")
    lineage = to_lineage(notes.take())
    (read,), (written,) = (Serde.to_dict(dataset) for dataset in lineage.inputs), map(Serde.to_dict, lineage.outputs)
    for dataset in (read, written):
        fields = {field["name"]: field["type"] for field in dataset["facets"]["schema"]["fields"]}
        assert fields == {"case": "int64", "age": "float64"}
    for metrics in (read["inputFacets"]["dataQualityMetrics"], written["facets"]["dataQualityMetrics"]):
        assert metrics["rowCount"] == 2
        assert metrics["columnMetrics"]["age"]["nullCount"] == 1
    assert written["outputFacets"]["outputStatistics"]["rowCount"] == 2
    assert lineage.run_facets["mlflow_run"].runId == "8e3f"


def test_checks_become_assertions_on_what_was_read() -> None:
    notes.take()
    notes.note_read("s3://data/raw.parquet", TABLE)
    notes.note_checks(inspect(TABLE))
    (read,) = to_lineage(notes.take()).inputs
    found = {(check.column, check.assertion): check for check in read.inputFacets["dataQualityAssertions"].assertions}
    assert found["case", "is there"].success
    assert not found["sex", "is there"].success
    assert found["sex", "is there"].severity == "error"
    assert found[None, "no row is there twice"].severity == "warn"


def test_a_task_begins_without_the_notes_of_another() -> None:
    notes.note_read("/possum.csv", TABLE)
    extractor = PythonTaskExtractor(None)
    extractor.extract()
    assert not extractor.extract_on_complete(None).inputs
