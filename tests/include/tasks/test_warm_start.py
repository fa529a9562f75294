"""The champion as a candidate, in the real registry."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from include.mlflow_provider.hooks.client import MLflowClientHook
from include.model.candidates import find_candidate
from include.services import champions, storage
from include.spec import SPLIT
from include.tasks import warm_start
from include.tasks.warm_start import champion_candidate, count_new_rows

from ...toy import AREA, HOUSES

OLD, NEW = "s3://data/warm-start/features.parquet", "s3://data/warm-start/new.parquet"
NAME = "warm_start"
AddRow = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture(autouse=True)
def _toy_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_start, "PROBLEM", HOUSES)


@pytest.fixture
def model(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A registered model without versions."""
    monkeypatch.setattr(champions, "MODEL", NAME)
    client.create_registered_model(NAME)
    yield NAME
    client.delete_registered_model(NAME)


@pytest.fixture
def promote(client: MlflowClient, model: str) -> Callable[..., None]:
    """Makes a version of a run with these parameters and features the champion."""
    experiment = MLflowClientHook().create_experiment(NAME, exist_ok=True)

    def register(features_uri: str, params: dict[str, Any]) -> None:
        run = client.create_run(experiment)
        for name, value in params.items():
            client.log_param(run.info.run_id, name, value)
        tags = {"features_uri": features_uri}
        version = client.create_model_version(model, "s3://anywhere/model", run.info.run_id, tags)
        client.set_registered_model_alias(model, champions.CHAMPION_ALIAS, version.version)

    return register


def upload(table: pd.DataFrame) -> str:
    return storage.write_table(table, NEW)


def count_rows(now: pd.DataFrame, before: pd.DataFrame) -> int:
    return count_new_rows(upload(now), storage.write_table(before, OLD))


def one_more(table: pd.DataFrame, address: str = "Avenue 1") -> pd.DataFrame:
    """Return the table with another training row."""
    new = table[table[SPLIT] == "train"].head(1).assign(address=address)
    return pd.concat([table, new], ignore_index=True)


PARAMS = {"estimator": "ElasticNet", "hyper_parameters": json.dumps({"alpha": 0.3, "l1_ratio": 0.9})}


def test_with_new_rows_the_champions_hyper_parameters_are_a_candidate(
    promote: Callable[..., None], houses: pd.DataFrame
) -> None:
    storage.write_table(houses, OLD)
    promote(OLD, PARAMS)

    (candidate,) = champion_candidate(upload(one_more(houses)))

    assert candidate == {"name": "Champion", "estimator": "ElasticNet", "grid": {"alpha": [0.3], "l1_ratio": [0.9]}}
    assert find_candidate(candidate["estimator"]).build({"alpha": 0.3}).regressor.alpha == 0.3


def test_without_new_rows_there_is_no_candidate(promote: Callable[..., None], houses: pd.DataFrame) -> None:
    storage.write_table(houses, OLD)
    promote(OLD, PARAMS)

    assert champion_candidate(upload(houses)) == []


@pytest.mark.usefixtures("buckets")
def test_without_a_registered_model_there_is_no_candidate(
    houses: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(champions, "MODEL", "not_registered")

    assert champion_candidate(upload(one_more(houses))) == []


@pytest.mark.parametrize(
    ("uri", "params"),
    [("s3://data/gone/features.parquet", PARAMS), ("", PARAMS), (OLD, {"alpha": "0.3"})],
    ids=["table gone", "table unknown", "hyper-parameters unknown"],
)
def test_a_champion_that_cannot_be_repeated_is_not_a_candidate(
    promote: Callable[..., None], houses: pd.DataFrame, uri: str, params: dict[str, str]
) -> None:
    storage.write_table(houses, OLD)
    promote(uri, params)

    assert champion_candidate(upload(one_more(houses))) == []


@pytest.mark.parametrize(
    ("change", "count"),
    [
        (lambda table: table, 0),
        (one_more, 1),
        (lambda table: one_more(one_more(table), "Avenue 2"), 2),
        (lambda table: one_more(table).sample(frac=1, random_state=0), 1),
        (lambda table: one_more(table).assign(remark="sunny"), 1),
        (lambda table: with_new_cell(one_more(table), SPLIT, "holdout"), 0),
        (lambda table: with_new_cell(one_more(table), "price", None), 0),
        (lambda table: one_more(table).assign(**{AREA: lambda rows: rows[AREA] + 1e-9}), 0),
        (lambda table: one_more(table).assign(price=lambda rows: rows["price"] + 1e-9), 0),
        (lambda table: one_more(table)[lambda rows: rows["address"] != first_training(rows)], 0),
    ],
    ids=["same", "one", "two", "other order", "other column", "held out", "no target", "input", "target", "one gone"],
)
def test_only_new_training_rows_count_and_only_if_the_old_ones_have_not_changed(
    houses: pd.DataFrame, change: AddRow, count: int
) -> None:
    assert count_rows(change(houses), houses) == count


def test_a_missing_cell_that_stays_missing_is_no_change(houses: pd.DataFrame) -> None:
    table = houses.assign(index=None, **{AREA: houses[AREA].where(houses.index > 9)})

    assert count_rows(one_more(table), table) == 1


@pytest.mark.parametrize("missing", ["address", "price", AREA, SPLIT])
def test_a_table_of_another_problem_makes_no_candidate(houses: pd.DataFrame, missing: str) -> None:
    assert count_rows(one_more(houses), houses.drop(columns=missing)) == 0


def with_new_cell(table: pd.DataFrame, column: str, value: object) -> pd.DataFrame:
    """Return the table with another cell in the last row."""
    return table.assign(**{column: [*table[column].tolist()[:-1], value]})


def first_training(table: pd.DataFrame) -> str:
    return table.loc[table[SPLIT] == "train", "address"].iloc[0]
