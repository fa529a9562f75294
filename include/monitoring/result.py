"""What monitoring has measured: findings and notes in sentences, and metrics for MLflow."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from include.evaluation.scores import format_value, metric_name
from include.monitoring.degradation import POWER
from include.monitoring.groups import match_groups
from include.spec import Problem

METRICS = {"statistic": "statistic", "p": "p_value", "psi": "psi", "psi_by_chance": "psi_by_chance"}
NAMED = 5  # levels of a category in a sentence


@dataclass(frozen=True)
class MonitoringResult:
    """All measurements of the champion; what could not be measured is empty, because there were too few rows.

    :param training: the rows that the champion was trained on
    :param recent: the rows that it predicted recently
    :param drift: as :func:`include.monitoring.drift.measure_drift` returns it
    :param errors: columns ``error`` (absolute) and ``sample`` ("baseline" or "recent")
    :param degradation: as :func:`include.monitoring.degradation.measure_degradation` returns it
    :param rejected: files that were not predicted
    """

    problem: Problem
    training: pd.DataFrame
    recent: pd.DataFrame
    drift: pd.DataFrame
    errors: pd.DataFrame
    degradation: Mapping[str, float]
    rejected: int = 0

    @property
    def groups(self) -> list[str]:
        """The categories whose groups the other inputs were compared within."""
        return self._select("grouped")

    def findings(self) -> list[str]:
        """Return what is wrong, one sentence each; empty if all is well."""
        findings = [f"{name} has drifted: {self._describe_drift(name)}" for name in self._select("drifted")]
        if self.degradation.get("degraded"):
            rmse = format_value(self.degradation["rmse_recent"], self.problem.unit)
            times = "{ratio:.2f} times that on training rows ({ratio_low:.2f} to {ratio_high:.2f})"
            findings.append(f"the prediction error has grown: RMSE {rmse}, {times.format(**self.degradation)}")
        return findings

    def notes(self) -> list[str]:
        """Return what else to know, one sentence each: other mixes, odd rows, rejected files, power."""
        notes = [*self._note_categories(), *self._note_groups()]
        if unexpected := {name: count for name, count in self.count_unexpected().items() if count}:
            counts = ", ".join(f"{name} {count}" for name, count in unexpected.items())
            notes.append(f"numbers outside of the expected range in {len(self.recent)} recent rows: {counts}")
        if self.rejected:
            notes.append(f"files rejected in the period: {self.rejected}")
        if self.degradation:
            least = self.degradation["ratio_found"]
            notes.append(f"an error {least:.1f} times as large would be found with a probability of {POWER:.0%}")
        return notes

    def report(self) -> str:
        """Return findings and notes as Markdown."""
        parts = {"Findings": self.findings(), "Notes": self.notes()}
        lists = [
            f"## {title}\n\n" + "\n".join(f"- {text}" for text in texts or ["none"]) for title, texts in parts.items()
        ]
        return "\n\n".join(lists) + "\n"

    def metrics(self) -> dict[str, float]:
        """Return all numbers as MLflow metrics, such as ``psi_age``, ``p_age`` (adjusted) and ``ratio``."""
        names = {name: metric_name(str(name)) for name in self.drift.index}
        metrics = {
            f"{prefix}_{names[name]}": float(row[column])
            for name, row in self.drift.iterrows()
            for prefix, column in METRICS.items()
        }
        unexpected = {f"outside_expected_{metric_name(name)}": count for name, count in self.count_unexpected().items()}
        counts = {"recent_rows": len(self.recent), "findings": len(self.findings()), "rejected_files": self.rejected}
        return {**metrics, **unexpected, **counts, **self.degradation}

    def count_unexpected(self) -> dict[str, int]:
        """Return how many recent rows lie outside of the expected range, by column; nothing without rows."""
        numbers = {name: self.recent[name].dropna() for name in self.problem.numbers if name in self.recent}
        return {
            name: int((~cells.between(*self.problem.number(name).expected)).sum()) for name, cells in numbers.items()
        }

    def _select(self, flag: str) -> list[str]:
        return self.drift.index[self.drift[flag]].tolist() if len(self.drift) else []

    def _describe_drift(self, name: str) -> str:
        if name in self.groups:
            shares = [f"{rows[name].isna().mean():.0%}" for rows in (self.recent, self.training)]
            missing = ["{} of the cells are missing, in training {}".format(*shares)] if shares[0] != "0%" else []
            return "; ".join([*self._describe_unseen(name), *missing])
        return "PSI {psi:.2f} ({psi_by_chance:.2f} by chance), p = {p_value:.1g}".format(**self.drift.loc[name])

    def _describe_unseen(self, name: str) -> list[str]:
        cells = self.recent[name].dropna()
        levels = cells[~cells.isin(self.training[name])].value_counts()
        shown = [*map(str, levels.index[:NAMED]), *(["..."] if len(levels) > NAMED else [])]
        rows = f"{levels.sum()} of {len(self.recent)} rows are from {', '.join(shown)}, which training lacks"
        return [rows] if len(levels) else []

    def _note_categories(self) -> Iterator[str]:
        """Name the categories that have not drifted, but have another mix or levels that training lacks."""
        drifted = self._select("drifted")
        for name in [name for name in self.drift.index if name in self.problem.categories and name not in drifted]:
            if name in self.groups:
                tables = [rows[name].astype(object).fillna("missing") for rows in (self.recent, self.training)]
                level = tables[0].mode()[0]
                shares = [f"{(cells == level).mean():.0%}" for cells in tables]
                yield f"{name} has another mix: {shares[0]} of the rows are from {level}, in training {shares[1]}"
            yield from (f"{name}: {unseen}" for unseen in self._describe_unseen(name))

    def _note_groups(self) -> Iterator[str]:
        if self.groups:
            _, known = match_groups(self.training, self.recent, self.groups)
            left_out = f"; {(~known).sum()} rows of groups that training lacks were left out" if not known.all() else ""
            yield f"other inputs were compared within the groups of {', '.join(self.groups)}{left_out}"
