"""The types that describe a prediction problem; ``include/problem.py`` fills them in.

An impossible description raises :class:`ProblemError` when it is imported, with the name of the field.
"""

import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from math import inf, isfinite

# Columns that the pipeline adds to tables, beside columns of each kind.
SPLIT, ROW_HASH = "_split", "_row"
PREDICTION_ID = "prediction_id"  # of a row that the model server answered
LOGGED = (PREDICTION_ID, "_time", "_version", "_challenger", "_challenger_predicted")
ADDED = (SPLIT, ROW_HASH, "predicted", "lower", "upper", "warnings", *LOGGED)
RESERVED = {"features": ADDED, "target": (*ADDED, "prediction"), "row_id": (*ADDED, "true", "split")}

Range = tuple[float, float]


class ProblemError(ValueError):
    """The description of a problem is impossible; the message names the field."""


def _require(condition: bool, name: str, fault: str) -> None:
    if not condition:
        raise ProblemError(f"include/problem.py: {name} {fault}")


@dataclass(frozen=True)
class Number:
    """A numeric column.

    :param name: the column in the table
    :param title: what it measures, for people; the column's name if empty
    :param unit: such as ``"mm"``; empty for counts and shares
    :param possible: smallest and largest value that can be true, both included. Any other value is taken as missing
        in the table, and is an error in rows to predict
    :param expected: smallest and largest value of the usual rows, both included; anything else is a warning.
        Most of a column outside of it means another unit, and is an error
    """

    name: str
    title: str = ""
    _: KW_ONLY
    unit: str = ""
    possible: Range = (-inf, inf)
    expected: Range = (-inf, inf)

    def __post_init__(self) -> None:
        for bounds, (low, high) in (("possible", self.possible), ("expected", self.expected)):
            _require(low < high, f"{self.name}.{bounds}", f"is upside down: {low:g} is not less than {high:g}")
        low, high = self.possible
        inside = all(low <= bound <= high for bound in self.expected if isfinite(bound))
        _require(inside, f"{self.name}.expected", "reaches outside of possible")

    @property
    def label(self) -> str:
        """Title and unit, for axes and tables: ``head length (mm)``."""
        return f"{self.title or self.name} ({self.unit})" if self.unit else self.title or self.name


