"""Features: the transformer that encodes, imputes and scales."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from include.spec import Problem

PREFIX = "feature_"
MISSING = "missing"  # the category of missing cells
MAX_CATEGORIES = 50  # columns that one category becomes; the rarest share one
COLUMNS_AT_ONCE = 5  # that are in memory as a whole, for their medians

Read = Callable[[list[str]], Iterable[pd.DataFrame]]


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


def fit_transformer(read: Read, problem: Problem) -> Pipeline:
    """Return the transformer fitted to rows that come in batches, as ``fit`` would to all of them at once.

    Levels are counted and means and variances add up over the batches; medians are of whole columns, a few at a time.

    :param read: returns the rows in batches, of these columns
    """
    transformer = build_transformer(problem)
    columns, scaler = transformer
    columns.fit(_summarise(read, problem))
    for batch in read(problem.inputs):
        if len(batch):
            scaler.partial_fit(columns.transform(batch[problem.inputs]))
    return transformer


def _summarise(read: Read, problem: Problem) -> pd.DataFrame:
    """Return a few rows with the categories and the medians of all."""
    levels = _count_levels(read, problem.categories)
    chosen = {name: _choose_levels(counts) for name, counts in levels.items()}
    length = max(map(len, chosen.values()), default=1)
    summary = pd.DataFrame({name: some + some[-1:] * (length - len(some)) for name, some in chosen.items()})
    medians = _find_medians(read, problem.numbers)
    return summary.reindex(range(length)).assign(**medians)[problem.inputs]


def _count_levels(read: Read, columns: list[str]) -> dict[str, pd.Series]:
    """Return how often each level occurs, in the order of their names."""
    counts: dict[str, list[pd.Series]] = {name: [] for name in columns}
    for batch in read(columns) if columns else []:
        for name in columns:
            counts[name].append(batch[name].astype("str").fillna(MISSING).value_counts())
    return {name: pd.concat(found).groupby(level=0).sum() for name, found in counts.items()}


def _find_medians(read: Read, columns: list[str]) -> dict[str, float]:
    medians: dict[str, float] = {}
    for start in range(0, len(columns), COLUMNS_AT_ONCE):
        rows = pd.concat(read(some := columns[start : start + COLUMNS_AT_ONCE]))
        medians |= {name: rows[name].median() for name in some}
    return medians


def _choose_levels(counts: pd.Series) -> list[str]:
    """Return levels so often that the encoder finds the same ones frequent, in few rows; the most frequent one is last.

    :param counts: of each level, in the order of their names
    """
    ranks = counts.rank(method="dense").astype(int)
    rarest = ranks.nlargest(MAX_CATEGORIES - 1).min()
    times = (ranks - rarest + 2).clip(lower=1)
    times = times.sort_values(kind="stable")
    return times.index.repeat(times).tolist()


def compute_features(table: pd.DataFrame, transformer: Pipeline, problem: Problem) -> pd.DataFrame:
    """Return the features of a fitted transformer for the rows of a table, as columns ``feature_<name>``."""
    features = transformer.transform(table[problem.inputs])
    return pd.DataFrame(features, index=table.index, columns=feature_names(transformer, problem))


def feature_names(transformer: Pipeline, problem: Problem) -> list[str]:
    """Return a name for each feature of a fitted transformer: unique, and different from the table's own columns."""
    taken = {problem.id, *problem.inputs, problem.target.name}
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
