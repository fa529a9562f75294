"""Samples and numbers of a table in the real S3, which is read in batches of 25 rows."""

import pandas as pd
import pytest
from mlflow.data.digest_utils import compute_pandas_digest

from include.data.split import select_training
from include.services import samples, storage
from include.services.tracking import TableDataset
from include.spec import SPLIT

from ...toy import HOUSES


@pytest.fixture
def table(houses: pd.DataFrame) -> pd.DataFrame:
    """120 rows, of which every fifth has no target."""
    return houses.assign(price=houses["price"].where(houses.index % 5 > 0))


@pytest.fixture
def uri(table: pd.DataFrame, buckets: None, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(storage, "BATCH_ROWS", 25)
    return storage.write_table(table, "s3://data/unit-samples/features.parquet")


def test_the_numbers_are_those_of_the_whole_table(uri: str, table: pd.DataFrame) -> None:
    training = select_training(table, HOUSES)

    found = samples.count_rows(uri, HOUSES)

    assert found == (table[SPLIT].value_counts().to_dict(), len(training), training["price"].mean())


def test_a_small_table_is_read_as_it_is_but_for_rows_without_a_target(uri: str, table: pd.DataFrame) -> None:
    found = samples.read_sample(uri, HOUSES, training=1000, holdout=1000)

    pd.testing.assert_frame_equal(found, table.dropna(subset="price").reset_index(drop=True))


def test_a_sample_has_the_rows_and_columns_that_were_asked_for(uri: str, table: pd.DataFrame) -> None:
    found = samples.read_sample(uri, HOUSES, training=30, columns=["address", "price"])

    assert list(found) == ["address", "price"]
    assert len(found) == 30
    assert set(found["address"]) < set(select_training(table, HOUSES)["address"])


@pytest.mark.parametrize("size", [7, 25, 60, 120, 500])
def test_parts_are_the_table(uri: str, table: pd.DataFrame, size: int) -> None:
    parts = list(samples.read_parts(uri, size, ["address", SPLIT]))

    assert {len(part) for part in parts[:-1]} <= {size}
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), table[["address", SPLIT]])


def test_training_rows_come_in_batches(uri: str, table: pd.DataFrame) -> None:
    batches = list(samples.read_training(uri, HOUSES, ["address", SPLIT, "price"]))

    assert len(batches) == 5
    assert pd.concat(batches)["address"].tolist() == select_training(table, HOUSES)["address"].tolist()


@pytest.mark.parametrize("head", [40, 10_000])
def test_mlflow_describes_a_table_by_its_first_rows_and_the_number_of_all(
    uri: str, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, head: int
) -> None:
    monkeypatch.setattr(samples, "HEAD", head)
    monkeypatch.setattr("mlflow.data.digest_utils.MAX_ROWS", head)

    dataset = TableDataset(uri, target="price", name="features")

    assert dataset.digest == compute_pandas_digest(table)
    assert dataset.profile == {"num_rows": 120, "num_elements": table.size}
    assert len(dataset.df) == min(head, 120)
