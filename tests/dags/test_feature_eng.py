from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from include import config
from include.data.checks import Inspection
from include.model import training as model
from include.platform import storage, tracking
from include.platform.assets import FEATURES, RETRAINING


def test_the_graph(dag: DAG) -> None:
    experiment = "prepare_mlflow_experiment"

    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        "start": {"create_buckets_if_not_exists"},
        "create_buckets_if_not_exists": {f"{experiment}.list_existing_experiments", "extract_data"},
        f"{experiment}.list_existing_experiments": {f"{experiment}.check_if_experiment_exists"},
        f"{experiment}.check_if_experiment_exists": {
            f"{experiment}.create_experiment",
            f"{experiment}.experiment_exists",
        },
        f"{experiment}.create_experiment": {f"{experiment}.get_current_experiment_id"},
        f"{experiment}.experiment_exists": {f"{experiment}.get_current_experiment_id"},
        f"{experiment}.get_current_experiment_id": {"check_data", "build_features"},
        "extract_data": {"check_data"},
        "check_data": {"build_features", "save_data_to_s3"},
        "build_features": {"save_data_to_s3"},
        "save_data_to_s3": {"end"},
        "end": set(),
    }


def test_it_runs_when_someone_triggers_it_or_a_retraining_is_asked_for(dag: DAG) -> None:
    assert dag.schedule == [RETRAINING]


def test_the_task_that_saves_the_features_announces_them(dag: DAG) -> None:
    assert {task.task_id: task.outlets for task in dag.tasks if task.outlets} == {"save_data_to_s3": [FEATURES]}


def test_all_three_buckets_are_made(dag: DAG) -> None:
    task: Any = dag.get_task("create_buckets_if_not_exists")

    assert task.expand_input.value == {"bucket_name": ["data", "mlflowdatapossums", "localxcom"]}
    assert task.partial_kwargs["aws_conn_id"] == "aws_default"


@pytest.mark.parametrize(
    ("names", "branch"),
    [
        (["Default", "Possum_tails"], "experiment_exists"),
        (["Default"], "create_experiment"),
        (["Possum_tails_2", "possum_tails"], "create_experiment"),
        ([], "create_experiment"),
    ],
)
def test_the_experiment_is_created_unless_it_exists(dag: DAG, names: list[str], branch: str) -> None:
    task: Any = dag.get_task("prepare_mlflow_experiment.check_if_experiment_exists")

    assert task.python_callable(names) == f"prepare_mlflow_experiment.{branch}"


def test_the_experiments_id_is_fetched_on_either_branch(dag: DAG) -> None:
    task: Any = dag.get_task("prepare_mlflow_experiment.get_current_experiment_id")

    assert task.trigger_rule == "none_failed_min_one_success"


@pytest.fixture
def run(dag: DAG, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Runs the tasks that make features, with a dict as object storage and lists as MLflow."""
    objects: dict[str, pd.DataFrame] = {}
    logged: list[pd.DataFrame] = []
    inspections: list[Inspection] = []
    event = SimpleNamespace(extra={})
    files: dict[str, bytes] = {}
    monkeypatch.setattr(storage, "read_table", objects.__getitem__)
    monkeypatch.setattr(storage, "read_bytes", files.__getitem__)
    monkeypatch.setattr(storage, "list_objects", lambda folder: [uri for uri in files if uri.startswith(folder)])
    monkeypatch.setattr(storage, "write_table", lambda table, uri: objects.update({uri: table}) or uri)
    monkeypatch.setattr(tracking, "log_transformer", lambda transformer, rows, experiment_id: logged.append(rows))
    monkeypatch.setattr(tracking, "log_quality", lambda inspection, experiment_id: inspections.append(inspection))

    def call(task_id: str, *arguments: str, **context: Any) -> str:
        return dag.get_task(task_id).python_callable(*arguments, run_id="manual__1", **context)

    def publish() -> pd.DataFrame:
        possums = call("check_data", call("extract_data"), "7")
        return objects[
            call("save_data_to_s3", possums, call("build_features", possums, "7"), outlet_events={FEATURES: event})
        ]

    return SimpleNamespace(
        publish=publish, objects=objects, files=files, logged=logged, inspections=inspections, event=event
    )


@pytest.fixture
def edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Makes the DAG read a copy of the possum table in which a text is replaced where it first occurs."""

    def replace(old: str, new: str) -> Path:
        table = tmp_path / "possum.csv"
        table.write_text(config.POSSUM_CSV.read_text().replace(old, new, 1))
        monkeypatch.setattr(config, "POSSUM_CSV", table)
        return table

    return replace


def test_a_bad_table_fails_at_once_with_the_fault_and_without_another_try(
    run: SimpleNamespace, edit: Callable[[str, str], Path]
) -> None:
    table = edit("94.1", "long")
    with pytest.raises(AirflowFailException, match=rf"{table} [\s\S]*row 2, column hdlngth: long is not a number"):
        run.publish()
    assert run.inspections[0].faults("halting") == ["row 2, column hdlngth: long is not a number"]
    assert set(run.objects) == {"s3://data/features/manual__1/raw.parquet"}


def test_a_table_that_cannot_be_read_fails_at_once(run: SimpleNamespace, edit: Callable[[str, str], Path]) -> None:
    edit(config.POSSUM_CSV.read_text(), "")
    with pytest.raises(AirflowFailException, match="is no table of comma-separated values"):
        run.publish()


def test_an_unusual_table_goes_on_with_a_warning(
    run: SimpleNamespace, edit: Callable[[str, str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    edit("94.1", "120.5")
    assert len(run.publish()) == 104
    (warned,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "row 2, column hdlngth: 120.5 is rarely outside 74 to 114 mm" in warned


def test_the_announced_table_holds_identity_measurements_target_split_and_features(run: SimpleNamespace) -> None:
    table = run.publish()

    assert run.event.extra == {"uri": "s3://data/features/manual__1/features.parquet"}
    assert run.objects[run.event.extra["uri"]] is table
    assert len(table) == 104
    assert {"case", "taill", "split", *config.RAW} == {name for name in table if not name.startswith("feature_")}
    assert len(table.filter(like="feature_").columns) == 20


def test_animals_whose_tails_were_measured_since_take_part(run: SimpleNamespace) -> None:
    new = pd.read_csv(config.POSSUM_CSV).head(1).assign(case=1001, hdlngth=90.25)
    run.files["s3://data/labelled/new.csv"] = new.to_csv(index=False).encode()
    run.files["s3://data/labelled/notes.txt"] = b"by hand"

    assert run.publish()["case"].tolist()[-1] == 1001


def test_nothing_is_fitted_on_a_holdout_animal(run: SimpleNamespace) -> None:
    table = run.publish()

    training = table[table["split"] == "train"]
    assert run.logged[0].index.tolist() == training.index.tolist()
    assert training.filter(like="feature_").mean().abs().max() < 1e-9


def test_an_animal_without_a_tail_length_does_not_stop_training(
    run: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    possums = pd.read_csv(config.POSSUM_CSV)
    possums.loc[possums["case"].isin([1, 8]), "taill"] = None
    possums.to_csv(tmp_path / "possum.csv", index=False)
    monkeypatch.setattr(config, "POSSUM_CSV", tmp_path / "possum.csv")

    _, scores = model.train_model(run.publish(), {"alphas": [1.0]})

    assert scores["holdout_rmse"] < 2
