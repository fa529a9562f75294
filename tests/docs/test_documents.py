"""What the documents name exists: pages, headings, files, symbols, commands, tasks and parameters."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from include.problem import PROBLEM
from include.services import assets
from local.settings import PROJECT

README = (PROJECT / "README.md").read_text()
DOCUMENTS = [PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
DOCUMENTS += [*sorted((PROJECT / "docs").glob("*.md")), *sorted((PROJECT / "include/mlflow_provider").rglob("*.md"))]
FOLDERS = ("dags", "include", "local", "containers", "tests", "docs", r"\.ci", r"\.github")
CHOSEN_BY_THE_READER = {"include/possum.jpeg", "include/houses.csv"}
IDENTIFIER = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+")
# Names of Airflow and the provider's version 1.1.0, of a data set in scikit-learn, and of an OpenMetadata service.
ELSEWHERE = {"all_done", "all_success", "unset_env_variables", "mean_alcohol", "local_mlflow"}
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: str(file.relative_to(PROJECT)))


def anchors(document: Path) -> set[str]:
    """Return GitHub's anchors of the headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def code(text: str) -> list[str]:
    """Return code spans and blocks."""
    blocks = re.findall(r"^```.*?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return blocks + re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def identifiers(text: str) -> set[str]:
    """Return the code spans that are names with underscores; those of the possums only while they are the problem."""
    names = {span for span in code(text) if IDENTIFIER.fullmatch(span)}
    return {name for name in names if PROBLEM.name == "possum" or "possum" not in name}


@cache
def words_of_the_code() -> set[str]:
    """Return the words of all files but Markdown; of the tests, only their names."""
    files = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split()
    words: set[str] = set()
    for file in (PROJECT / name for name in files if not name.endswith(".md") and (PROJECT / name).exists()):
        found = re.findall(r"\w+", file.read_text(errors="ignore"))
        is_test = file.is_relative_to(PROJECT / "tests")
        words.update(word for word in found if not is_test or word.startswith("test_"))
    return words


@cache
def dags() -> dict[str, DAG]:
    return DagBag(PROJECT / "dags").dags


def asset_names() -> set[str]:
    return {value.name for value in vars(assets).values() if hasattr(value, "uri")}


def section(text: str, heading: str) -> str:
    return re.split(r"^#", text.partition(f"\n{heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


@each_document
def test_links_lead_to_pages_and_headings(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if link.startswith(("http://", "https://", "#")):
            continue
        name, _, anchor = link.partition("#")
        page = document.parent / name
        assert page.exists(), link
        assert not anchor or anchor in anchors(page), link


@each_document
def test_a_link_with_a_name_in_code_leads_to_a_file_that_has_it(document: Path) -> None:
    for name, file in re.findall(r"\[`([^`]+)`\]\(([^)#]+\.(?:py|yml)|\S*/run)\)", document.read_text()):
        assert name in (document.parent / file).read_text(), f"{name} is not in {file}"


@each_document
def test_files_exist(document: Path) -> None:
    path = re.compile(rf"(?<![\w/.-])(?:{'|'.join(FOLDERS)})/[\w./*-]+")
    found = {name.rstrip(".") for text in code(document.read_text()) for name in path.findall(text)}
    missing = [
        name
        for name in found - CHOSEN_BY_THE_READER
        if not (name.startswith("include/plots/") or any(PROJECT.glob(name.rstrip("/"))))
    ]
    assert missing == []


def test_the_folders_of_the_readme_exist() -> None:
    tree = section(README, "## Where things are").split("```")[1]
    parent, found = Path(), []
    for line in tree.strip().splitlines():
        names = line[:27].split()
        parent = parent if line.startswith(" ") else PROJECT / names[0]
        found += [parent / name for name in names] if line.startswith(" ") else [parent]
    assert len(found) > 15
    assert [str(file) for file in found if not file.exists()] == []


@each_document
def test_commands_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    named = {name for text in code(document.read_text()) for name in re.findall(r"\bmake ([a-z][a-z-]*)", text)}
    assert named <= targets


@each_document
def test_names_in_code_are_those_of_the_code(document: Path) -> None:
    known = words_of_the_code() | {f"holdout_{word}" for word in words_of_the_code()} | ELSEWHERE
    assert identifiers(document.read_text()) - known - asset_names() == set()


@pytest.mark.parametrize("dag_id", ["feature_eng", "train", "promote", "predict"])
def test_the_readme_names_the_tasks_and_assets_of_each_dag(dag_id: str) -> None:
    dag = dags()[dag_id]
    known = {part for task_id in dag.task_ids for part in task_id.split(".")} | set(dags()) | asset_names()
    named = identifiers(section(README, f"### {dag_id}"))

    assert len(named & known) >= 3
    assert named <= known


def test_every_dag_is_in_the_readme() -> None:
    assert set(dags()) <= {*code(README), *re.findall(r"^### (\w+)$", README, re.MULTILINE)}


@pytest.mark.parametrize(("dag_id", "page"), [("promote", "promotion.md"), ("rollback", "promotion.md")])
def test_the_steps_in_the_page_are_the_tasks(dag_id: str, page: str) -> None:
    block = code((PROJECT / "docs" / page).read_text())[0]
    steps = block.partition(f"{dag_id}:")[2].partition("\nrollback:")[0]
    assert set(re.findall(r"\w+", re.sub(r"\[.*?\]", "", steps))) == set(dags()[dag_id].task_ids)


@pytest.mark.parametrize(("dag_id", "page"), [("promote", "promotion.md"), ("monitor", "monitoring.md")])
def test_the_parameters_in_the_page_are_those_of_the_form(dag_id: str, page: str) -> None:
    text = (PROJECT / "docs" / page).read_text()
    table = text.partition("| parameter |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \|", table, re.MULTILINE)
    params = dags()[dag_id].params.dump()

    assert [name for name, _ in rows] == list(params)
    if dag_id == "monitor":
        assert [float(value) for _, value in rows] == list(params.values())
