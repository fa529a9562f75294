from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk.exceptions import AirflowSkipException

from include import config, storage
from include.assets import LABELLED, PREDICTIONS
from include.monitoring import steps
from include.monitoring.drift import measure_decay, measure_drift
from include.monitoring.steps import Look


@pytest.fixture
def objects(buckets: None) -> Iterator[None]:
    """An empty place for predictions and labels in the real S3."""

    def empty() -> None:
        hook = S3Hook(config.AWS_CONN_ID)
        for folder in ("predictions/unit-", "predictions/incoming/unit-", "labelled/unit-"):
            if keys := hook.list_keys(config.DATA_BUCKET, prefix=folder):
                hook.delete_objects(config.DATA_BUCKET, keys)

    empty()
    yield
    empty()


def new_animals(possums: pd.DataFrame, length: float) -> pd.DataFrame:
    return possums.head(3).assign(hdlngth=[length, length + 0.1, length + 0.2])


def lengths(rows: pd.DataFrame) -> list[float]:
    """Head lengths of the animals that these tests made; other tests may have left some too."""
    return sorted(length for length in rows["hdlngth"] if length < 20)


@pytest.mark.usefixtures("objects")
def test_recent_inputs_are_those_of_predict_and_of_incoming_files_without_known_animals(possums: pd.DataFrame) -> None:
    folder = PREDICTIONS.uri.rstrip("/")
    both = pd.concat([possums, new_animals(possums, 10)])
    storage.write_table(both[[config.CASE, *config.RAW]], f"{folder}/unit-1/possums.parquet")
    storage.write_table(new_animals(possums, 10)[config.RAW], f"{folder}/unit-2/possums.parquet")
    storage.write_table(new_animals(possums, 15).assign(prediction=36.0), f"{folder}/incoming/unit-3.csv")
    storage.write_table(new_animals(possums, 18), f"{folder}/unit-1/possum_tail_length.csv")

    recent = steps.read_recent_inputs(possums, days=1)

    assert lengths(recent) == [10, 10.1, 10.2, 15, 15.1, 15.2]
    assert recent.columns.tolist() == config.RAW


@pytest.mark.usefixtures("objects")
def test_what_is_older_than_asked_for_is_not_recent(possums: pd.DataFrame) -> None:
    uri = f"{PREDICTIONS.uri.rstrip('/')}/incoming/unit-3.csv"
    storage.write_table(new_animals(possums, 10), uri)

    assert steps.read_recent_inputs(possums, days=0).empty


@pytest.mark.usefixtures("objects")
def test_labelled_animals_come_with_their_tails(possums: pd.DataFrame) -> None:
    animals = new_animals(possums, 10).assign(taill=[36.0, np.nan, 38.0])
    storage.write_table(animals, f"{LABELLED.uri.rstrip('/')}/unit-1.csv")

    labelled = steps.read_labelled(possums, days=1)

    assert lengths(labelled) == [10, 10.2]
    assert labelled.columns.tolist() == [*config.RAW, "taill"]


@pytest.mark.usefixtures("objects")
def test_a_file_without_a_column_is_named(possums: pd.DataFrame) -> None:
    uri = storage.write_table(possums.drop(columns="eye"), f"{LABELLED.uri.rstrip('/')}/unit-1.csv")

    with pytest.raises(ValueError, match=f"{uri} has no column eye: correct it"):
        steps.read_labelled(possums, days=1)


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


@pytest.mark.parametrize("model", [None, {}, {"aliases": [{"alias": "challenger", "version": "4"}]}])
def test_there_may_be_no_champion(model: dict[str, Any] | None) -> None:
    hook: Any = SimpleNamespace(get_registered_model=lambda name: model)

    assert steps.find_champion(hook) is None


def test_the_champion_leads_to_the_animals_that_it_knows() -> None:
    version = {"version": "3", "run_id": "r", "tags": [{"key": "features_uri", "value": "s3://data/f.parquet"}]}
    model = {"aliases": [{"alias": "challenger", "version": "4"}, {"alias": "champion", "version": "3"}]}
    hook: Any = SimpleNamespace(
        get_registered_model=lambda name: model, get_model_version=lambda name, number: {"3": version}[number]
    )

    assert steps.find_champion(hook) == {"version": "3", "run_id": "r", "features_uri": "s3://data/f.parquet"}


@pytest.fixture
def look(possums: pd.DataFrame) -> Look:
    recent = possums.assign(hdlngth=possums["hdlngth"] + 4)
    drift = measure_drift(possums, recent, alpha=0.02, least_psi=0.25)
    errors = pd.DataFrame({"error": [1.0, -1.0, 1.1] * 20, "animals": "holdout"})
    decay = measure_decay(errors["error"], 2 * errors["error"], confidence=0.99, margin=0.1)
    return Look(possums, recent, drift, pd.concat([errors, errors.assign(animals="recent")]), decay)


def test_findings_are_sentences_with_their_numbers(look: Look) -> None:
    drift, decay = look.findings()

    assert drift.startswith("hdlngth has drifted: PSI ")
    assert decay.startswith("the error has grown: RMSE 2.07 cm, 2.00 times the holdout error (")


def test_every_number_becomes_a_metric(look: Look) -> None:
    metrics = look.metrics()

    assert {f"{name}_{column}" for name in ("psi", "p", "statistic", "psi_by_chance") for column in config.RAW} < set(
        metrics
    )
    assert (metrics["recent_animals"], metrics["findings"], metrics["decayed"]) == (104, 2, 1)
    assert all(np.isfinite(value) for value in metrics.values())


def test_what_was_not_measured_is_no_finding(possums: pd.DataFrame) -> None:
    nothing = pd.DataFrame()

    assert Look(possums, nothing, nothing, nothing, {}).findings() == []


def test_too_few_animals_skip_the_task_and_say_how_many(possums: pd.DataFrame) -> None:
    steps.check_enough(possums, 104)

    with pytest.raises(AirflowSkipException, match="104 new animals are too few to compare: the least is 105"):
        steps.check_enough(possums, 105)


def test_without_any_measurement_there_is_no_report() -> None:
    steps.check_anything(None, {"errors": "s3://data/errors.parquet"})

    with pytest.raises(AirflowSkipException, match="nothing to report"):
        steps.check_anything(None, None)


def test_the_last_retraining_starts_the_cool_down() -> None:
    now = datetime.now(UTC)
    events = [SimpleNamespace(timestamp=now - timedelta(days=age)) for age in (30, 2)]

    assert steps.cool_down_until([], 7) == ""
    assert steps.cool_down_until(events, 1) == ""
    assert steps.cool_down_until(events, 7) == f"{now + timedelta(days=5):%Y-%m-%d %H:%M}"
    assert steps.cool_down_until(events, 0) == ""


@pytest.mark.parametrize(
    ("until", "said"), [("", "asked for now"), ("2026-12-01 06:00", "not again before 2026-12-01")]
)
def test_the_alert_tells_the_findings_and_what_was_done(until: str, said: str) -> None:
    report = {"version": "3", "findings": ["eye has drifted"], "url": "http://mlflow/run", "cool_down_until": until}

    alert = steps.describe(report, "manual__1")

    assert alert.subject == "Reg_RidgeCV_possums version 3 no longer fits"
    assert "eye has drifted" in alert.text
    assert said in alert.text
    assert "http://mlflow/run" in alert.text
