"""Tests of the possum problem, skipped when the project has another one."""

import pandas as pd
import pytest

from include.data.reading import parse_rows
from include.problem import PROBLEM
from include.settings import INCLUDE

from ..include.conftest import make_table

collect_ignore_glob = [] if PROBLEM.name == "possum" else ["test_*.py"]


@pytest.fixture(scope="session")
def possums() -> pd.DataFrame:
    """The feature table: 81 training rows and 23 holdout rows."""
    return make_table(parse_rows((INCLUDE.parent / PROBLEM.table).read_bytes(), PROBLEM.table), PROBLEM)
