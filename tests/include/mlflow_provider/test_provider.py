import importlib
import re
import subprocess
import sys
from pathlib import Path

import include.mlflow_provider as provider

INCLUDE = Path(provider.__file__).parents[1]
TASKS = (
    "from mlflow_provider.operators import deployment, pyfunc, registry; import mlflow_provider.sensors.model_version"
)
TRIGGERS = "import mlflow_provider.triggers.model_version"
HEAVY = ("requests", "mlflow", "pandas", "numpy", "pyarrow", "airflow.providers.amazon")


def python(code, **environment):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment or None).stdout


def heavy_modules_added(code, base):
    """The modules that cost something among those that an import brings, where Airflow has imported its own base."""
    steps = f"import sys; sys.path.insert(0, {str(INCLUDE)!r}); {base}; before = set(sys.modules); {code}"
    added = python(f"{steps}; print(*set(sys.modules) - before)").split()
    assert any(name.startswith("mlflow_provider.") for name in added)
    return [name for name in added if name in HEAVY or re.match(r"airflow\.(?!sdk\.)", name)]


def test_importing_operators_and_sensors_imports_nothing_heavy():
    assert heavy_modules_added(TASKS, "import airflow.providers.standard.operators.python") == []


def test_importing_triggers_does_not_hold_up_the_event_loop():
    assert heavy_modules_added(TRIGGERS, "import airflow.triggers.base") == []


def test_airflow_accepts_the_provider_info():
    from airflow.providers_manager import _create_provider_info_schema_validator

    validator = _create_provider_info_schema_validator()
    info = provider.get_provider_info()
    validator.validate(info)
    for kind in ("hooks", "operators", "sensors", "triggers"):
        for modules in info[kind]:
            assert all(importlib.import_module(name) for name in modules["python-modules"])
