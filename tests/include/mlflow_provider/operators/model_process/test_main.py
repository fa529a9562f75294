import ast
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

from include.mlflow_provider.operators import _model_process
from include.mlflow_provider.operators._model_process.inputs import Chunk
from include.mlflow_provider.operators._model_process.main import RowsError, apply, wait_for
from include.mlflow_provider.operators._subprocess import write_program

from ...conftest import MODELS

ROWS = {"parquet": 100_000, "csv": 25_000}
TIMES = 20
COLUMNS = list("abcdefgh")
MEGABYTE = 1 << 20
# In between, because the peak of a process counts from the memory of the one that started it.
MEASURE = """
import resource, subprocess, sys
subprocess.run([sys.executable, *sys.argv[1:]], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


class Lengths:
    metadata = SimpleNamespace(get_input_schema=lambda: None)

    def predict(self, data):
        if (data < 0).any(axis=None):
            raise ValueError("a length cannot be negative")
        return data.sum(axis=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "lengths"
    signature = ModelSignature(Schema([ColSpec("double", name) for name in COLUMNS]))
    arguments = {"python_model": str(MODELS / "lengths.py"), "signature": signature, "pip_requirements": []}
    mlflow.pyfunc.save_model(path, **arguments)
    return path


def write_table(block, times, path):
    """Write rows so many times over; a Parquet file in one row group, which is the worst case."""
    if path.suffix == ".parquet":
        table = pd.concat([block] * times, ignore_index=True)
        table.to_parquet(path, row_group_size=len(table), use_dictionary=False)
    else:
        text = block.to_csv(index=False, header=False)
        path.write_text(f"{','.join(COLUMNS)}\n{text * times}")
    return path.stat().st_size


def peak(model, table, folder, **settings):
    """Run the program and return the most memory that it had, in bytes."""
    folder.mkdir()
    arguments = {"output": f"output{table.suffix}", "suppress_warnings": True, "limit": 0, "chunk_size": 10_000}
    command = write_program(folder, **{**arguments, **settings})
    (folder / "model").write_text(str(model))
    (folder / "input").write_text(str(table))
    measured = subprocess.run([sys.executable, "-c", MEASURE, *command], stdout=subprocess.PIPE, text=True, check=True)
    return int(measured.stdout) * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_memory_does_not_grow_with_the_table(model, suffix, tmp_path):
    block = pd.DataFrame(np.random.default_rng(0).random((ROWS[suffix], len(COLUMNS))), columns=COLUMNS)
    small, big = tmp_path / f"small.{suffix}", tmp_path / f"big.{suffix}"
    write_table(block, 1, small)
    size = write_table(block, TIMES, big)
    least = peak(model, small, tmp_path / "1")
    assert peak(model, big, tmp_path / "2") - least < size / 2
    assert peak(model, big, tmp_path / "3", chunk_size=None) - least > size
    written = tmp_path / "2" / f"output.{suffix}"
    found = pd.read_parquet(written) if suffix == "parquet" else pd.read_csv(written)
    np.testing.assert_allclose(found["prediction"], np.tile(block.sum(axis=1), TIMES))


def test_a_failure_names_the_rows_and_keeps_the_models_traceback():
    table = pd.DataFrame({"head": [1.0, 2.0, 3.0, -1.0, 2.0]})
    chunks = [Chunk(table.iloc[i : i + 2], i, 5) for i in (0, 2, 4)]
    done = []
    with pytest.raises(RowsError, match=r"^rows 2 to 3 of 5: ValueError: a length cannot be negative$") as failure:
        done.extend(apply(Lengths(), iter(chunks)))
    assert failure.value.__cause__.__traceback__.tb_next.tb_frame.f_code.co_name == "predict"


def test_a_failure_on_a_value_is_the_models_own():
    with pytest.raises(ValueError, match=r"^a length cannot be negative$"):
        list(apply(Lengths(), iter([Chunk(pd.DataFrame({"head": [-1.0]}))])))


def test_waiting_ends_when_nothing_will_come(tmp_path):
    (tmp_path / "failed").touch()
    with pytest.raises(SystemExit, match="the model did not arrive"):
        wait_for("model", tmp_path, os.getppid())


def test_waiting_ends_when_the_task_is_gone(tmp_path):
    with pytest.raises(SystemExit, match="the model did not arrive"):
        wait_for("model", tmp_path, parent=1 << 30)


@pytest.mark.parametrize("file", sorted(Path(_model_process.__file__).parent.glob("*.py")), ids=lambda file: file.name)
def test_the_program_is_written_for_the_python_of_old_models(file):
    ast.parse(file.read_text(), feature_version=(3, 8))
