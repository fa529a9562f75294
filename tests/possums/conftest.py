"""Tests of the possum problem, skipped when the project has another one."""

from __future__ import annotations

import pandas as pd
import pytest

from include.data.checks import inspect
from include.data.reading import parse_rows
from include.data.split import select_rows
from include.problem import PROBLEM
from include.settings import INCLUDE

collect_ignore_glob = [] if PROBLEM.name == "possum" else ["test_*.py"]


@pytest.fixture(scope="session")
def possums() -> pd.DataFrame:
    """The rows of the table, as ``feature_eng`` reads them."""
    rows = parse_rows((INCLUDE.parent / PROBLEM.table).read_bytes(), PROBLEM.table)
    return select_rows(inspect(rows, PROBLEM), PROBLEM.table, PROBLEM)
