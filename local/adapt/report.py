"""What ``make adapt`` prints: what it read, what it chose and why, and what to check."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Column, Table

from include.spec import Category, Limits, Problem
from local.adapt.infer import Choice
from local.adapt.propose import Proposal

SHOWN_LEVELS = 5


def report(proposal: Proposal, source: str) -> Iterator[RenderableType]:
    """Yield what to print."""
    problem, target = proposal.problem, proposal.target
    yield f"[bold]{escape(source)}[/]: {proposal.rows} rows, {len(proposal.choices)} columns"
    yield (
        f"[bold]{escape(problem.target.name)}[/]: {len(target)} values, {target.min():g} to {target.max():g}, "
        f"mean {target.mean():.4g}, standard deviation {target.std():.4g}"
    )
    yield _tabulate(proposal)
    yield from (escape(line) for line in describe_gate(proposal))
    if proposal.evidence.is_weak:
        yield "[bold red]The columns say hardly more about the target than its mean does: add better ones.[/]"
    yield "\n[bold]Check in include/problem.py[/]"
    yield from (f"  {escape(line)}" for line in list_questions(proposal))
    yield "[bold]Complete include/problem.md[/]: the model card quotes it"


def describe_gate(proposal: Proposal) -> list[str]:
    """Return the gate's limits, and what they follow from."""
    gate, evidence = proposal.problem.gate, proposal.evidence
    return [
        f"Cross-validation on {evidence.rows} training rows: ridge regression has an RMSE of {evidence.ridge:.4g}, "
        f"predicting the mean {evidence.mean:.4g}.",
        f"The gate's max_rmse is {gate.max_rmse:g}: {evidence.reason}.",
    ]


def list_questions(proposal: Proposal) -> list[str]:
    """Return what a person knows better than the table."""
    questions = [f"{choice.column}: {choice.reason}" for choice in proposal.choices if choice.unsure]
    problem = proposal.problem
    if problem.limits != Limits():
        questions.append(f"limits: {problem.limits.max_missing_target:.0%} of the rows may lack a target")
    if problem.holdout_share != Problem.holdout_share:
        questions.append(f"holdout_share: {problem.holdout_share:.0%}, because there are few rows")
    return [
        *questions,
        "every column: unit and title are empty, ranges follow from the rows",
    ]


def _tabulate(proposal: Proposal) -> Table:
    table = Table("Column", "Used as", Column("Values, or the reason", overflow="fold"))
    for choice in proposal.choices:
        mark = " [yellow]?[/]" if choice.unsure else ""
        table.add_row(escape(choice.column), f"{choice.use}{mark}", escape(_details(choice, proposal.problem)))
    return table


def _details(choice: Choice, problem: Problem) -> str:
    if choice.use in ("ID", "left out"):
        return choice.reason
    column = problem.column(choice.column)
    if not isinstance(column, Category):
        return "{:.10g} to {:.10g} expected, {:.10g} to {:.10g} possible".format(*column.expected, *column.possible)
    shown = ", ".join(column.levels[:SHOWN_LEVELS]) + (", ..." if len(column.levels) > SHOWN_LEVELS else "")
    levels = f"{len(column.levels)} levels: {shown}" if column.levels else "any value"
    return levels + (", or missing" if column.nullable else "")
