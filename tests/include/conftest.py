"""Tables of possums, and the buckets that storage and MLflow write to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from include import config
from include.features import build_transformer, compute_features
from include.possums import read_possums


@pytest.fixture
def possums() -> pd.DataFrame:
    """The real table: 81 training animals and 23 holdout animals."""
    return read_possums(config.POSSUM_CSV)


@pytest.fixture(scope="session")
def with_features() -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Adds to a table the features of a transformer that was fitted on its training animals, as feature_eng does."""

    def add_features(possums: pd.DataFrame) -> pd.DataFrame:
        training = possums[(possums[config.SPLIT] == "train") & possums[config.TARGET].notna()]
        return possums.join(compute_features(possums, build_transformer().fit(training[config.RAW])))

    return add_features


@pytest.fixture
def table(possums: pd.DataFrame, with_features: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    """The real table with its features, as train reads it."""
    return with_features(possums)


@pytest.fixture(scope="session")
def buckets(services: dict[str, Any]) -> None:
    """The project's buckets, in the real S3."""
    hook = S3Hook(config.AWS_CONN_ID)
    for bucket in (config.DATA_BUCKET, config.ARTIFACT_BUCKET, config.XCOM_BUCKET):
        if not hook.check_for_bucket(bucket):  # the pipeline may have run on this stack before
            hook.create_bucket(bucket)
