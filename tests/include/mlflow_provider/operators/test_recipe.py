import logging
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from uv import find_uv_bin

from include.mlflow_provider.exceptions import MLflowError
from include.mlflow_provider.operators._environment import Recipe, is_lock, python_path
from include.mlflow_provider.operators._subprocess import Programs

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
RECIPE = Recipe(HERE, ["iniconfig", "-c constraints.txt"], {"constraints.txt": "iniconfig==2.0.0"})
CHANGES = {
    "python_version": "3.9",
    "requirements": ["-c constraints.txt"],
    "files": {"constraints.txt": "iniconfig==2.1.0"},
    "options": ["--pre"],
    "index_urls": ["https://me:s3cret@index/simple"],
}


class Recorder(Programs):
    """Runs nothing, and knows what it should have run."""

    def __init__(self):
        super().__init__()
        self.commands, self.variables = [], {}

    def run(self, command, variables, locks=()):
        self.commands.append(command)
        self.variables = variables
        return 0


@pytest.fixture
def lock(tmp_path):
    with (tmp_path / "lock").open("a") as file:
        yield file.fileno()


def test_an_environment_is_built_from_its_recipe(tmp_path, lock, caplog):
    caplog.set_level(logging.INFO)
    RECIPE.build(Programs(), os.environ, tmp_path / "built", lock)
    code = "import iniconfig, sys; print(sys.version_info[:2], sys.prefix)"
    python = tmp_path / "built" / "bin" / "python"
    printed = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    assert str(tuple(sys.version_info[:2])) in printed
    assert str(tmp_path / "built") in printed
    assert list((tmp_path / "built").glob("lib/*/site-packages/iniconfig-2.0.0.dist-info"))


def test_what_cannot_be_installed_is_named(tmp_path, lock):
    recipe = Recipe(HERE, ["/no/such/package"])
    with pytest.raises(MLflowError, match=rf"uv pip install ended with \d+(?s:.*)Python {HERE}, .*/no/such/package"):
        recipe.build(Programs(), os.environ, tmp_path / "built", lock)


def test_a_login_in_a_requirement_or_an_option_is_in_no_log_and_no_error(tmp_path, lock, monkeypatch, caplog):
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    caplog.set_level(logging.INFO)
    url = "me:s3cret@127.0.0.1:9"
    wanted = [f"--extra-index-url http://{url}/simple", f"nothing @ git+http://{url}/a/nothing.git@main"]
    options = ["--find-links", "http://s3cret@127.0.0.1:9/links"]
    with pytest.raises(MLflowError, match=r"git\+http://\*\*\*@127.0.0.1:9/a/nothing.git@main") as caught:
        Recipe(HERE, wanted, options=options).build(Programs(), os.environ, tmp_path / "built", lock)
    assert "--find-links http://***@127.0.0.1:9/links -r" in caplog.text
    assert "s3cret" not in str(caught.value) + caplog.text


@pytest.mark.parametrize("field", CHANGES)
def test_every_part_of_a_recipe_counts_in_its_key(field):
    assert replace(RECIPE, **{field: CHANGES[field]}).key != RECIPE.key
    assert replace(RECIPE).key == RECIPE.key


def test_indexes_and_their_passwords_are_in_no_command_and_no_file(tmp_path, lock):
    recipe = replace(RECIPE, index_urls=["https://me:s3cret@index/simple", "https://b/simple", "https://c/simple"])
    recorder = Recorder()
    recipe.build(recorder, os.environ, tmp_path / "built", lock)
    assert len(recorder.commands) == 2
    assert "s3cret" not in str(recorder.commands) + repr(recipe)
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and "s3cret" in file.read_text()]
    assert recorder.variables["UV_DEFAULT_INDEX"] == recipe.index_urls[0]
    assert recorder.variables["UV_INDEX"] == "https://b/simple https://c/simple"


def test_a_python_that_uv_accepts_comes_first_on_the_path_of_the_build():
    found = shutil.which(f"python{HERE}", path=python_path())
    assert found == str(Path(sys.base_prefix) / "bin" / f"python{HERE}")
    assert python_path().endswith(os.environ["PATH"])


@pytest.fixture(scope="module")
def locked():
    """A lock of one package, as uv writes it."""
    command = [find_uv_bin(), "pip", "compile", "-", "--generate-hashes", "--no-header", "--quiet"]
    return subprocess.run(command, input="iniconfig==2.0.0", capture_output=True, text=True, check=True).stdout


def test_an_environment_is_built_from_a_lock_and_refuses_another_hash(locked, tmp_path, lock):
    replace(RECIPE, files={"constraints.txt": locked}).build(Programs(), os.environ, tmp_path / "built", lock)
    assert list((tmp_path / "built").glob("lib/*/site-packages/iniconfig-2.0.0.dist-info"))
    name, *hashes = locked.replace("\\\n", "").split()
    forged = " ".join([name, *(f"--hash=sha256:{'0' * 64}" for _ in hashes)])
    with pytest.raises(MLflowError, match="could not be built"):
        replace(RECIPE, files={"constraints.txt": forged}).build(Programs(), os.environ, tmp_path / "forged", lock)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a==1 --hash=sha256:00\nb==2 \\\n    --hash=sha256:11\n# made by hand\n", True),
        ("a==1 --hash=sha256:00\nb==2\n", False),
        ("a<2\n", False),
        ("", False),
    ],
)
def test_a_lock_has_a_hash_for_each_package(text, expected):
    assert is_lock(text) is expected
