from __future__ import annotations

import pytest

from include.mlflow_provider.exceptions import MLflowError
from include.mlflow_provider.hooks.pyfunc import HASH_TAG, MLflowPyfuncHook
from include.platform import storage
from include.tasks.requirements import add_requirements, complete_requirements
from tests.include.conftest import Tails


def packages_added_to(content: str) -> str:
    """What is appended to a file so that it names boto3 and pandas."""
    result = add_requirements(content.encode(), ["boto3", "pandas"]).decode()
    assert result.startswith(content)
    return result.removeprefix(content)


def test_an_empty_file_gets_all_packages() -> None:
    assert packages_added_to("") == "boto3\npandas\n"


def test_only_what_is_missing_is_added() -> None:
    assert packages_added_to("scikit-learn==1.9.1\npandas==3.1.1\n") == "boto3\n"


@pytest.mark.parametrize("content", ["", "pandas==3.1.1\n", "boto3\npandas", "# boto3\n"])
def test_a_second_time_changes_nothing(content: str) -> None:
    once = add_requirements(content.encode(), ["boto3", "pandas"])

    assert add_requirements(once, ["boto3", "pandas"]) == once


@pytest.mark.parametrize(
    "line",
    [
        "pandas",
        "Pandas==3.1.1",
        "pandas[parquet]>=3,<4",
        "pandas ~= 3.1 ; python_version >= '3.11'",
        "pandas==3.1.1  # reads the tables",
        "pandas @ https://example.org/pandas-3.1.1-py3-none-any.whl",
        "pandas @ git+https://example.org/pandas.git@v3.1.1#subdirectory=python",
        "  pandas==3.1.1",
        "pandas==3.1.1 --hash=sha256:0123456789abcdef",
        "pandas==3.1.1 \\\n    --hash=sha256:0123456789abcdef",
    ],
)
def test_a_package_is_recognised_however_it_is_written(line: str) -> None:
    assert packages_added_to(f"{line}\n") == "boto3\n"


@pytest.mark.parametrize(
    "line",
    [
        "# pandas",
        "pandas-stubs==3.0",
        "geopandas",
        "-r pandas.txt",
        "--extra-index-url https://pandas.example.org/simple",
        "https://example.org/pandas-3.1.1-py3-none-any.whl",
    ],
)
def test_a_line_that_does_not_name_the_package_does_not_count(line: str) -> None:
    assert packages_added_to(f"{line}\n") == "boto3\npandas\n"


@pytest.mark.parametrize("written", ["scikit-learn", "scikit_learn", "Scikit.Learn"])
def test_names_are_compared_in_their_normal_form(written: str) -> None:
    content = f"{written}==1.9.1\n".encode()

    assert add_requirements(content, ["scikit-learn"]) == content
    assert add_requirements(b"scikit-learn==1.9.1\n", [written]) == b"scikit-learn==1.9.1\n"


def test_a_last_line_without_an_end_gets_one() -> None:
    assert add_requirements(b"pandas==3.1.1", ["boto3", "pandas"]) == b"pandas==3.1.1\nboto3\n"


def test_what_a_registered_model_lacks_is_added_and_its_hash_follows(tails: Tails) -> None:
    pyfunc = MLflowPyfuncHook()
    model_uri = f"models:/{tails.name}/1"
    tails.hook.set_model_version_tag(tails.name, "1", HASH_TAG, before := pyfunc.hash_model(model_uri))

    uri = complete_requirements("1", ["pandas", "tabulate"])
    changed = storage.read_bytes(uri)
    assert complete_requirements("1", ["pandas", "tabulate"]) == uri

    assert changed.decode().splitlines()[-1] == "tabulate"
    assert storage.read_bytes(uri) == changed
    assert pyfunc.get_recorded_hash(model_uri) == pyfunc.hash_model(model_uri) != before


def test_a_model_that_somebody_else_changed_gets_no_new_hash(tails: Tails) -> None:
    tails.hook.set_model_version_tag(tails.name, "1", HASH_TAG, "0" * 64)

    with pytest.raises(MLflowError, match="are not those that were registered"):
        complete_requirements("1", ["humanize"])

    assert MLflowPyfuncHook().get_recorded_hash(f"models:/{tails.name}/1") == "0" * 64


def test_a_task_that_was_killed_before_the_file_was_written_is_completed(
    tails: Tails, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyfunc = MLflowPyfuncHook()
    model_uri = f"models:/{tails.name}/1"
    tails.hook.set_model_version_tag(tails.name, "1", HASH_TAG, pyfunc.hash_model(model_uri))
    with monkeypatch.context() as killed:
        killed.setattr(storage, "write_bytes", lambda content, uri: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            complete_requirements("1", ["inflect"])

    uri = complete_requirements("1", ["inflect"])

    assert storage.read_bytes(uri).decode().splitlines()[-1] == "inflect"
    assert pyfunc.get_recorded_hash(model_uri) == pyfunc.hash_model(model_uri)
