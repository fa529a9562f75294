from __future__ import annotations

import os
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

from include.mlflow_provider.hooks.pyfunc import MLflowPyfuncHook
from include.mlflow_provider.operators._requirements import complete, read_requirements, tool_path


def test_what_the_process_itself_needs_is_added_in_the_versions_used_here():
    assert complete(["mlflow_skinny==3.17.2", "scikit-learn"]) == [
        "mlflow_skinny==3.17.2",
        "scikit-learn",
        f"pandas=={version('pandas')}",
        f"pyarrow=={version('pyarrow')}",
    ]


def test_full_mlflow_brings_all_that_is_needed():
    assert complete(["mlflow==3.17.2"]) == ["mlflow==3.17.2"]


def test_what_is_there_already_stays_as_it_is():
    lines = ["--extra-index-url https://index", "mlflow-skinny>=3 # client", "Pandas==3.1.1", "pyarrow"]
    assert complete(lines) == lines


def test_a_python_that_uv_accepts_comes_first_on_the_path_of_the_build():
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = shutil.which(f"python{version}", path=tool_path())
    assert found == str(Path(sys.base_prefix) / "bin" / f"python{version}")


def test_the_path_of_the_build_ends_with_the_path_there_was():
    assert tool_path().endswith(os.environ["PATH"])


def test_constraints_are_fetched_and_their_content_is_part_of_the_requirements(services, tmp_path, monkeypatch):
    files = {"requirements.txt": "# made by hand\nmlflow\n\n-c constraints.txt\n", "constraints.txt": "pandas<3"}
    monkeypatch.setattr(MLflowPyfuncHook, "read_model_file", lambda self, uri, name: files[name])
    first = read_requirements(MLflowPyfuncHook(), "anywhere", tmp_path)
    assert first[0] == "mlflow"
    assert Path(first[1].removeprefix("-c ")).read_text() == "pandas<3"
    files["constraints.txt"] = "pandas<4"
    assert read_requirements(MLflowPyfuncHook(), "anywhere", tmp_path)[1] != first[1]
