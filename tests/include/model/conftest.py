"""Tables of houses, as train reads them."""

from collections.abc import Iterator

import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from include.data.split import select_training
from tests.toy import HOUSES, make_rows

from ..conftest import add_features, select


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Libraries use one thread, as in the tasks: more wait for each other on a machine that is busy."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def houses() -> pd.DataFrame:
    """120 houses: 87 training rows and 33 holdout rows."""
    return select(make_rows())


@pytest.fixture(scope="session")
def table(houses: pd.DataFrame) -> pd.DataFrame:
    return add_features(houses)


@pytest.fixture(scope="session")
def training(houses: pd.DataFrame) -> pd.DataFrame:
    return select_training(houses, HOUSES)
