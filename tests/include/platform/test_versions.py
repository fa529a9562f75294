from __future__ import annotations

import logging

import pytest

from include import config
from include.platform import champions
from include.platform.versions import describe, pin_version
from tests.include.conftest import Tails


def test_the_champion_is_used_though_it_is_not_the_newest(tails: Tails) -> None:
    tails.crown("1")

    assert pin_version(tails.hook, otherwise="2") == {
        "version": "1",
        "run_id": tails.run_id,
        "uri": f"models:/{tails.name}/1",
        "alias": "champion",
    }


def test_a_pinned_version_stays_when_the_alias_moves(tails: Tails) -> None:
    tails.crown("1")
    pinned = pin_version(tails.hook)
    tails.crown("2")

    assert pinned["uri"].endswith("/1")
    assert pin_version(tails.hook)["version"] == "2"


@pytest.mark.parametrize(("otherwise", "version"), [("1", "1"), (None, "2")], ids=["just trained", "newest"])
def test_without_a_champion_another_version_is_used_and_the_log_warns(
    tails: Tails, otherwise: str | None, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        pinned = pin_version(tails.hook, otherwise)

    assert (pinned["version"], pinned["alias"]) == (version, "")
    assert "THERE IS NO CHAMPION" in caplog.text
    assert f"Version {version}, which passed no gate, predicts" in caplog.text


def test_no_version_at_all_says_what_to_do(tails: Tails, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "REGISTERED_MODEL", "nobody registered this")

    assert champions.find_champion(tails.hook) is None
    with pytest.raises(LookupError, match="nobody registered this has no version yet: trigger feature_eng"):
        pin_version(tails.hook)


def test_a_version_is_described_with_its_rank() -> None:
    assert describe("3", "champion") == "version 3, champion"
    assert describe("1", "") == "version 1: there is no champion yet"
