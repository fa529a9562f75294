from __future__ import annotations

from airflow.sdk import DAG

from include.settings import RETENTION


def test_every_kind_has_a_task_of_its_own(dag: DAG) -> None:
    assert dag.get_task("delete_expired").op_kwargs_expand_input.value == {"kind": [*RETENTION]}


def test_it_deletes_unless_the_form_says_otherwise(dag: DAG) -> None:
    assert dag.params.validate() == {"dry_run": False}
