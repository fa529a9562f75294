from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk.exceptions import AirflowSkipException

from include import config
from include.platform import storage
from include.platform.assets import LABELLED, PREDICTIONS
from include.tasks import recent


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

    inputs = recent.read_recent_inputs(possums, days=1)

    assert lengths(inputs) == [10, 10.1, 10.2, 15, 15.1, 15.2]
    assert inputs.columns.tolist() == config.RAW


@pytest.mark.usefixtures("objects")
def test_what_is_older_than_asked_for_is_not_recent(possums: pd.DataFrame) -> None:
    uri = f"{PREDICTIONS.uri.rstrip('/')}/incoming/unit-3.csv"
    storage.write_table(new_animals(possums, 10), uri)

    assert recent.read_recent_inputs(possums, days=0).empty


@pytest.mark.usefixtures("objects")
def test_labelled_animals_come_with_their_tails(possums: pd.DataFrame) -> None:
    animals = new_animals(possums, 10).assign(taill=[36.0, np.nan, 38.0])
    storage.write_table(animals, f"{LABELLED.uri.rstrip('/')}/unit-1.csv")

    labelled = recent.read_labelled(possums, days=1)

    assert lengths(labelled) == [10, 10.2]
    assert labelled.columns.tolist() == [*config.RAW, "taill"]


@pytest.mark.usefixtures("objects")
def test_a_labelled_file_is_read_as_for_training(possums: pd.DataFrame, caplog: pytest.LogCaptureFixture) -> None:
    folder = LABELLED.uri.rstrip("/")
    storage.write_table(possums.drop(columns="eye"), f"{folder}/unit-1.csv")
    storage.write_table(new_animals(possums, 10).assign(taill=[36.0, 370.0, 38.0]), f"{folder}/unit-2.csv")

    labelled = recent.read_labelled(possums, days=1)

    assert lengths(labelled) == [10, 10.2]
    assert f"Left out: {folder}/unit-1.csv cannot be used:\ncolumn eye is missing" in caplog.text


def test_too_few_animals_skip_the_task_and_say_how_many(possums: pd.DataFrame) -> None:
    recent.check_enough(possums, 104)

    with pytest.raises(AirflowSkipException, match="104 new animals are too few to compare: the least is 105"):
        recent.check_enough(possums, 105)
