import pandas as pd
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from include.services import tracking, tuning_runs

RIDGE = {"name": "RidgeCV", "estimator": "RidgeCV", "grid": {"alphas": [0.1, 1]}}
SUMMARY = pd.DataFrame(
    {
        "candidate": "RidgeCV",
        "estimator": "RidgeCV",
        "hyper_parameters": ['{"alphas": 1}', '{"alphas": 0.1}'],
        "cv_rmse_mean": [1.2, 1.3],
        "cv_rmse_se": [0.1, 0.2],
    }
)


@pytest.fixture
def tuning_id(experiment_id: str) -> str:
    return tuning_runs.start_tuning(experiment_id)


def below(client: MlflowClient, tuning_id: str) -> list[Run]:
    experiment_id = client.get_run(tuning_id).info.experiment_id
    return client.search_runs([experiment_id], f"tags.`mlflow.parentRunId` = '{tuning_id}'")


def test_a_tuning_runs_until_it_is_ended(client: MlflowClient, tuning_id: str) -> None:
    run = client.get_run(tuning_id)

    assert (run.info.run_name, run.info.status) == ("Tuning", "RUNNING")
    assert run.data.tags["code_version"] == tracking.code_version()


def test_the_run_of_a_candidate_is_below_that_of_the_tuning_and_has_its_best_setting(
    client: MlflowClient, tuning_id: str
) -> None:
    with tuning_runs.candidate_run(RIDGE, tuning_id):
        tuning_runs.log_candidate(SUMMARY)

    (run,) = below(client, tuning_id)
    assert (run.info.run_name, run.info.status) == ("RidgeCV", "FINISHED")
    assert run.data.metrics == {"cv_rmse_mean": 1.2, "cv_rmse_se": 0.1}
    assert run.data.params == {
        "estimator": "RidgeCV",
        "grid": '{"alphas": [0.1, 1]}',
        "hyper_parameters": '{"alphas": 1}',
        "settings": "2",
    }


def test_the_run_of_a_candidate_that_fails_has_failed(client: MlflowClient, tuning_id: str) -> None:
    with pytest.raises(ZeroDivisionError), tuning_runs.candidate_run(RIDGE, tuning_id):
        1 / 0  # noqa: B018

    assert [run.info.status for run in below(client, tuning_id)] == ["FAILED"]
    assert client.get_run(tuning_id).info.status == "RUNNING"


def test_the_choice_ends_the_tuning_with_a_table_of_all_settings(client: MlflowClient, tuning_id: str) -> None:
    tuning_runs.log_choice(SUMMARY, {"name": "RidgeCV", "reason": "the simplest"}, tuning_id)

    run = client.get_run(tuning_id)
    assert run.info.status == "FINISHED"
    assert (run.data.tags["candidate"], run.data.tags["selection"]) == ("RidgeCV", "the simplest")
    pd.testing.assert_frame_equal(client.load_table(run.info.experiment_id, "candidates.json", [tuning_id]), SUMMARY)


def test_runs_that_were_killed_are_ended_and_those_that_had_ended_stay(client: MlflowClient, tuning_id: str) -> None:
    with tuning_runs.candidate_run(RIDGE, tuning_id):
        pass
    experiment_id = client.get_run(tuning_id).info.experiment_id
    client.create_run(experiment_id, tags={"mlflow.parentRunId": tuning_id}, run_name="killed")
    other = tuning_runs.start_tuning(experiment_id)

    tuning_runs.end_tuning(tuning_id)

    assert client.get_run(tuning_id).info.status == "KILLED"
    assert {run.info.run_name: run.info.status for run in below(client, tuning_id)} == {
        "RidgeCV": "FINISHED",
        "killed": "KILLED",
    }
    assert client.get_run(other).info.status == "RUNNING"


def test_a_tuning_that_has_ended_stays_as_it_is(client: MlflowClient, tuning_id: str) -> None:
    tuning_runs.log_choice(SUMMARY, {"name": "RidgeCV", "reason": "the simplest"}, tuning_id)

    tuning_runs.end_tuning(tuning_id)

    assert client.get_run(tuning_id).info.status == "FINISHED"
