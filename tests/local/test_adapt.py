"""A table of one's own: what is chosen for its columns, what is written, and what is refused."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any
from unittest.mock import ANY, Mock

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from include.data.checks import inspect
from include.data.reading import parse_rows
from include.data.split import select_holdout, select_rows, select_training
from include.evaluation.holdout import add_shuffled, assess
from include.model.training import build_model
from include.problem import PROBLEM
from include.spec import RESERVED, Category, Gate, Limits, Number, Problem, ProblemError
from local.adapt.__main__ import PROJECT, list_questions, main
from local.adapt.infer import AdaptError, Choice, choose_uses, clean_cells
from local.adapt.propose import Proposal, propose
from local.adapt.write import render_problem
from tests.checkout import commit, git
from tests.toy import AREA, DISTRICT, HOUSES, make_rows

WRITTEN = ("include/problem.py", "include/problem.md", "docker-compose.override.yml", ".env_example")
NAMES = ["lambda", "index", "class", "a b", "größe", "m²", "価格", "it's", 'say "so"', "a\\b", "{x}", "$5%", "[red]"]
NAMES += ["\u041e", "x" * 130]


def as_rows(frame: pd.DataFrame) -> pd.DataFrame:
    return parse_rows(frame.to_csv(index=False).encode(), "rows.csv")


def choose(**columns: Any) -> dict[str, Choice]:
    frame = pd.DataFrame({"y": range(40)} | columns)
    return {choice.column: choice for choice in choose_uses(clean_cells(as_rows(frame)), "y")}


def describe(frame: pd.DataFrame, target: str = "price", row_id: str | None = None, name: str = "rows.csv") -> Proposal:
    return propose(as_rows(frame), name, f"include/{name}", target, row_id)


def test_every_column_of_houses_has_a_use() -> None:
    problem = describe(make_rows(300), row_id="address").problem

    assert (problem.row_id, problem.target.name) == ("address", "price")
    assert problem.categories == [DISTRICT, "index"]
    assert problem.numbers == [AREA, "lambda"]


@pytest.mark.parametrize(
    ("cells", "use"),
    [
        ([f" {n} " if n % 10 else " " for n in range(40)], "number"),
        ([n / 7 for n in range(40)], "number"),
        ([True, False] * 20, "category"),
        ([True, None] * 20, "category"),
        (["1", "2", "A", "B"] * 10, "category"),
        (["20-30", "30-40"] * 20, "category"),
        (["2024-01-31", "2024-02-28"] * 20, "left out"),
        (["31.01.2024 12:30", "1.2.2024 08:15"] * 20, "left out"),
        (["31 Jan 2024", "Feb 1, 2024"] * 20, "left out"),
        ([f"A comment on {n}" for n in range(40)], "left out"),
        ([3] * 40, "left out"),
        ([3, None] * 20, "left out"),
        (["1.5", "1.50"] * 20, "left out"),
        (["yes", None] * 20, "category"),
        (["x"] * 40, "left out"),
        ([None] * 40, "left out"),
        ([1.5, 2.5, 3.5, None, None, None, None, None] * 5, "left out"),
    ],
)
def test_the_use_of_a_column_follows_from_its_cells(cells: list[Any], use: str) -> None:
    choice = choose(x=cells, z=[0.5, 1.5] * 20)["x"]

    assert choice.use == use
    assert choice.reason or use != "left out"


def test_what_a_person_should_check_is_marked_and_a_column_without_a_name_is_left_out() -> None:
    choices = choose(
        y=[0, 1] * 20,
        x=["?", *range(1, 40)],
        site=[1, 2, 3, 4] * 10,
        rooms=[0.5, 1.5, 2.5, 3.5] * 10,
        flag=[0, 1] * 20,
        **{"": range(40)},
    )

    unsure = {name: choice.reason for name, choice in choices.items() if choice.unsure}
    assert unsure.keys() == {"y", "x", "site"}
    assert "1 cells are not numbers, such as '?'" in unsure["x"]
    assert (choices["site"].use, choices[""].use) == ("number", "left out")


def test_parquet_cells_keep_their_meaning() -> None:
    days, noise = pd.date_range("2024-01-01", periods=40), np.random.default_rng(0).normal(size=40)
    frame = pd.DataFrame(
        {"day": days, "open": [True, False] * 20, "level": pd.Categorical(["a", "b"] * 20), "x": noise}
    )
    content = BytesIO()
    frame.assign(y=noise * 2).to_parquet(content)

    problem = propose(parse_rows(content.getvalue(), "t.parquet"), "t.parquet", "include/t.parquet", "y").problem

    assert problem.features[:2] == (
        Category("open", levels=("False", "True"), new_levels="warning"),
        Category("level", levels=("a", "b"), new_levels="warning"),
    )
    assert problem.numbers == ["x"]


@pytest.mark.parametrize(
    ("name", "ids", "proposed"),
    [
        ("id", range(40), True),
        ("customerId", [f"C{n}" for n in range(40)], True),
        ("case_no", range(40), True),
        ("id", np.arange(40) / 3, False),
        ("id", [*range(39), 0], False),
        ("id", [*range(39), None], False),
        ("width", range(40), False),
        ("idle", range(40), False),
    ],
)
def test_an_id_is_proposed_if_it_is_unique_and_named_like_one(name: str, ids: Any, proposed: bool) -> None:
    choices = choose(**{name: ids, "x": [0.5, 1.5] * 20})

    assert (choices[name].use == "ID") is proposed


def test_a_second_id_is_left_out() -> None:
    assert choose(id=range(40), key=range(40), x=[0.5, 1.5] * 20)["key"].use == "left out"


def test_repeated_rows_do_not_make_an_id_ambiguous() -> None:
    rows = make_rows(100)

    assert len(describe(pd.concat([rows, rows.head(5)]), row_id="address").table) == 100


def test_ranges_reach_beyond_what_was_observed() -> None:
    frame = make_rows(300).assign(change=np.linspace(-3, 5, 300), year=np.resize(np.arange(2011, 2021), 300))

    problem = describe(frame).problem

    assert problem.column("change") == Number("change", possible=(-50, 50), expected=(-3.8, 5.8))
    assert problem.column("year") == Number("year", possible=(0, 21_000), expected=(2010, 2021))
    assert problem.target.possible[0] == 0


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1, 1e6, 1e12])
@pytest.mark.parametrize("shift", [-1e3, 0, 1e3])
def test_no_observed_number_is_unexpected(scale: float, shift: float) -> None:
    rng = np.random.default_rng(0)
    frame = make_rows(60).assign(x=(rng.lognormal(size=60) + shift) * scale, price=rng.normal(size=60) * scale)

    problem = describe(frame).problem

    assert inspect(as_rows(frame[[*problem.inputs, "price"]]), problem).is_clean


def test_levels_are_listed_up_to_twenty() -> None:
    rng = np.random.default_rng(0)
    frame = make_rows(300).assign(
        site=rng.choice(["1", "2", "A"], 300), town=rng.choice([f"Town {n}" for n in range(40)], 300)
    )
    frame.loc[::9, "index"] = None

    problem = describe(frame).problem

    assert problem.column("site") == Category("site", levels=("1", "2", "A"), new_levels="warning")
    assert problem.column("town") == Category("town", new_levels="warning")
    assert problem.column("index") == Category("index", levels=("a", "b", "c"), new_levels="warning", nullable=True)


def test_the_limit_lies_between_the_model_and_the_mean() -> None:
    proposal = describe(make_rows(300))

    assert proposal.ridge == pytest.approx(20, rel=0.15)  # the noise of the toy rows
    assert proposal.ridge < proposal.problem.gate.max_rmse < proposal.mean


def test_a_useless_table_gets_the_limit_of_the_mean_and_a_warning() -> None:
    proposal = describe(make_rows(300).assign(price=np.random.default_rng(1).normal(100, 10, 300)))

    assert proposal.is_weak
    assert proposal.problem.gate.max_rmse == pytest.approx(proposal.mean, rel=0.01)


def test_subgroups_are_categories_of_few_groups_none_of_them_small() -> None:
    rng = np.random.default_rng(0)
    frame = make_rows(400).assign(
        rare=np.where(np.arange(400) % 100, "common", "rare"), town=rng.choice([f"Town {n}" for n in range(9)], 400)
    )

    gate = describe(frame).problem.gate

    assert gate.subgroup_max_rmse == dict.fromkeys([DISTRICT, "index"], pytest.approx(1.25 * gate.max_rmse, rel=0.01))


def test_a_group_that_is_harder_to_predict_gets_a_higher_limit() -> None:
    rows = make_rows(400)
    rows["price"] += np.random.default_rng(1).normal(0, 120, 400) * (rows[DISTRICT] == "south")

    gate = describe(rows).problem.gate

    assert gate.subgroup_max_rmse[DISTRICT] > 1.25 * 110
    assert gate.subgroup_max_rmse["index"] < gate.subgroup_max_rmse[DISTRICT]


@pytest.mark.parametrize(("rows", "passed"), [(200, 14), (300, 18)])
def test_the_first_model_of_a_sane_table_passes(rows: int, passed: int) -> None:
    """Of 20 tables of the toy problem with much noise (R2 about 0.6), so many pass at least: few rows show little."""

    def passes(seed: int) -> bool:
        frame = make_rows(rows, seed)
        frame["price"] += np.random.default_rng(seed + 1000).normal(0, 75, rows)
        problem = describe(frame).problem
        table = select_rows(inspect(as_rows(frame), problem), "rows.csv", problem)
        training, holdout = select_training(table, problem), select_holdout(table, problem).reset_index(drop=True)
        model = build_model(problem, "RidgeCV", {}).fit(training[problem.inputs], training["price"])
        answer = pd.DataFrame({"prediction": model.predict(add_shuffled(holdout, problem))})
        facts = {"version": "1", "mean": training["price"].mean()}
        return bool(assess(holdout, {"challenger": answer}, problem, problem.gate, **facts)["verdict"]["passed"])

    assert sum(passes(seed) for seed in range(20)) >= passed


def test_the_message_has_the_holdout_rows_that_the_gate_needs() -> None:
    rows = make_rows(120)
    rows["price"] += np.random.default_rng(0).normal(0, 120, 120)

    (question,) = [line for line in list_questions(describe(rows)) if line.startswith("holdout_share")]

    assert re.fullmatch(r"holdout_share: \d\d rows are held out; about \d\d are needed for 4 of 5 first .*", question)
    assert not [line for line in list_questions(describe(make_rows(120))) if line.startswith("holdout_share")]


def test_a_small_table_sets_more_rows_aside_until_the_gate_can_judge() -> None:
    for seed in range(5):
        rows = make_rows(30, seed)
        problem = describe(rows).problem
        table = select_rows(inspect(as_rows(rows), problem), "rows.csv", problem)
        assert (table["_split"] == "holdout").sum() >= 7


def test_a_limit_is_raised_if_most_targets_are_missing() -> None:
    rows = make_rows(300)
    rows.loc[100:, "price"] = None

    assert describe(rows).problem.limits == Limits(max_missing_target=0.7)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("House prices", "house_prices"),
        ("2024-houses", "table_2024_houses"),
        ("Größe", "grosse"),
        ("価格", "table"),
        ("a" * 50, "a" * 40),
        ("__x__", "x"),
    ],
)
def test_names_follow_from_the_file(name: str, slug: str) -> None:
    problem = describe(make_rows(60), name=f"{name}.csv").problem

    assert problem.name == slug
    assert problem.registered_model == f"Reg_{slug}"
    assert problem.predictions_file == f"{slug}_predictions.csv"


def run(source: str) -> Problem:
    names: dict[str, Any] = {}
    exec(source, names)  # noqa: S102
    return names["PROBLEM"]


@pytest.mark.parametrize("problem", [PROBLEM, HOUSES])
def test_rendered_source_evaluates_to_the_problem(problem: Problem) -> None:
    assert run(render_problem(problem, [], PROJECT)) == problem


def test_rendered_source_keeps_odd_names_and_passes_ruff(tmp_path: Path) -> None:
    odd = "".join(NAMES)
    problem = replace(
        HOUSES,
        title=odd,
        target=Number(odd, odd, unit=odd, possible=(-1e300, 1e300), expected=(-12345.678, 1e15)),
        features=(
            *(Category(f"{name} 2", levels=(name, f"{name}!"), nullable=True) for name in NAMES),
            *map(Number, NAMES),
        ),
        gate=Gate(max_rmse=1e-7, subgroup_max_rmse={f"{name} 2": 2.5 for name in NAMES}),
        limits=Limits(max_missing=0.25),
    )

    source = render_problem(problem, ["A comment."], PROJECT)

    assert run(source) == problem
    file = tmp_path / "problem.py"
    file.write_text(source)
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [Path(sys.executable).with_name("ruff"), *command, "--config", PROJECT / "pyproject.toml", file]
        )
        assert done.returncode == 0


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout with the files that are written, all committed."""
    project = tmp_path / "project"
    for name in (*WRITTEN, "pyproject.toml"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, project / name)
    commit(project)
    return project


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "House prices.csv"
    make_rows(120).to_csv(file, index=False)
    return file


