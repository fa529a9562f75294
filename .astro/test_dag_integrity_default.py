"""Run by ``astro dev parse`` in the image: every DAG file can be imported without connections and variables."""

import os

from airflow.dag_processing.dagbag import DagBag


def test_every_dag_file_is_imported() -> None:
    folder = os.environ.get("AIRFLOW__CORE__DAGS_FOLDER", "dags")
    bag = DagBag(folder)
    assert bag.import_errors == {}
    assert bag.dags
