"""A model without frames and pipelines: what it predicts for clean rows, in microseconds instead of milliseconds."""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd
import treelite
from sklearn.ensemble import HistGradientBoostingRegressor
from treelite import gtil

from include.model.interval_regressor import select_largest, sort_residuals
from include.spec import Category, Number, Problem, Range

TOLERANCE = 1e-9  # relative difference between the predictions of the model and the compiled model
CHECKED_ROWS = 500  # random rows that both predict
MISSING_SHARE = 0.1  # of their numbers
FEW_ROWS = 100  # up to which treelite predicts trees faster than scikit-learn, or about as fast
FEW_SUMS = 100_000  # sums of predictions and residuals up to which partitioning all of them is faster than selecting

Columns = Mapping[str, Sequence[Any]]
Predict = Callable[[Columns], np.ndarray]


class CannotCompileError(ValueError):
    """The compiled model would not predict what the model predicts; the message has the reason."""


class Domain:
    """The rows that a model is compiled for: numbers in a range, or missing, and categories of known levels.

    :param known: the model's levels, as in ``IntervalRegressor``
    :param example: some rows of the model's inputs
    """

    def __init__(self, problem: Problem, known: Mapping[str, Sequence[str]], example: pd.DataFrame) -> None:
        self.inputs = problem.inputs
        if lacking := [name for name in self.inputs if name not in example]:
            raise CannotCompileError(f"the model does not take {', '.join(lacking)}")
        columns = problem.features
        self.ranges = {column.name: _find_range(column, example) for column in columns if isinstance(column, Number)}
        self.levels = {
            column.name: _find_levels(column, known.get(column.name, ()))
            for column in columns
            if isinstance(column, Category)
        }
        if unknown := [name for name, levels in self.levels.items() if not levels]:
            raise CannotCompileError(f"the model does not list the levels of {', '.join(unknown)}")

    def to_frame(self, columns: Columns) -> pd.DataFrame:
        """Return rows as the model takes them."""
        types = dict.fromkeys(self.ranges, "float64") | dict.fromkeys(self.levels, "str")
        return pd.DataFrame({name: pd.Series(columns[name], dtype=types[name]) for name in self.inputs})

    def draw(self, count: int) -> Columns:
        """Return random rows."""
        rng = np.random.default_rng(0)
        drawn: dict[str, Sequence[Any]] = {}
        for name, ends in self.ranges.items():
            drawn[name] = np.where(rng.random(count) < MISSING_SHARE, np.nan, rng.uniform(*ends, count)).tolist()
        for name, levels in self.levels.items():
            drawn[name] = [levels[place] for place in rng.integers(len(levels), size=count)]
        return drawn


def _find_range(column: Number, example: pd.DataFrame) -> Range:
    """Return the expected range; around the example where that has no end."""
    middle = np.nan_to_num(example[column.name].to_numpy(float))
    reach = 1000 * max(1.0, float(np.abs(middle).max()))
    low, high = np.clip(column.expected, column.possible[0], column.possible[1])
    return (float(low) if isfinite(low) else -reach), (float(high) if isfinite(high) else reach)


def _find_levels(column: Category, known: Sequence[str]) -> list[str | None]:
    """Return the levels that are neither an error nor a warning."""
    allowed = set(known).intersection(column.levels) if column.levels and column.new_levels == "error" else set(known)
    missing = [None] if column.nullable and "" in known else []
    return [*sorted(allowed - {""}), *missing]


class Additive:
    """A function of rows to which each input adds a term: a number in proportion, a level or missing cell a constant.

    It is found by asking the function about a row, and about rows that differ from it in one cell; it holds for other
    rows if the function is indeed additive.

    :param function: takes a frame of m rows, returns m x outputs
    """

    def __init__(self, function: Callable[[pd.DataFrame], np.ndarray], domain: Domain) -> None:
        base = dict.fromkeys(domain.ranges, 0.0) | {name: levels[0] for name, levels in domain.levels.items()}
        ends = {name: max(bounds, key=abs) for name, bounds in domain.ranges.items()}
        rows = [base]
        rows += [base | {name: end} for name, end in ends.items()]
        rows += [base | {name: np.nan} for name in ends]
        rows += [base | {name: level} for name, levels in domain.levels.items() for level in levels]
        answers = function(domain.to_frame({name: [row[name] for row in rows] for name in base}))
        self.constant = answers[0]
        sizes = [len(ends), len(ends), *map(len, domain.levels.values())]
        parts = np.split(answers[1:] - self.constant, np.cumsum(sizes))
        self.slopes = parts[0] / np.array(list(ends.values())).reshape(-1, 1)
        self.missing = parts[1]
        self.names = list(ends)
        self.levels = {
            name: ({level: place for place, level in enumerate(levels)}, terms)
            for (name, levels), terms in zip(domain.levels.items(), parts[2:], strict=False)
        }

    def __call__(self, columns: Columns) -> np.ndarray:
        """Return m x outputs.

        :param columns: None or NaN for a missing number
        :raises KeyError: a level is not known
        """
        count = len(next(iter(columns.values())))
        numbers = np.array([columns[name] for name in self.names], dtype=float).reshape(-1, count).T
        missing = np.isnan(numbers)
        if missing.any():
            sums = np.where(missing, 0.0, numbers) @ self.slopes + missing @ self.missing + self.constant
        else:
            sums = numbers @ self.slopes + self.constant
        for name, (places, terms) in self.levels.items():
            sums += terms[[places[level] for level in columns[name]]]
        return sums