def adapt(project: Path, table: Path | str, target: str = "price", *more: str) -> tuple[int, str]:
    printed = StringIO()
    console = Console(file=printed, width=100, highlight=False)
    code = main([f"--table={table}", f"--target={target}", *more], project, console)
    return code, printed.getvalue()


def problem_in(project: Path) -> Problem:
    return run((project / "include/problem.py").read_text())


def test_a_table_is_described_in_the_project(project: Path, table: Path) -> None:
    prose = project / "include/problem.md"
    headings = re.findall("^#.*", prose.read_text(), re.MULTILINE)
    containers = {name: (project / name).read_text() for name in WRITTEN[2:]}

    code, printed = adapt(project, table, "price", "--id=address")

    problem = problem_in(project)
    assert code == 0, printed
    assert (problem.table, problem.row_id) == ("include/house_prices.csv", "address")
    assert (project / problem.table).read_bytes() == table.read_bytes()
    assert re.findall("^#.*", prose.read_text(), re.MULTILINE) == headings
    assert "Describe here" in prose.read_text()
    for name, text in containers.items():
        assert PROBLEM.artifact_bucket in text
        assert (project / name).read_text() == text.replace(PROBLEM.artifact_bucket, "mlflowdatahouseprices")
    assert not list(project.glob(".adapt-*"))


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """A folder with the two parts of a table."""
    folder, rows = tmp_path / "House prices", make_rows(120)
    (folder / "2025").mkdir(parents=True)
    rows.head(70).to_csv(folder / "2025" / "b.csv", index=False)
    rows.tail(50).to_csv(folder / "a.csv", index=False)
    return folder


