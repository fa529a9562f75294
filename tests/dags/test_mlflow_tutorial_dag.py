import re
from pathlib import Path
from typing import Any

from airflow.sdk import DAG

from include.problem import PROBLEM
from include.settings import XCOM_BUCKET


def test_the_description_names_every_task_and_an_existing_page(dag: DAG) -> None:
    text = dag.doc_md or ""
    assert [task.task_id for task in dag.tasks if f"`{task.task_id}`" not in text] == []
    (page,) = re.findall(r"`(docs/\S+\.md)`", text)
    assert (Path(dag.fileloc).parents[1] / page).exists()


def test_it_can_be_copied_with_the_provider_and_the_names_of_two_buckets(dag: DAG) -> None:
    modules = set(re.findall(r"(?:from|import) (include\S*)", Path(dag.fileloc).read_text()))
    others = {module for module in modules if not module.startswith("include.mlflow_provider.")}
    task: Any = dag.get_task("create_buckets_if_not_exists")

    assert modules - others
    assert others == {"include.problem", "include.settings"}
    assert task.expand_input.value == {"bucket_name": [PROBLEM.artifact_bucket, XCOM_BUCKET]}