class CompiledModel:
    """The predictions of an ``IntervalRegressor`` for the rows of a domain.

    A linear model is additive as a whole. Of other models only the encoder is, and their regressors take its columns.
    Random rows show which of the two applies, and that the predictions are the same.

    :param model: an ``IntervalRegressor``, perhaps one that another version of this project stored
    :raises CannotCompileError: the model has other parts, or would predict something else
    """

    def __init__(self, model: Any, problem: Problem, example: pd.DataFrame) -> None:
        try:
            self.domain = Domain(problem, model.levels, example)
            self._errors = np.concatenate(model.residuals)
            self._folds = np.repeat(range(len(model.residuals)), [len(errors) for errors in model.residuals])
            self._lists, self._rank = sort_residuals(model.residuals)
            rows = self.domain.draw(CHECKED_ROWS)
            expected = model.predict(None, self.domain.to_frame(rows))[["prediction", "lower", "upper"]].to_numpy()
            for compile_models in (_compile_additive, _compile_encoders):
                self._predict = compile_models([model.model, *model.fold_models], self.domain)
                if np.allclose(np.column_stack(self.predict(rows)), expected, rtol=TOLERANCE, atol=0):
                    return
        except CannotCompileError:
            raise
        except Exception as error:  # other models have other errors, and must be served all the same
            raise CannotCompileError(f"the model is not made of the usual parts: {error!r}") from error
        raise CannotCompileError(f"it would not predict the same for {CHECKED_ROWS} random rows")

    def predict(self, columns: Columns) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return prediction, lower and upper end of the interval of each row."""
        predicted = self._predict(columns)
        by_fold = predicted[:, 1:]
        return predicted[:, 0], -self._select_largest(-by_fold), self._select_largest(by_fold)

    def _select_largest(self, shifts: np.ndarray) -> np.ndarray:
        """As the function of this name, but faster for few rows."""
        if len(shifts) * len(self._errors) > FEW_SUMS:
            return select_largest(shifts, self._lists, self._rank)
        sums = shifts[:, self._folds] + self._errors
        return np.partition(sums, -self._rank, axis=1)[:, -self._rank]


def _compile_additive(models: Sequence[Any], domain: Domain) -> Predict:
    return Additive(lambda rows: np.column_stack([model.predict(rows) for model in models]), domain)


def _compile_encoders(models: Sequence[Any], domain: Domain) -> Predict:
    """Compile encoding and imputation, which give the very same numbers; scale, predict, and scale back."""
    encoders, scalers = [model[0][0] for model in models], [model[0][1] for model in models]
    encode = Additive(lambda rows: np.hstack([encoder.transform(rows) for encoder in encoders]), domain)
    (means, scales), (target_means, target_scales) = map(_join_scalers, (scalers, [m[-1].transformer_ for m in models]))
    ends = np.cumsum([scaler.n_features_in_ for scaler in scalers])
    parts = [slice(end - scaler.n_features_in_, end) for end, scaler in zip(ends, scalers, strict=True)]
    predictors = [_find_predict(model[-1].regressor_) for model in models]

    def predict(columns: Columns) -> np.ndarray:
        features = (encode(columns) - means) / scales
        predicted = [predictor(features[:, part]) for predictor, part in zip(predictors, parts, strict=True)]
        return np.array(predicted).T * target_scales + target_means

    return predict


def _join_scalers(scalers: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([one.mean_ for one in scalers]), np.concatenate([one.scale_ for one in scalers])


def _find_predict(regressor: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Return how a regressor predicts: trees through treelite, whose overhead is smaller than scikit-learn's."""
    try:
        trees = treelite.sklearn.import_model(regressor)
    except (NotImplementedError, treelite.TreeliteError):
        return regressor.predict
    # Boosting by histograms compares numbers of 64 bits, the other trees of scikit-learn of 32.
    precision = float if isinstance(regressor, HistGradientBoostingRegressor) else np.float32

    def predict(features: np.ndarray) -> np.ndarray:
        if len(features) > FEW_ROWS:
            return regressor.predict(features)
        return gtil.predict(trees, features.astype(precision).astype(float), nthread=1).reshape(-1)

    return predict
