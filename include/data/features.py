"""Features of a possum: the transformer that encodes, imputes and scales."""

from __future__ import annotations

import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from include.config import CATEGORICAL, NUMERIC, RAW

PREFIX = "feature_"


def build_transformer() -> Pipeline:
    """Return the unfitted transformer from raw columns (``RAW``) to features.

    Categories are one-hot encoded, an unknown one as zeros; missing numbers become the median;
    every feature is scaled to mean 0 and variance 1.
    """
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = make_column_transformer(
        (encoder, CATEGORICAL),
        (SimpleImputer(strategy="median"), NUMERIC),
        verbose_feature_names_out=False,
    )
    return make_pipeline(columns, StandardScaler()).set_output(transform="pandas")


def compute_features(table: pd.DataFrame, transformer: Pipeline) -> pd.DataFrame:
    """Return the features of a fitted transformer for raw rows, as columns ``feature_<name>``."""
    return transformer.transform(table[RAW]).add_prefix(PREFIX)
