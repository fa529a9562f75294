"""A model's description in OpenMetadata, as far as MLflow writes it: Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from include.openmetadata import registry

if TYPE_CHECKING:
    from include.openmetadata.registry import Described

HEADING = "### In MLflow"


def add_champion(written: str, model: Described) -> str:
    """Return a description with the version that stands for a model, its run, its metrics and its tags.

    :param written: the description so far; from this heading on it is replaced
    """
    before = written.partition(HEADING)[0].rstrip() or model.model.description or ""
    return "\n\n".join(filter(None, [before, HEADING, _facts(model), _metrics(model), _tags(model)]))


def _facts(model: Described) -> str:
    name, version, run = model.model.name, model.version, model.run.info
    trained = datetime.fromtimestamp(run.start_time / 1000, UTC)
    return _table(
        ("version", "of the model"),
        [
            (f"[{version.version}]({registry.page('models', name, 'versions', version.version)})", _standing(model)),
            (f"[{run.run_name}]({registry.page('experiments', run.experiment_id, 'runs', run.run_id)})", "its run"),
            (f"{trained:%Y-%m-%d %H:%M} UTC", "trained"),
            (f"[{name}]({registry.page('models', name)})", "all versions"),
        ],
    )


def _standing(model: Described) -> str:
    stage = model.version.current_stage
    stages = [f"stage {stage}"] if stage and stage != "None" else []
    return ", ".join([*(f"alias {alias}" for alias in model.aliases), *stages]) or "the newest; no alias, no stage"


def _metrics(model: Described) -> str:
    metrics = sorted(model.run.data.metrics.items())
    return _table(("metric", "value"), [(name, f"{value:.6g}") for name, value in metrics])


def _tags(model: Described) -> str:
    return _table(("tag of the version", "value"), sorted(model.version.tags.items()))


def _table(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    """Return a table of Markdown; nothing if it has no rows."""
    lines = [f"| {_cell(left)} | {_cell(right)} |" for left, right in rows]
    return "\n".join([f"| {head[0]} | {head[1]} |", "| --- | --- |", *lines]) if lines else ""


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
