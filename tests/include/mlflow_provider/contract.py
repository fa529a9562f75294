"""What airflow-provider-mlflow 1.1.0 promised, read from its wheel, beside what this package has.

``python -m tests.include.mlflow_provider.contract`` prints the comparison as the table of docs/compatibility.md.
"""

import ast
import importlib
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from uv import find_uv_bin

from .wheels import run

OLD = "airflow-provider-mlflow==1.1.0"
PACKAGE = "include.mlflow_provider"
REQUIRED = "required"


@dataclass(frozen=True)
class Argument:
    """One argument; its default is as a literal shows it, or the name of what it refers to."""

    kind: str
    default: str = REQUIRED


@dataclass
class Surface:
    """What a DAG sees of a class."""

    module: str
    name: str
    arguments: dict[str, Argument]
    template_fields: tuple[str, ...] = ()
    methods: dict[str, dict[str, Argument]] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return f"{self.module}.{self.name}"


def fetch(folder: Path) -> Path:
    """Install 1.1.0, without what it needs, and return the folder of its package."""
    run(find_uv_bin(), "pip", "install", "--no-deps", "--python", sys.executable, "--target", folder, OLD)
    return folder / "mlflow_provider"


def promised(package: Path) -> Iterator[Surface]:
    """Yield every class of 1.1.0. It is read, not imported: it needs Airflow 2."""
    for file in sorted(package.rglob("*.py")):
        module = ".".join(file.relative_to(package).with_suffix("").parts)
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef):
                yield _read_class(module, node)


def offered(old: Surface) -> Surface:
    """Return this package's class of the same path.

    :raises ImportError: the module does not exist
    :raises AttributeError: the class does not exist
    """
    found = getattr(importlib.import_module(f"{PACKAGE}.{old.module}"), old.name)
    methods = {name: _signature(getattr(found, name)) for name in old.methods if _has(found, name)}
    fields = tuple(getattr(found, "template_fields", ()))
    return Surface(old.module, old.name, _constructor(found), fields, methods)


def _constructor(found: type) -> dict[str, Argument]:
    """Return the arguments of a class, and those that its ``**kwargs`` hand to the base classes of this package."""
    arguments = _signature(found.__init__)
    for base in found.__mro__[1:]:
        if "kwargs" in arguments and base.__module__.startswith(PACKAGE):
            arguments = _signature(base.__init__) | arguments
    return arguments


def _has(found: type, name: str) -> bool:
    """Return whether a class has a method from this package; those of Airflow's classes may only raise."""
    return any(name in vars(base) for base in found.__mro__ if base.__module__.startswith(PACKAGE))


def table(package: Path) -> str:
    """Return a Markdown table: for each class of 1.1.0 what a DAG that uses it finds."""
    rows = [
        "| Class of 1.1.0 | Its arguments | Arguments added | Template fields added | Methods gone |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*rows, *(_row(old, offered(old)) for old in promised(package))])


def broken(old: dict[str, Argument], new: dict[str, Argument]) -> list[str]:
    """Name the arguments that a call written for the old signature would miss.

    An argument may have got a default that it had not. What was positional keeps its place.
    """
    lost = [name for name, argument in old.items() if not _serves(argument, new.get(name))]
    positional = [name for name, argument in old.items() if argument.kind == "POSITIONAL_OR_KEYWORD"]
    moved = [name for name, now in zip(positional, new, strict=False) if name != now]
    surplus = [name for name, argument in new.items() if name not in old and argument.default == REQUIRED]
    return sorted({*lost, *moved, *(name for name in surplus if not new[name].kind.startswith("VAR_"))})


def _serves(old: Argument, new: Argument | None) -> bool:
    return new is not None and new.kind == old.kind and old.default in (REQUIRED, new.default)


def _row(old: Surface, new: Surface) -> str:
    verdict = ", ".join(f"`{name}` differs" for name in broken(old.arguments, new.arguments)) or "accepted"
    cells = [
        f"`{old.path}`",
        verdict if old.arguments else "none",
        _names(name for name in new.arguments if name not in old.arguments),
        _names(name for name in new.template_fields if name not in old.template_fields),
        _names(name for name in old.methods if name not in new.methods),
    ]
    return f"| {' | '.join(cells)} |"


def _names(names: Iterator[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "-"


def _read_class(module: str, node: ast.ClassDef) -> Surface:
    values = {target.id: value for target, value in _assignments(node) if isinstance(target, ast.Name)}
    functions = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
    fields = ast.literal_eval(values["template_fields"]) if "template_fields" in values else ()
    return Surface(
        module,
        node.name,
        _arguments(functions["__init__"], values),
        tuple(dict.fromkeys(fields)),
        {name: _arguments(item, values) for name, item in functions.items() if not name.startswith("_")},
    )


def _assignments(node: ast.ClassDef) -> Iterator[tuple[ast.expr, ast.expr]]:
    for item in node.body:
        if isinstance(item, ast.Assign):
            yield item.targets[0], item.value
        elif isinstance(item, ast.AnnAssign) and item.value:
            yield item.target, item.value


def _arguments(function: ast.FunctionDef, values: dict[str, ast.expr]) -> dict[str, Argument]:
    """Read a signature; a default that names a variable of the class is that variable's value."""

    def shown(default: ast.expr | None) -> str:
        if default is None:
            return REQUIRED
        if isinstance(default, ast.Name):
            default = values.get(default.id, default)
        return ast.unparse(default)

    given = function.args
    defaults = [None] * (len(given.args) - len(given.defaults)) + given.defaults
    found = {a.arg: Argument("POSITIONAL_OR_KEYWORD", shown(d)) for a, d in zip(given.args, defaults, strict=True)}
    found |= {
        a.arg: Argument("KEYWORD_ONLY", shown(d)) for a, d in zip(given.kwonlyargs, given.kw_defaults, strict=True)
    }
    if given.kwarg:
        found[given.kwarg.arg] = Argument("VAR_KEYWORD")
    del found["self"]
    return found


def _signature(function: Any) -> dict[str, Argument]:
    found = inspect.signature(function).parameters.values()
    return {item.name: Argument(item.kind.name, _shown(item.default)) for item in found if item.name != "self"}


def _shown(default: Any) -> str:
    if default is inspect.Parameter.empty:
        return REQUIRED
    return default.__name__ if isinstance(default, type) else repr(default)


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        print(table(fetch(Path(folder))))  # noqa: T201 # a command-line program
