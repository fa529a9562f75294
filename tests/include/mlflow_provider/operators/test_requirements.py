from importlib.metadata import version

import pytest

from include.mlflow_provider.hooks.pyfunc import MLflowPyfuncHook
from include.mlflow_provider.operators._environment import complete, read_requirements

HERE = [f"{name}=={version(name)}" for name in ("pandas", "pyarrow")]


@pytest.mark.parametrize(
    ("lines", "added"),
    [
        (["mlflow_skinny==3.17.2", "scikit-learn"], HERE),
        (["mlflow==3.17.2"], []),  # brings all that is needed
        (["--extra-index-url https://index", "mlflow-skinny>=3 # client", "Pandas==3.1.1", "pyarrow"], []),
    ],
)
def test_what_the_process_needs_is_added_in_the_versions_used_here_unless_it_is_there(lines, added):
    assert complete(lines) == lines + added


def test_the_files_that_constraints_name_come_along(services, monkeypatch):
    files = {
        "requirements.txt": "# made by hand\nmlflow\n\n-c sub/constraints.txt\n",
        "sub/constraints.txt": "pandas<3",
    }
    monkeypatch.setattr(MLflowPyfuncHook, "read_model_file", lambda self, uri, name: files[name])
    lines, found = read_requirements(MLflowPyfuncHook(), "anywhere")
    assert lines == ["mlflow", "-c constraints.txt"]
    assert found == {"constraints.txt": "pandas<3"}
