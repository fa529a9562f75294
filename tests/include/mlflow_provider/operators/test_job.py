import json
import os
import pickle
import signal
import subprocess
import sys

import pytest

from include.mlflow_provider.exceptions import MLflowError
from include.mlflow_provider.operators._subprocess import deliver, read_result, write_program


def test_the_program_has_its_arguments_and_imports_nothing_beside_it(tmp_path):
    program, folder = write_program(tmp_path, chunk_size=3)
    assert json.loads((tmp_path / "job").read_text()) == {"parent": os.getpid(), "chunk_size": 3}
    # Neither the operator's modules nor Airflow may be what a model's own imports find.
    code = f"import sys; sys.path[0] = {program!r}; import model_process.main; import pyfunc"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "No module named 'pyfunc'" in done.stderr
    assert folder == str(tmp_path)


def test_a_child_that_imports_the_program_again_does_not_start_it(tmp_path):
    program, _ = write_program(tmp_path)
    code = f"import runpy; runpy.run_path({program!r}, run_name='__mp_main__')"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_parts_are_announced(tmp_path):
    assert deliver(tmp_path, model=lambda: tmp_path / "a", input=lambda: tmp_path / "b").result(10) is None
    assert [(tmp_path / name).read_text() for name in ("model", "input")] == [str(tmp_path / "a"), str(tmp_path / "b")]


def test_both_sides_get_the_error_of_a_failed_download(tmp_path):
    def fail():
        raise MLflowError("no such model")

    with pytest.raises(MLflowError, match="no such model"):
        deliver(tmp_path, model=fail, input=lambda: tmp_path).result(10)
    assert (tmp_path / "failed").exists()
    assert not (tmp_path / "input").exists()


def test_a_result_is_read(tmp_path):
    (tmp_path / "result").write_text("[1.0, NaN, null]")
    assert str(read_result(tmp_path, 0)) == "[1.0, nan, None]"


class Evil:
    def __reduce__(self):
        return pytest.fail, ("code of the model ran in the task",)


@pytest.mark.parametrize("content", [None, b"", pickle.dumps(Evil())])
def test_a_result_that_is_no_json_is_not_read(tmp_path, content):
    if content is not None:
        (tmp_path / "result").write_bytes(content)
    with pytest.raises(RuntimeError, match="left no result that can be read"):
        read_result(tmp_path, 0)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (3, "ended with status 3; what it printed is in the log"),
        (-signal.SIGSEGV, "ended by SIGSEGV"),
        (-signal.SIGKILL, "memory ran out: a smaller chunk_size"),
    ],
)
def test_an_end_without_a_message_is_explained(tmp_path, status, reason):
    with pytest.raises(RuntimeError, match=reason):
        read_result(tmp_path, status)


def test_the_message_of_the_program_comes_first(tmp_path):
    (tmp_path / "error").write_text("rows 0 to 2: ValueError: no")
    with pytest.raises(RuntimeError, match=r"^rows 0 to 2: ValueError: no$"):
        read_result(tmp_path, 1)