def test_a_folder_of_parts_is_described_and_copied(project: Path, parts: Path) -> None:
    (parts / "notes.txt").write_text("not a part")
    code, printed = adapt(project, f"{parts}/", "price", "--id=address")

    assert code == 0, printed
    assert problem_in(project).table == "include/house_prices/"
    copies = {name: project / "include/house_prices" / name for name in ("2025/b.csv", "a.csv")}
    assert {*(project / "include/house_prices").rglob("*.*")} == {*copies.values()}
    assert all(copy.read_bytes() == (parts / name).read_bytes() for name, copy in copies.items())
    assert "120 rows" in printed


def test_a_folder_in_include_stays_where_it_is(project: Path, parts: Path) -> None:
    shutil.copytree(parts, folder := project / "include" / "Parts")
    commit(project)

    assert adapt(project, folder) == (0, ANY)
    assert problem_in(project).table == "include/Parts/"
    assert "Parts" not in git(project, "status", "--porcelain")


def test_a_part_with_other_columns_is_named(project: Path, parts: Path) -> None:
    make_rows(5).drop(columns="index").to_csv(parts / "c.csv", index=False)

    assert adapt(project, parts) == (1, "c.csv has other columns than 2025/b.csv: it lacks column index\n")
    assert git(project, "status", "--porcelain") == ""


