from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
from airflow.sdk.exceptions import AirflowFailException
from mlflow.tracking import MlflowClient

from include import config
from include.data.table import read_possums
from include.platform import storage, tuning_runs
from include.platform.assets import scratch_uri
from include.tasks import train as steps

RUN = "manual__unit"
RIDGE = {"name": "RidgeCV", "estimator": "RidgeCV", "grid": {"alphas": [[1.0]]}}
BROKEN = {"name": "ElasticNet", "estimator": "ElasticNet", "grid": {"alpha": [-1]}}


@pytest.fixture(scope="module")
def features_uri(buckets: None, with_features: Callable[[pd.DataFrame], pd.DataFrame]) -> str:
    table = with_features(read_possums(config.POSSUM_CSV))
    return storage.write_table(table, f"s3://{config.DATA_BUCKET}/unit-training/features.parquet")


@pytest.fixture(scope="module")
def experiment_id(client: MlflowClient) -> str:
    return client.create_experiment("training steps")


def left() -> list[str]:
    return storage.list_objects(scratch_uri(RUN))


def test_the_choice_is_among_those_that_were_scored_and_nothing_of_it_stays(
    features_uri: str, experiment_id: str, client: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    scratch = steps.create_scratch(features_uri, experiment_id, RUN)
    steps.tune_candidate(RIDGE, scratch)
    with pytest.raises(AirflowFailException, match=r"ElasticNet with .* cannot be fitted"):
        steps.tune_candidate(BROKEN, scratch)
    assert left() == [f"{scratch['uri']}/folds.parquet", f"{scratch['uri']}/scores/RidgeCV.parquet"]

    selected = steps.select_candidate([RIDGE, BROKEN], scratch)
    steps.delete_scratch(scratch)

    assert selected["name"] == "RidgeCV"
    assert "Failed and left out: ElasticNet" in caplog.text
    assert left() == []
    assert client.get_run(scratch["tuning_id"]).info.status == "FINISHED"


def test_a_tuning_that_breaks_off_is_cleaned_up_too(
    features_uri: str, experiment_id: str, client: MlflowClient
) -> None:
    scratch = steps.create_scratch(features_uri, experiment_id, RUN)

    steps.delete_scratch(scratch)

    assert left() == []
    assert client.get_run(scratch["tuning_id"]).info.status == "KILLED"


def test_a_setup_that_fails_leaves_nothing_behind(
    features_uri: str, experiment_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning_runs, "start_tuning", lambda experiment_id: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        steps.create_scratch(features_uri, experiment_id, RUN)

    assert left() == []
