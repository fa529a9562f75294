"""How a Python environment is built, with uv if it is installed, else with pip."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path

from ..exceptions import MLflowError
from ._programs import Programs, without_logins


@dataclass(frozen=True)
class Recipe:
    """All that decides what is in an environment.

    :param python_version: such as ``3.11``
    :param requirements: lines of a requirements file
    :param files: text of the files that these lines name
    :param options: of ``uv pip install`` or ``pip install``, for all of the machine to read on its command line
    :param index_urls: package indexes, the first in place of the default one; they may hold passwords
    """

    python_version: str
    requirements: list[str]
    files: dict[str, str] = field(default_factory=dict)
    options: list[str] = field(default_factory=list)
    index_urls: list[str] = field(default_factory=list, repr=False)

    @property
    def key(self) -> str:
        """A name that any change of the recipe changes."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def build(self, programs: Programs, inherited: Mapping[str, str], folder: Path, lock: int) -> None:
        """Build the environment.

        :param programs: runs uv or pip
        :param inherited: environment variables of uv and pip, which get all of them but Airflow's
        :param folder: that is not there yet
        :param lock: file descriptor of a lock that uv and pip hold
        :raises MLflowError: uv or pip failed, or the task was killed
        """
        # Airflow's connections and keys may be among them, and a package runs code of its own when it is built.
        variables = {name: value for name, value in inherited.items() if not name.startswith("AIRFLOW_")}
        variables |= {"PATH": tool_path(), **self._index_variables()}
        # Without bytecode every prediction would compile MLflow and scikit-learn again (3 s).
        variables["UV_COMPILE_BYTECODE"] = "1"
        create, install = self._commands(folder, variables["PATH"])
        self._run(programs, create, variables, lock)
        for name, text in {**self.files, "requirements.txt": "\n".join(self.requirements)}.items():
            (folder / name).write_text(text)
        self._run(programs, install, variables, lock)

    def _commands(self, folder: Path, path: str) -> tuple[list[str], list[str]]:
        python, options = str(folder / "bin" / "python"), [*self.options, "-r", str(folder / "requirements.txt")]
        if _has_uv(path):
            create = ["uv", "venv", "--seed", "--python", f"python{self.python_version}", str(folder)]
            return create, ["uv", "pip", "install", "--python", python, *options]
        create = [f"python{self.python_version}", "-m", "venv", str(folder)]
        return create, [python, "-m", "pip", "install", *options]

    def _run(self, programs: Programs, command: list[str], variables: dict[str, str], lock: int) -> None:
        if status := programs.run(command, variables, [lock]):
            raise MLflowError(
                f"The environment of the model could not be built: {shlex.join(command[:3])} ended with {status}; "
                f"what it printed is in the log. Wanted were Python {self.python_version} and these requirements: "
                f"{without_logins(', '.join(self.requirements))}"
            )

    def _index_variables(self) -> dict[str, str]:
        """Name the indexes to uv and to pip; on a command line, everyone could read their passwords."""
        if not self.index_urls:
            return {}
        first, others = self.index_urls[0], " ".join(self.index_urls[1:])
        variables = {"UV_DEFAULT_INDEX": first, "PIP_INDEX_URL": first}
        return variables | ({"UV_INDEX": others, "PIP_EXTRA_INDEX_URL": others} if others else {})


def tool_path() -> str:
    """Return a PATH on which the Python below this environment comes first and uv, if installed, can be found.

    uv passes over a Python that belongs to a virtual environment, and would look for another or download one.
    """
    folders = [str(Path(sys.base_prefix) / "bin")]
    try:
        from uv import find_uv_bin

        folders.append(str(Path(find_uv_bin()).parent))
    except (ImportError, FileNotFoundError):
        pass  # uv may be on PATH all the same
    return os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])


def _has_uv(path: str) -> bool:
    """Tell whether to use uv; Airflow's own virtual environments obey the same setting."""
    from airflow.configuration import conf

    wanted = conf.get("standard", "venv_install_method", fallback="auto").lower()
    return wanted == "uv" or (wanted == "auto" and shutil.which("uv", path=path) is not None)
