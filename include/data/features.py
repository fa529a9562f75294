"""Features: the transformer that encodes, imputes and scales."""

from collections.abc import Iterator

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from include.spec import Problem

PREFIX = "feature_"
MISSING = "missing"  # the category of missing cells
MAX_CATEGORIES = 50  # columns that one category becomes; the rarest share one


def build_transformer(problem: Problem) -> Pipeline:
    """Return the unfitted transformer from ``problem.inputs`` to an array of features.

    Categories are one-hot encoded, an unknown one as the rarest are, or as zeros; a missing number becomes the median;
    every feature is scaled to mean 0 and variance 1.
    """
    encoder = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=MAX_CATEGORIES, sparse_output=False)
    known = SimpleImputer(strategy="constant", fill_value=MISSING, keep_empty_features=True)
    steps = [
        ("category", make_pipeline(known, encoder), problem.categories),
        ("number", SimpleImputer(strategy="median", keep_empty_features=True), problem.numbers),
    ]
    columns = ColumnTransformer([step for step in steps if step[2]])
    return make_pipeline(columns, StandardScaler())


def compute_features(table: pd.DataFrame, transformer: Pipeline, problem: Problem) -> pd.DataFrame:
    """Return the features of a fitted transformer for the rows of a table, as columns ``feature_<name>``."""
    features = transformer.transform(table[problem.inputs])
    return pd.DataFrame(features, index=table.index, columns=feature_names(transformer, problem))


def feature_names(transformer: Pipeline, problem: Problem) -> list[str]:
    """Return a name for each feature of a fitted transformer: unique, and different from the table's own columns."""
    taken = set(problem.columns)
    names = (name.partition("__")[2] for name in transformer[0].get_feature_names_out())
    return list(_make_unique(names, taken))


def _make_unique(names: Iterator[str], taken: set[str]) -> Iterator[str]:
    for name in names:
        unique, count = f"{PREFIX}{name}", 1
        while unique in taken:
            count += 1
            unique = f"{PREFIX}{name}_{count}"
        taken.add(unique)
        yield unique
