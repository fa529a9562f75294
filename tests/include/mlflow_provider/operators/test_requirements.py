from __future__ import annotations

from importlib.metadata import version

from include.mlflow_provider.hooks.pyfunc import MLflowPyfuncHook
from include.mlflow_provider.operators._environment import complete, read_requirements


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


def test_the_files_that_constraints_name_come_along(services, monkeypatch):
    files = {
        "requirements.txt": "# made by hand\nmlflow\n\n-c sub/constraints.txt\n",
        "sub/constraints.txt": "pandas<3",
    }
    monkeypatch.setattr(MLflowPyfuncHook, "read_model_file", lambda self, uri, name: files[name])
    lines, found = read_requirements(MLflowPyfuncHook(), "anywhere")
    assert lines == ["mlflow", "-c constraints.txt"]
    assert found == {"constraints.txt": "pandas<3"}
