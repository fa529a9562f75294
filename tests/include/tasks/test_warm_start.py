from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from include import config
from include.data.table import select_training
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.model.candidates import find_candidate
from include.platform import storage
from include.tasks import warm_start
from include.tasks.warm_start import champion_candidate, count_new_animals

OLD = f"s3://{config.DATA_BUCKET}/warm-start/features.parquet"
AddRow = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture
def model(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A registered model of the test's own, without versions."""
    monkeypatch.setattr(config, "REGISTERED_MODEL", "warm_start")
    client.create_registered_model("warm_start")
    yield "warm_start"
    client.delete_registered_model("warm_start")


@pytest.fixture
def crown(client: MlflowClient, model: str) -> Callable[..., None]:
    """Makes a version of a run with these parameters and features the champion."""

    experiment = MLflowClientHook().create_experiment("warm_start", exist_ok=True)

    def register(features_uri: str, params: dict[str, Any]) -> None:
        run = client.create_run(experiment)
        for name, value in params.items():
            client.log_param(run.info.run_id, name, value)
        tags = {"features_uri": features_uri}
        version = client.create_model_version(model, "s3://anywhere/model", run.info.run_id, tags)
        client.set_registered_model_alias(model, config.CHAMPION_ALIAS, version.version)

    return register


def one_more(table: pd.DataFrame, case: int = 1001) -> pd.DataFrame:
    """The table with a training animal more."""
    new = table[table["split"] == "train"].head(1).assign(case=case)
    return pd.concat([table, new], ignore_index=True)


PARAMS = {"estimator": "ElasticNet", "hyper_parameters": json.dumps({"alpha": 0.3, "l1_ratio": 0.9})}


def test_with_new_animals_the_champions_hyper_parameters_are_a_candidate(
    crown: Callable[..., None], table: pd.DataFrame
) -> None:
    storage.write_table(table, OLD)
    crown(OLD, PARAMS)

    (candidate,) = champion_candidate(one_more(table))

    assert candidate == {"name": "Champion", "estimator": "ElasticNet", "grid": {"alpha": [0.3], "l1_ratio": [0.9]}}
    assert find_candidate(candidate["estimator"]).build({"alpha": 0.3}).alpha == 0.3


def test_without_new_animals_it_is_none(crown: Callable[..., None], table: pd.DataFrame) -> None:
    storage.write_table(table, OLD)
    crown(OLD, PARAMS)

    assert champion_candidate(table) == []


@pytest.mark.usefixtures("model")
def test_without_a_champion_it_is_none(table: pd.DataFrame) -> None:
    assert warm_start.champion_candidate(one_more(table)) == []


@pytest.mark.usefixtures("buckets")
def test_without_a_registered_model_it_is_none(table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "REGISTERED_MODEL", "not_registered")

    assert champion_candidate(one_more(table)) == []


@pytest.mark.parametrize(
    ("uri", "params"),
    [("s3://data/gone/features.parquet", PARAMS), ("", PARAMS), (OLD, {"alpha": "0.3"})],
    ids=["table gone", "table unknown", "hyper-parameters unknown"],
)
def test_a_champion_that_cannot_be_repeated_is_none(
    crown: Callable[..., None], table: pd.DataFrame, uri: str, params: dict[str, str]
) -> None:
    storage.write_table(table, OLD)
    crown(uri, params)

    assert champion_candidate(one_more(table)) == []


@pytest.mark.parametrize(
    ("change", "count"),
    [
        (lambda table: table, 0),
        (one_more, 1),
        (lambda table: one_more(one_more(table), 1002), 2),
        (lambda table: one_more(table).sample(frac=1, random_state=0), 1),
        (
            lambda table: one_more(table).assign(
                split=lambda rows: rows["split"].where(rows["case"] < 1001, "holdout")
            ),
            0,
        ),
        (lambda table: one_more(table).assign(taill=lambda rows: rows["taill"].where(rows["case"] < 1001)), 0),
        (lambda table: one_more(table).assign(age=lambda rows: rows["age"].fillna(3)), 0),
        (lambda table: one_more(table)[lambda rows: rows["case"] != 1], 0),
    ],
    ids=["same", "one", "two", "other order", "held out", "no tail", "a value changed", "one gone"],
)
def test_only_new_training_animals_count_and_only_if_the_old_ones_are_as_they_were(
    table: pd.DataFrame, change: AddRow, count: int
) -> None:
    assert count_new_animals(change(table), select_training(table)) == count