def test_parts_are_not_copied_among_other_files(project: Path, parts: Path) -> None:
    adapt(project, parts)
    commit(project)
    (parts / "a.csv").unlink()
    code, printed = adapt(project, parts)

    assert code == 1
    assert "include/house_prices/a.csv: remove them" in printed


def test_the_summary_names_columns_gate_and_doubts(project: Path, table: Path) -> None:
    printed = adapt(project, table)[1]

    facts = ("120 rows, 6 columns", "ridge regression has an RMSE of", "max_rmse is", "lambda: has 8 different")
    for fact in (*facts, "make demo"):
        assert fact in printed
    assert [line for line in printed.splitlines() if "address" in line and "left out" in line]


def test_a_table_in_include_stays_where_it_is(project: Path) -> None:
    file = project / "include" / "houses.csv"
    make_rows(60).to_csv(file, index=False)

    assert adapt(project, file)[0] == 0
    assert problem_in(project).table == "include/houses.csv"


def test_a_project_can_be_adapted_again_once_it_is_committed(project: Path, table: Path) -> None:
    adapt(project, table)
    commit(project)

    code, printed = adapt(project, table, AREA)

    assert code == 0, printed
    assert problem_in(project).target.name == AREA
    assert git(project, "status", "--porcelain").split() == ["M", "include/problem.py"]


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_not_committed_is_overwritten_by_force_only(project: Path, table: Path, name: str) -> None:
    file = project / name
    file.write_text(file.read_text() + "\n# mine\n")
    before = file.read_text()

    code, printed = adapt(project, table)

    assert (code, file.read_text()) == (1, before)
    assert name in printed
    assert "FORCE=1" in printed
    assert not (project / "include/house_prices.csv").exists()
    assert adapt(project, table, "price", "--force")[0] == 0


