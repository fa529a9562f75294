from typing import Any

import pytest
from airflow.sdk import DAG


@pytest.mark.parametrize(
    ("findings", "no_retraining", "tasks"),
    [
        ([], "", ["no_findings"]),
        (["a column has drifted"], "", ["alert_team", "request_retraining"]),
        (["a column has drifted"], "requested before", ["alert_team"]),
    ],
)
def test_findings_always_alert_and_request_a_retraining_unless_there_is_a_reason_not_to(
    dag: DAG, findings: list[str], no_retraining: str, tasks: list[str]
) -> None:
    decide: Any = dag.get_task("decide")

    assert decide.python_callable({"findings": findings, "no_retraining": no_retraining}) == tasks
    assert set(tasks) <= decide.downstream_task_ids
