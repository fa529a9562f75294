from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from airflow.sdk.exceptions import AirflowSkipException

from include import config
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.tasks import monitor as steps


@pytest.mark.parametrize("model", [None, {}, {"aliases": [{"alias": "challenger", "version": "4"}]}])
def test_without_a_champion_there_is_nothing_to_look_after(
    model: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MLflowClientHook, "get_registered_model", lambda self, name: model)

    with pytest.raises(AirflowSkipException, match="has no champion yet"):
        steps.find_champion()


def test_a_champion_without_its_table_cannot_be_looked_after(monkeypatch: pytest.MonkeyPatch) -> None:
    model = {"aliases": [{"alias": "champion", "version": "3"}]}
    monkeypatch.setattr(MLflowClientHook, "get_registered_model", lambda self, name: model)
    monkeypatch.setattr(MLflowClientHook, "get_model_version", lambda self, name, number: {"version": "3"})

    with pytest.raises(AirflowSkipException, match="version 3 is champion but has no tag features_uri"):
        steps.find_champion()


def test_the_champion_leads_to_the_animals_that_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    version = {"version": "3", "run_id": "r", "tags": [{"key": "features_uri", "value": "s3://data/f.parquet"}]}
    model = {"aliases": [{"alias": "challenger", "version": "4"}, {"alias": "champion", "version": "3"}]}
    monkeypatch.setattr(MLflowClientHook, "get_registered_model", lambda self, name: model)
    monkeypatch.setattr(MLflowClientHook, "get_model_version", lambda self, name, number: {"3": version}[number])

    assert steps.find_champion() == {"version": "3", "run_id": "r", "features_uri": "s3://data/f.parquet"}


@pytest.mark.parametrize("as_frame", [True, False])
def test_errors_are_predicted_minus_true_of_holdout_and_recent_animals(possums: pd.DataFrame, as_frame: bool) -> None:
    def predict(rows: pd.DataFrame) -> Any:
        assert rows.columns.tolist() == config.RAW
        lengths = np.full(len(rows), 40.0)
        return pd.DataFrame({"prediction": lengths, "lower": 0.0}, index=rows.index) if as_frame else lengths

    labelled = possums.head(2).assign(taill=[39.0, 42.0])

    errors = steps.measure_errors(SimpleNamespace(predict=predict), possums, labelled)

    holdout = possums[possums["split"] == "holdout"]
    assert errors.groupby("animals").size().to_dict() == {"holdout": len(holdout), "recent": 2}
    assert errors.loc[errors["animals"] == "recent", "error"].tolist() == [1, -2]
    np.testing.assert_allclose(errors.loc[errors["animals"] == "holdout", "error"], 40 - holdout["taill"])


def test_without_any_measurement_there_is_no_report() -> None:
    with pytest.raises(AirflowSkipException, match="nothing to report"):
        steps.publish_report({}, None, None, {}, "manual__1", [])