@dataclass(frozen=True)
class Category:
    """A column of categories, which are text in the whole pipeline: site 1 is ``"1"``.

    :param name: the column in the table
    :param title: what it says, for people; the column's name if empty
    :param levels: the categories that are known; none if there may be any
    :param new_levels: what a category outside of ``levels`` is: an ``"error"`` or a ``"warning"``
    :param nullable: whether cells may be missing; they become a category of their own
    """

    name: str
    title: str = ""
    _: KW_ONLY
    levels: tuple[str, ...] = ()
    new_levels: str = "error"
    nullable: bool = False

    def __post_init__(self) -> None:
        text = isinstance(self.levels, tuple) and all(isinstance(level, str) for level in self.levels)
        _require(text, f"{self.name}.levels", 'must be a tuple of texts, such as ("1", "2")')
        _require(len(set(self.levels)) == len(self.levels), f"{self.name}.levels", "names a level twice")
        odd = [level for level in self.levels if level != level.strip() or re.fullmatch(r"-?\d+\.0+", level)]
        _require(not odd, f"{self.name}.levels", f'has {odd}, which no cell is: cells are trimmed, and "1.0" is "1"')
        _require(self.new_levels in ("error", "warning"), f"{self.name}.new_levels", 'must be "error" or "warning"')

    @property
    def label(self) -> str:
        """The title, for axes and tables."""
        return self.title or self.name


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What a challenger must keep to; :mod:`include.evaluation.gate` explains the tests.

    :param max_rmse: what the RMSE of all rows must be shown to keep to, by the upper end of its interval, in the
        target's unit
    :param subgroup_max_rmse: what no group of a category may be shown to exceed, by the category's name
    :param margin: share of the champion's RMSE by which the challenger's may be larger
    :param confidence: smallest probability with which no challenger that is worse by the margin is promoted, in all
        evaluations on the same holdout rows together
    """

    max_rmse: float
    subgroup_max_rmse: Mapping[str, float] = field(default_factory=dict)
    margin: float = 0.2
    confidence: float = 0.95

    def __post_init__(self) -> None:
        limits = {"max_rmse": self.max_rmse} | {
            f"subgroup_max_rmse[{k!r}]": v for k, v in self.subgroup_max_rmse.items()
        }
        for name, value in limits.items():
            _require(value > 0, f"gate.{name}", f"must be greater than 0, not {value:g}")
        _require(self.margin >= 0, "gate.margin", f"must not be negative: {self.margin:g}")
        _require(0.5 < self.confidence < 1, "gate.confidence", f"must lie between 0.5 and 1: {self.confidence:g}")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits beyond which a table is rejected, or causes a warning.

    :param min_rows: fewest rows with a target
    :param max_missing_target: largest share of rows without a target
    :param max_missing: largest share of missing cells in a numeric feature
    :param usual_missing: share of missing cells in a number from which on there is a warning
    :param max_unexpected: largest share of a column outside its ``expected`` range
    :param unexpected: what a number outside its ``expected`` range is in rows to predict: a ``"warning"`` beside the
        prediction, or an ``"error"``, and the rows are not predicted
    :param max_training_rows: rows that a model is fitted to at most; of more, they are drawn
    """

    min_rows: int = 30
    max_missing_target: float = 0.5
    max_missing: float = 0.5
    usual_missing: float = 0.05
    max_unexpected: float = 0.5
    unexpected: str = "warning"
    max_training_rows: int = 1_000_000

    def __post_init__(self) -> None:
        _require(self.max_training_rows >= 1000, "limits.max_training_rows", "must be 1000 or more")
        _require(self.min_rows >= 30, "limits.min_rows", f"must be 30 or more, not {self.min_rows}")
        for name in ("max_missing_target", "max_missing", "usual_missing", "max_unexpected"):
            _require(0 <= getattr(self, name) <= 1, f"limits.{name}", "is a share: between 0 and 1")
        _require(self.unexpected in ("error", "warning"), "limits.unexpected", 'must be "error" or "warning"')


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A table, the column to predict and what is demanded of the predictions.

    :param name: short and lower-case; prefix of the assets, tag and owner of the DAGs
    :param title: heading of the chart
    :param summary: one sentence on what the model predicts
    :param table: a path in the project, or an URI such as ``s3://bucket/key``; CSV or Parquet. If it ends in ``/``, all
        CSV or Parquet files of that folder, which have the same columns
    :param row_id: the column that identifies rows; None: rows are identified by a hash of their features
    :param target: the column to predict
    :param features: the columns to predict from
    :param holdout_share: share of the rows that no model is trained on
    :param gate: what a new model must keep to
    :param limits: what the table must keep to
    :param experiment: name of the MLflow experiment
    :param registered_model: name of the model in MLflow's registry
    :param artifact_bucket: S3 bucket of MLflow's artifacts
    :param picture: file name of the chart in ``include/plots``
    :param predictions_file: file name of the published predictions
    :param illustration: image in ``include`` that the chart shows at its side, if the file is there
    """

    name: str
    title: str
    summary: str
    table: str
    row_id: str | None
    target: Number
    features: tuple[Number | Category, ...]
    holdout_share: float = 0.25
    gate: Gate
    limits: Limits = Limits()
    experiment: str
    registered_model: str
    artifact_bucket: str
    picture: str
    predictions_file: str
    illustration: str = ""

    def __post_init__(self) -> None:
        self._check_columns()
        self._check_names()
        share = self.holdout_share
        _require(0.05 <= share <= 0.5, "holdout_share", f"must lie between 0.05 and 0.5: {share:g}")
        for column in self.gate.subgroup_max_rmse:
            known = column in self.categories
            _require(known, "gate.subgroup_max_rmse", f"names {column!r}, which is not a category among the features")

    @property
    def id(self) -> str:
        """The column that identifies rows, in the pipeline's tables."""
        return self.row_id or ROW_HASH

    @property
    def unit(self) -> str:
        """The target's unit, which errors have too."""
        return self.target.unit

    @cached_property
    def categories(self) -> list[str]:
        """The names of the categorical features."""
        return [column.name for column in self.features if isinstance(column, Category)]

    @cached_property
    def numbers(self) -> list[str]:
        """The names of the numeric features."""
        return [column.name for column in self.features if isinstance(column, Number)]

    @cached_property
    def inputs(self) -> list[str]:
        """The names of all features, in the order in which models take them."""
        return [column.name for column in self.features]

    @property
    def columns(self) -> list[str]:
        """The names of all columns that the pipeline reads: id, features and target."""
        return [self.id, *self.inputs, self.target.name]

    def number(self, name: str) -> Number:
        """Return the description of the target or a numeric feature.

        :raises KeyError: the column does not exist
        """
        columns = (self.target, *self.features)
        return {column.name: column for column in columns if isinstance(column, Number)}[name]

    def column(self, name: str) -> Number | Category:
        """Return the description of the target or a feature.

        :raises KeyError: the column does not exist
        """
        return {column.name: column for column in (self.target, *self.features)}[name]

    def _check_columns(self) -> None:
        names, target = [column.name for column in self.features], self.target
        some = isinstance(self.features, tuple) and bool(names)
        _require(some, "features", "must be a tuple with at least one column")
        for column in sorted(names):
            _require(names.count(column) == 1, "features", f"names {column!r} twice")
        _require(isinstance(target, Number), "target", "must be a Number: regression needs numbers")
        _require(target.name not in names, "target", f"{target.name!r} is among the features")
        known = [*names, target.name]
        _require(self.row_id not in known, "row_id", f"{self.row_id!r} is the target or a feature too")
        row_id = [] if self.row_id is None else [self.row_id]
        for kind, columns in (("target", [target.name]), ("features", names), ("row_id", row_id)):
            for column in columns:
                blank = f"has the column {column!r}: it must have a name without blanks around it"
                _require(bool(column) and column == column.strip(), kind, blank)
                used = f"has the column {column!r}, a name that the pipeline uses: rename it in the table"
                _require(column not in RESERVED[kind], kind, used)

    def _check_names(self) -> None:
        patterns = {
            "name": (r"[a-z][a-z0-9_]{0,39}", "lower-case letters, digits and _, at most 40"),
            "table": (
                r"(s3://[^/]+/|(?!\w+://)).+(\.(?i:csv|parquet)|/)",
                "a path or an s3:// URI that ends in .csv or .parquet, or in / for a folder of such files",
            ),
            "artifact_bucket": (r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", "a name of an S3 bucket"),
            "picture": (r"[\w.-]+\.png", "a file name that ends in .png"),
            "predictions_file": (r"[\w.-]+\.csv", "a file name that ends in .csv"),
            "experiment": (r".+", "a name"),
            "registered_model": (r"[^/:]+", "a name without / and :"),
        }
        for name, (pattern, meaning) in patterns.items():
            value = getattr(self, name)
            _require(bool(re.fullmatch(pattern, value)), name, f"must be {meaning}, not {value!r}")