def test_a_copy_of_the_project_without_git_needs_force(project: Path, table: Path) -> None:
    shutil.rmtree(project / ".git")

    assert "FORCE=1" in adapt(project, table)[1]
    assert adapt(project, table, "price", "--force")[0] == 0


def test_runs_of_the_earlier_problem_are_mentioned(project: Path, table: Path) -> None:
    (project / ".local" / "mlflow").mkdir(parents=True)

    assert "earlier problem stay" in adapt(project, table)[1]


def test_nothing_changes_if_a_file_cannot_be_written(
    project: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.copymode", Mock(side_effect=[None, OSError("No space left on device")]))

    assert adapt(project, table) == (1, "No space left on device\n")
    assert git(project, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("t.txt", b"a,b\n1,2\n", "does not exist or does not end in .csv or .parquet: name such a file, or a folder"),
        ("t.csv", b"a;y\n1;2\n", "save it with commas"),
        ("t.csv", b"a,a ,y\n1,2,3\n", "more than one column 'a'"),
        ("t.parquet", b"a,b\n1,2\n", "is not a Parquet file"),
        ("none.csv", None, "name such a file"),
        ("s3://data/t.csv", None, "download it"),
        ("local/schemas", None, "name such a file"),
    ],
)
def test_what_is_not_a_table_is_refused(
    project: Path, tmp_path: Path, name: str, content: bytes | None, error: str
) -> None:
    table: Path | str = name
    if content is not None:
        (table := tmp_path / name).write_bytes(content)

    code, printed = adapt(project, table, "y")

    assert code == 1
    assert error in printed
    assert content is not None or f"TABLE={table}" in printed


@pytest.mark.parametrize("option", ["--table=", "--target="])
def test_table_and_target_must_be_named(project: Path, table: Path, option: str) -> None:
    code, printed = adapt(project, table, "price", option)

    assert code == 1
    assert "make adapt TABLE=my.csv TARGET=price" in printed


@pytest.mark.parametrize(
    ("frame", "target", "error"),
    [
        (make_rows(60), "Prize", "TARGET=Prize is not a column of the table. Did you mean price? Its columns: address"),
        (make_rows(60).assign(price=5), "price", "Every price is 5"),
        (make_rows(60), "index", "60 of 60 cells of the target index are not numbers, such as '"),
        (
            make_rows(60).assign(price=["5 k€", *range(59)]),
            "price",
            "1 of 60 cells of the target price are not numbers",
        ),
        (make_rows(60).assign(price=[True, False] * 30), "price", "Regression needs numbers"),
        (make_rows(29), "price", "29 rows have a target, 30 is the minimum"),
        (make_rows(60)[["price"]], "price", "No column is left to predict price from"),
        (make_rows(60)[["price", "address"]], "price", "address: 60 different texts"),
    ],
)
def test_a_target_that_cannot_be_predicted_is_refused(frame: pd.DataFrame, target: str, error: str) -> None:
    with pytest.raises(AdaptError) as refused:
        describe(frame, target)

    assert error in str(refused.value)


@pytest.mark.parametrize(
    ("row_id", "change", "error"),
    [
        ("adress", {}, "Did you mean address?"),
        ("price", {}, "is the target"),
        ("index", {}, "have an ID that another row has"),
        ("address", {"address": [None, *map(str, range(59))]}, "1 cells of ID=address are missing"),
    ],
)
def test_an_id_that_identifies_nothing_is_refused(row_id: str, change: dict[str, Any], error: str) -> None:
    with pytest.raises(AdaptError, match="ID") as refused:
        describe(make_rows(60).assign(**change), row_id=row_id)

    assert error in str(refused.value)


@pytest.mark.parametrize("name", RESERVED["features"])
def test_a_name_that_the_pipeline_uses_is_refused(name: str) -> None:
    with pytest.raises(ProblemError, match=f"has the column '{name}'.*rename it in the table"):
        describe(make_rows(60).rename(columns={AREA: name}))


def test_cells_of_several_values_are_refused() -> None:
    content = BytesIO()
    pd.DataFrame({"x": [[1, 2]] * 40, "y": range(40)}).to_parquet(content)

    with pytest.raises(AdaptError, match="Cells of x hold more than one value"):
        propose(parse_rows(content.getvalue(), "t.parquet"), "t.parquet", "include/t.parquet", "y")
