"""The lock that is logged with a model."""

from __future__ import annotations

import logging
import re
import socket
from importlib.metadata import version

import pytest

from include.services import model_lock
from include.services.model_lock import lock_requirements


def test_a_lock_has_every_package_in_its_version_here_with_hashes() -> None:
    locked = lock_requirements([f"pandas=={version('pandas')}"]).replace("\\\n", "").splitlines()
    found = dict(re.match(r"([\w.-]+)==(\S+)", line).groups() for line in locked)  # type: ignore[union-attr]

    assert {"pandas", "numpy", "python-dateutil", "six"} <= set(found)
    assert {name: version(name) for name in found} == found
    assert all("--hash=sha256:" in line for line in locked)


def test_a_lock_has_no_address_of_a_package_index() -> None:
    assert "://" not in lock_requirements([f"six=={version('six')}"])


def test_an_index_that_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{silent.getsockname()[1]}/simple")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("UV_NO_CACHE", "1")
        monkeypatch.setattr(model_lock, "MAX_SECONDS", 1.0)
        assert lock_requirements([f"six=={version('six')}"]) == ""
    assert "timed out after 1.0 seconds" in caplog.text


def test_without_an_index_there_is_no_lock_but_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with caplog.at_level(logging.WARNING):
        assert lock_requirements([f"six=={version('six')}"]) == ""
    assert "but not those that they need" in caplog.text
