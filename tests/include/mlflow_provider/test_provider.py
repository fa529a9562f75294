from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import include.mlflow_provider as provider

INCLUDE = Path(provider.__file__).parents[1]
OPERATORS = "from {package}.operators import deployment, pyfunc, registry"
HEAVY = ("requests", "mlflow", "pandas", "numpy", "pyarrow", "airflow.providers.amazon")


def python(code, **environment):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment or None).stdout


def test_importing_the_operators_imports_nothing_heavy():
    base = "import sys; import airflow.providers.standard.operators.python; before = set(sys.modules);"
    code = f"{base} {OPERATORS.format(package='mlflow_provider')}; print(*set(sys.modules) - before)"
    added = python(f"import sys; sys.path.insert(0, {str(INCLUDE)!r}); {code}").split()
    assert added
    assert not [name for name in added if name in HEAVY or (name.startswith("airflow.") and "airflow.sdk." not in name)]


def test_every_module_can_be_imported_under_its_old_package_name():
    hooks = [f"hooks.{name}" for name in ("base", "client", "deployment", "pyfunc")]
    names = [*hooks, *(f"operators.{name}" for name in ("deployment", "pyfunc", "registry"))]
    lines = ["import sys", f"sys.path.insert(0, {str(INCLUDE)!r})", *(f"import mlflow_provider.{n}" for n in names)]
    assert python("; ".join([*lines, "print(mlflow_provider.__version__)"])).strip() == provider.__version__


def test_airflow_accepts_the_provider_info():
    from airflow.providers_manager import _create_provider_info_schema_validator

    validator = _create_provider_info_schema_validator()
    info = provider.get_provider_info()
    validator.validate(info)
    for kind in ("hooks", "operators"):
        for modules in info[kind]:
            assert all(importlib.import_module(name) for name in modules["python-modules"])
