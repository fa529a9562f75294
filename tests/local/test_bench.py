from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag

from local.bench import write_floor
from local.demo import DAGS
from local.settings import PROJECT


@pytest.mark.parametrize("dag_id", DAGS)
def test_the_floor_has_the_tasks_edges_and_assets_of_the_pipeline(dag_id: str, tmp_path: Path) -> None:
    real = DagBag(PROJECT / "dags" / f"{dag_id}.py").dags[dag_id]
    ran = [{"task_id": name, "map_index": copy, "state": "success"} for name in real.task_ids for copy in (-1, 0, 1)]

    write_floor(tmp_path, {dag_id: ran})
    bag = DagBag(tmp_path / f"floor_{dag_id}.py")

    assert bag.import_errors == {}
    floor = bag.dags[f"floor_{dag_id}"]
    edges = {task.task_id: task.downstream_task_ids for task in real.tasks}
    assert {task.task_id: task.downstream_task_ids for task in floor.tasks} == edges
    assert [asset.name for asset in floor.schedule or []] == [f"floor_{asset.name}" for asset in real.schedule or []]
