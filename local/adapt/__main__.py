"""The command behind ``make adapt``."""

import argparse
import sys
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from include.data.reading import TableError, parse_parts
from include.data.split import select_holdout
from include.evaluation.scores import format_value
from include.spec import Limits, Problem, ProblemError
from local.adapt.infer import AdaptError
from local.adapt.propose import Proposal, make_slug, propose
from local.adapt.write import check_committed, render, render_files, write_all
from local.settings import PROJECT


def main(arguments: Sequence[str] | None = None, project: Path = PROJECT, console: Console | None = None) -> int:
    """Adapt the project to a table; 1 if that is not possible, and then nothing has changed."""
    console = console or Console(highlight=False)
    try:
        adapt(_parse(arguments), project, console)
    except (AdaptError, TableError, ProblemError, OSError) as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    return 0


def adapt(options: argparse.Namespace, project: Path, console: Console) -> None:
    """Describe the table in ``include/problem.py``, and print what was chosen.

    :raises AdaptError: the table cannot be used, or what would be overwritten is not committed
    """
    source = Path(options.table).expanduser()
    contents = {file: file.read_bytes() for file in find_files(source, options.table)}
    place = place_table(source, project)
    copies = {place / file.relative_to(source): content for file, content in contents.items()}
    labels = [options.table if file == source else str(file.relative_to(source)) for file in contents]
    rows = parse_parts(dict(zip(labels, contents.values(), strict=True)))
    table = place.relative_to(project).as_posix()
    if source.is_dir():
        check_folder(place, copies)
        table += "/"
    proposal = propose(rows, options.table, table, options.target.strip(), options.id.strip() or None)
    comments = ["Expected ranges are those of the table, and a tenth beyond them.", *describe_gate(proposal)]
    files = copies | render_files(proposal.problem, comments, project)
    changed = {file: text for file, text in files.items() if not file.exists() or file.read_bytes() != text}
    if changed and not options.force:
        check_committed(changed, project)
    write_all(changed, project)
    report(proposal, options.table, console)
    names = ", ".join(str(file.relative_to(project)) for file in changed)
    console.print(f"\nWritten: {names}", markup=False, soft_wrap=True)
    if (project / ".env").exists():
        console.print(f".env may name the earlier bucket: set ARTIFACT_BUCKET={proposal.problem.artifact_bucket} in it")
    if (project / ".local" / "mlflow").exists():
        console.print(
            "Runs of the earlier problem stay in the local stack; make clean deletes them. "
            "If the stack is running, stop it with make down."
        )
    console.print("Next: [bold]make demo[/]")


def find_files(source: Path, table: str) -> list[Path]:
    """Return the files of a table: itself, or all CSV and Parquet files of a folder, in the order of the pipeline.

    :param table: what the source is called in messages
    :raises AdaptError: there is none
    """
    if table.startswith("s3://"):
        raise AdaptError(f"TABLE={table} is not a local file: download it, and enter the URI as `table` afterwards")
    found = source.rglob("*") if source.is_dir() else [source]
    if files := [file for file in found if file.is_file() and file.suffix.lower() in (".csv", ".parquet")]:
        return sorted(files, key=str)
    raise AdaptError(f"TABLE={table} does not exist or does not end in .csv or .parquet: name such a file, or a folder")


def place_table(source: Path, project: Path) -> Path:
    """Return where the pipeline reads a file or folder: where it is, if in ``include``, else in a copy there."""
    resolved = source.resolve()
    if resolved.is_relative_to((project / "include").resolve()):
        return project / resolved.relative_to(project.resolve())
    return project / "include" / f"{make_slug(source.stem)}{'' if source.is_dir() else source.suffix.lower()}"


def check_folder(place: Path, files: Collection[Path]) -> None:
    """Raise an error if there are other files where the parts of a table are copied to: they would be parts too."""
    if others := sorted(str(file) for file in place.rglob("*") if file.is_file() and file not in files):
        raise AdaptError(f"{place} has other files, such as {others[0]}: remove them, or rename the table's folder")


def describe_gate(proposal: Proposal) -> list[str]:
    """Explain the gate's limit."""
    return [
        f"Cross-validation on the training rows: ridge regression has an RMSE of {format_value(proposal.ridge)}, "
        f"predicting the mean {format_value(proposal.mean)}.",
        f"The gate's max_rmse is {proposal.problem.gate.max_rmse:g}: halfway between the two, or more if there are few "
        "holdout rows.",
    ]


def report(proposal: Proposal, source: str, console: Console) -> None:
    """Print what was read, what was chosen and why, and what to check."""
    name = proposal.problem.target.name
    target = proposal.table[name].dropna()
    table = Table("Column", "Used as", Column("Description, or the reason", overflow="fold"))
    for choice in proposal.choices:
        described = choice.use not in ("ID", "left out")
        details = render(proposal.problem.column(choice.column)) if described else choice.reason
        mark = " [yellow]?[/]" if choice.unsure else ""
        table.add_row(escape(choice.column), f"{choice.use}{mark}", escape(details))
    say = partial(console.print, soft_wrap=True)
    say(f"[bold]{escape(source)}[/]: {len(proposal.table)} rows, {len(proposal.choices)} columns")
    say(
        f"[bold]{escape(name)}[/]: {len(target)} values, {target.min():g} to {target.max():g}, "
        f"mean {format_value(target.mean())}, standard deviation {format_value(target.std())}"
    )
    console.print(table)
    say("\n".join(describe_gate(proposal)), markup=False)
    if proposal.is_weak:
        say("[bold red]Ridge regression is hardly better than predicting the mean: add columns that explain it.[/]")
    say("\n[bold]Check in include/problem.py[/]")
    say("\n".join(f"  {line}" for line in list_questions(proposal)), markup=False)
    say("[bold]Complete include/problem.md[/]: the model card quotes it")


def list_questions(proposal: Proposal) -> list[str]:
    """Return what the user should check."""
    questions = [f"{choice.column}: {choice.reason}" for choice in proposal.choices if choice.unsure]
    problem = proposal.problem
    if problem.limits != Limits():
        questions.append(f"limits: {problem.limits.max_missing_target:.0%} of the rows may lack a target")
    if problem.holdout_share != Problem.holdout_share:
        questions.append(f"holdout_share: {problem.holdout_share:.0%}, because there are few rows")
    rows, enough = len(select_holdout(proposal.table, problem)), proposal.enough_holdout_rows
    if not proposal.is_weak and rows < enough:
        questions.append(
            f"holdout_share: {rows} rows are held out; about {enough:.0f} are needed for 4 of 5 first versions as good "
            "as ridge regression to pass the gate"
        )
    return [*questions, "every column: unit and title are empty, ranges follow from the rows"]


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.adapt", description=__doc__)
    parser.add_argument("--table", required=True, help="CSV or Parquet file, or a folder of such files")
    parser.add_argument("--target", required=True, help="the column to predict, of numbers")
    parser.add_argument("--id", default="", help="the column that identifies rows")
    parser.add_argument("--force", action="store_true", help="overwrite what is not committed")
    options = parser.parse_args(arguments)
    if not options.table or not options.target:
        raise AdaptError("Name the table and the column to predict: make adapt TABLE=my.csv TARGET=price")
    return options


if __name__ == "__main__":
    sys.exit(main())
