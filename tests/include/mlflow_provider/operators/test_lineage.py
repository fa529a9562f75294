import pytest

from include.mlflow_provider.operators.pyfunc import ModelLoadAndPredictOperator


@pytest.fixture
def lineage_of(connect):
    def collect(**arguments):
        connect("scripted", host="mlflow", port=5000)
        operator = ModelLoadAndPredictOperator(
            task_id="task", mlflow_conn_id="scripted", model_uri="models:/lengths@champion", **arguments
        )
        operator._version_uri = "models:/lengths/3"  # as found by execute
        found = operator.get_openlineage_facets_on_complete(None)
        return [[(dataset.namespace, dataset.name) for dataset in part] for part in (found.inputs, found.outputs)]

    return collect


def test_a_prediction_reads_the_version_and_an_object_and_writes_another(lineage_of):
    inputs, outputs = lineage_of(data="s3://mine@bucket/a/in.parquet", output_uri="s3://bucket/out.parquet")
    assert inputs == [("http://mlflow:5000", "models:/lengths/3"), ("s3://bucket", "a/in.parquet")]
    assert outputs == [("s3://bucket", "out.parquet")]


def test_rows_that_come_from_a_task_are_no_dataset(lineage_of):
    assert lineage_of(data=[{"x": 1}]) == [[("http://mlflow:5000", "models:/lengths/3")], []]
