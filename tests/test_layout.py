"""The layout of the project: who knows the table, what imports what, and what is imported late."""

import ast
import re
import subprocess
from collections.abc import Iterator
from graphlib import TopologicalSorter
from itertools import chain
from pathlib import Path

import pytest

from include.problem import PROBLEM

ROOT = Path(__file__).parents[1]
ROOMS = ("dags", "include", "local", "containers")
DESCRIPTION = {"include/problem.py", "include/problem.md", PROBLEM.table, f"include/{PROBLEM.illustration}"}
EXAMPLE = {"include/possum.csv", "include/possum.png"}  # may stay when the problem is another one
TABLE_WORDS = re.compile(rb"possum|animal|(?<!\.)\btails?\b", re.IGNORECASE)  # pandas has a method tail

# Each line may import what is above it; the packages of one line may not import each other.
LAYERS = (
    ("include.spec",),
    ("include.data",),
    ("include.evaluation",),
    ("include.model",),
    ("include.monitoring",),
    ("include.charts",),
    ("include.settings", "include.problem"),
    ("include.mlflow_provider",),
    ("include.services",),
    ("include.serving", "include.openmetadata"),
    ("include.tasks",),
    ("dags",),
    ("local",),
)
LAYER = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}
PURE = ("data", "evaluation", "model", "monitoring", "charts")
FORBIDDEN = ("airflow", "boto3", "botocore", "mlflow", "include.problem", "include.settings", "include.services")
STORED_WITH_THE_MODEL = "include/model/interval_regressor.py"
HEAVY = {"matplotlib", "mlflow", "numpy", "pandas", "pandera", "scipy", "sklearn"}


def tracked(folder: str) -> list[str]:
    """Return the files of a folder that git knows."""
    listed = subprocess.run(["git", "ls-files", "-z", folder], cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def modules(*folders: str) -> list[str]:
    files = chain.from_iterable((ROOT / folder).rglob("*.py") for folder in folders)
    return sorted(file.relative_to(ROOT).as_posix() for file in files)


def imported(name: str) -> Iterator[str]:
    """Yield the full names of all modules that a file imports, and of what it takes from them."""
    package = Path(name).parent.parts
    for node in ast.walk(ast.parse((ROOT / name).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *filter(None, [node.module])])
            yield from chain([base], (f"{base}.{alias.name}" for alias in node.names))


def is_in(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def named(file: str) -> str:
    """Return the name of the module in a file."""
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def room_of(module: str) -> str | None:
    """Return the room that a module is in, or None if it is not of this project."""
    return next((room for room in LAYER if is_in(module, room)), None)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is not a git checkout")
@pytest.mark.parametrize("folder", ROOMS)
def test_only_the_description_of_the_problem_knows_the_table(folder: str) -> None:
    names = sorted(set(tracked(folder)) - DESCRIPTION - EXAMPLE)
    contents = {name: (ROOT / name).read_bytes() for name in names}
    found = [
        f"{name}:{number}: {line.decode().strip()}"
        for name, content in contents.items()
        if b"\0" not in content
        for number, line in enumerate(content.splitlines(), start=1)
        if TABLE_WORDS.search(line)
    ]

    assert names
    assert found == []
    assert [name for name in names if TABLE_WORDS.search(name.encode())] == []


def test_modules_do_not_import_each_other_in_a_ring() -> None:
    files = {named(name): name for name in modules("include", "dags", "local")}
    graph = {module: {other for other in imported(name) if other in files} - {module} for module, name in files.items()}

    TopologicalSorter(graph).prepare()


def test_every_module_has_a_layer() -> None:
    names = [name for name in modules("include", "dags", "local") if (ROOT / name).read_text()]

    assert [name for name in names if room_of(named(name)) is None] == []


@pytest.mark.parametrize("name", modules("include", "dags", "local"))
def test_imports_go_down_only(name: str) -> None:
    own = room_of(named(name))
    others = {module: room for module in imported(name) if (room := room_of(module)) not in (own, None)}

    assert [module for module, room in others.items() if LAYER[room] >= LAYER[own]] == []


@pytest.mark.parametrize("name", ["include/spec.py", *modules(*(f"include/{room}" for room in PURE))])
def test_pure_rooms_know_neither_services_nor_the_problem(name: str) -> None:
    forbidden = [module for module in imported(name) if any(is_in(module, package) for package in FORBIDDEN)]

    if name == STORED_WITH_THE_MODEL:
        assert {module.partition(".")[0] for module in forbidden} == {"mlflow"}
        assert not any(is_in(module, "include") for module in imported(name)), "it runs where the project is missing"
    else:
        assert forbidden == []


@pytest.mark.parametrize("name", modules("include/mlflow_provider"))
def test_the_provider_stands_alone(name: str) -> None:
    outside = [module for module in imported(name) if is_in(module, "include")]

    assert [module for module in outside if not is_in(module, "include.mlflow_provider")] == []


@pytest.mark.parametrize("name", modules("dags", "include/tasks"))
def test_heavy_libraries_are_imported_inside_of_tasks(name: str) -> None:
    statements = [*ast.parse((ROOT / name).read_text()).body]
    at_import = [node for node in statements if isinstance(node, ast.Import | ast.ImportFrom)]
    names = chain.from_iterable(
        [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        for node in at_import
    )

    assert not HEAVY.intersection(module.partition(".")[0] for module in names)
