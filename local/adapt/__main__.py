"""The command behind ``make adapt``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from include.data.table import TableError, parse_rows
from include.spec import ProblemError
from local.adapt.infer import AdaptError
from local.adapt.propose import make_slug, propose
from local.adapt.report import describe_gate, report
from local.adapt.write import check_committed, render_files, write_all

PROJECT = Path(__file__).parents[2]


def main(arguments: Sequence[str] | None = None, project: Path = PROJECT, console: Console | None = None) -> int:
    """Adapt the project to a table; 1 if that is not possible, and then nothing has changed."""
    console = console or Console(highlight=False)
    try:
        adapt(_parse(arguments), project, console)
    except (AdaptError, TableError, ProblemError) as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    return 0


def adapt(options: argparse.Namespace, project: Path, console: Console) -> None:
    """Describe the table in ``include/problem.py``, and print what was chosen.

    :raises AdaptError: the table cannot be used, or what would be overwritten is not committed
    """
    content = read_table(options.table)
    place, copies = place_table(Path(options.table).expanduser(), content, project)
    rows = parse_rows(content, options.table)
    proposal = propose(rows, options.table, place, options.target.strip(), options.id and options.id.strip())
    comments = ["Expected ranges are those of the table, and a tenth beyond them.", *describe_gate(proposal)]
    files = copies | render_files(proposal.problem, comments, project)
    if not options.force:
        check_committed(files, project)
    write_all(files)
    for part in report(proposal, options.table):
        console.print(part, soft_wrap=isinstance(part, str))
    console.print(
        f"\nWritten: {', '.join(str(file.relative_to(project)) for file in files)}", markup=False, soft_wrap=True
    )
    if (project / ".local" / "mlflow").exists():
        console.print(
            "Runs of the earlier problem stay in the local stack. Restart it (make down); make clean deletes them."
        )
    console.print("Next: [bold]make demo[/]")


def read_table(table: str) -> bytes:
    """Return the content of a table in a local file."""
    if table.startswith("s3://"):
        raise AdaptError(f"TABLE={table} is not a local file: download it, and enter the URI as `table` afterwards")
    if not table.lower().endswith((".csv", ".parquet")):
        raise AdaptError(f"TABLE={table} does not end in .csv or .parquet: save the table as one of them")
    try:
        return Path(table).expanduser().read_bytes()
    except FileNotFoundError:
        raise AdaptError(f"TABLE={table} does not exist: name a CSV or Parquet file") from None
    except OSError as error:
        raise AdaptError(f"TABLE={table} cannot be read: {error}") from error


def place_table(file: Path, content: bytes, project: Path) -> tuple[str, dict[Path, bytes]]:
    """Return where the pipeline reads the table, and a copy for the project unless it is in ``include`` already."""
    if file.resolve().is_relative_to((project / "include").resolve()):
        return file.resolve().relative_to(project.resolve()).as_posix(), {}
    copy = project / "include" / f"{make_slug(file.stem)}{file.suffix.lower()}"
    known = copy.exists() and copy.read_bytes() == content
    return copy.relative_to(project).as_posix(), {} if known else {copy: content}


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.adapt", description=__doc__)
    parser.add_argument("--table", required=True, help="CSV or Parquet file")
    parser.add_argument("--target", required=True, help="the column to predict, of numbers")
    parser.add_argument("--id", help="the column that identifies rows")
    parser.add_argument("--force", action="store_true", help="overwrite what is not committed")
    options = parser.parse_args(arguments)
    if not options.table or not options.target:
        raise AdaptError("Name the table and the column to predict: make adapt TABLE=my.csv TARGET=price")
    return options


if __name__ == "__main__":
    sys.exit(main())
