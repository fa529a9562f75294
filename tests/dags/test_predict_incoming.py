from types import SimpleNamespace

from airflow.sdk import DAG


def test_files_are_settled_whatever_became_of_them(dag: DAG) -> None:
    settle = dag.get_task("settle_files")

    assert settle.trigger_rule == "all_done"
    assert {"predict_file.save_predictions", "claim_files", "choose_model"} <= settle.upstream_task_ids


def test_airflow_shows_each_mapped_task_by_the_name_of_its_file(dag: DAG) -> None:
    rendered = SimpleNamespace(op_kwargs={"upload": "s3://data/processing/a.csv"}, data="s3://data/r/a.csv.parquet")

    names = {
        dag.get_template_env().from_string(task.map_index_template).render(task=rendered)
        for task in dag.tasks
        if task.task_id.startswith("predict_file.")
    }

    assert names == {"a.csv"}
