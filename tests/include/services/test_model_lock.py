"""The lock that is logged with a model."""

import logging
import re
import socket
from importlib.metadata import version
from pathlib import Path

import pytest

from include.services import model_lock
from include.services.model_lock import lock_requirements


@pytest.fixture(autouse=True)
def _nothing_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(model_lock, "FOLDER", tmp_path / "models")


def refuse(monkeypatch: pytest.MonkeyPatch, port: int = 9) -> None:
    """Point uv at a package index that does not answer, and keep it from its own cache."""
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}/simple")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")


def test_a_lock_has_every_package_in_its_version_here_with_hashes() -> None:
    locked = lock_requirements([f"pandas=={version('pandas')}"]).replace("\\\n", "").splitlines()
    found = dict(re.match(r"([\w.-]+)==(\S+)", line).groups() for line in locked)  # type: ignore[union-attr]

    assert {"pandas", "numpy", "python-dateutil", "six"} <= set(found)
    assert {name: version(name) for name in found} == found
    assert all("--hash=sha256:" in line for line in locked)


def test_a_lock_has_no_address_of_a_package_index() -> None:
    assert "://" not in lock_requirements([f"six=={version('six')}"])


def test_a_lock_is_compiled_once_for_the_same_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    locked = lock_requirements([f"six=={version('six')}"])
    refuse(monkeypatch)

    assert lock_requirements([f"six=={version('six')}"]) == locked != ""
    assert lock_requirements([f"pytz=={version('pytz')}"]) == ""
    monkeypatch.setattr(model_lock, "_list_installed", lambda: ["six-0.1.dist-info"])
    assert lock_requirements([f"six=={version('six')}"]) == ""


def test_an_index_that_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        refuse(monkeypatch, silent.getsockname()[1])
        monkeypatch.setattr(model_lock, "MAX_SECONDS", 1.0)
        assert lock_requirements([f"six=={version('six')}"]) == ""
    assert "timed out after 1.0 seconds" in caplog.text


def test_without_an_index_there_is_no_lock_but_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(monkeypatch)
    with caplog.at_level(logging.WARNING):
        assert lock_requirements([f"six=={version('six')}"]) == ""
    assert "but not those that they need" in caplog.text
