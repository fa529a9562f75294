from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from include import config
from include.mlflow_provider.exceptions import MLflowAPIError
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.platform import champions


@pytest.fixture(scope="module")
def hook(services: dict[str, Any]) -> MLflowClientHook:
    return MLflowClientHook("GET", config.MLFLOW_CONN_ID)


@pytest.fixture(autouse=True)
def registry(hook: MLflowClientHook, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A registered model of its own, with versions 1 to 3, in the real registry."""
    monkeypatch.setattr(config, "REGISTERED_MODEL", name := "champions")
    hook.create_registered_model(name)
    for number in (1, 2, 3):
        hook.create_model_version(name, f"s3://{config.ARTIFACT_BUCKET}/{number}")
    yield
    hook.delete_registered_model(name)


def promote(hook: MLflowClientHook, *versions: str) -> None:
    for version in versions:
        champions.promote(hook, version, by="ann", why=f"reason {version}")


def tags(hook: MLflowClientHook, version: str) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in hook.get_model_version("champions", version).get("tags", [])}


def test_there_is_no_champion_at_first(hook: MLflowClientHook) -> None:
    assert champions.champion(hook) == ""
    assert champions.history(hook) == []


def test_a_model_that_is_not_registered_has_no_champion(
    hook: MLflowClientHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "REGISTERED_MODEL", "nobody")

    assert champions.champion(hook) == ""


def test_the_champion_is_the_version_promoted_last_and_says_by_whom_and_why(hook: MLflowClientHook) -> None:
    promote(hook, "1", "2")

    assert champions.champion(hook) == "2"
    assert hook.get_model_version_by_alias("champions", "champion")["version"] == "2"
    assert tags(hook, "2")["promoted_by"] == "ann"
    assert tags(hook, "2")["promotion_reason"] == "reason 2"
    assert tags(hook, "2")["promoted_at"] == champions.history(hook)[-1].since


def test_the_history_tells_who_was_champion_from_when_to_when(hook: MLflowClientHook) -> None:
    promote(hook, "1", "3", "1")

    history = champions.history(hook)
    assert [(reign.version, reign.by, reign.why) for reign in history] == [
        ("1", "ann", "reason 1"),
        ("3", "ann", "reason 3"),
        ("1", "ann", "reason 1"),
    ]
    assert [reign.until for reign in history] == [history[1].since, history[2].since, ""]
    assert history[0].since < history[1].since < history[2].since


def test_a_promotion_done_twice_is_there_once(hook: MLflowClientHook) -> None:
    promote(hook, "1", "2", "2")

    assert [reign.version for reign in champions.history(hook)] == ["1", "2"]


def test_a_promotion_that_broke_off_before_the_alias_moved_is_completed(
    hook: MLflowClientHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(hook, "1")
    with monkeypatch.context() as patch:
        patch.setattr(MLflowClientHook, "set_registered_model_alias", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            promote(hook, "2")
    assert champions.champion(hook) == "1"

    promote(hook, "2")

    assert champions.champion(hook) == "2"
    assert [reign.version for reign in champions.history(hook)] == ["1", "2"]


def test_an_alias_that_somebody_moved_by_hand_is_set_right_with_who_and_why(hook: MLflowClientHook) -> None:
    promote(hook, "1", "2")
    hook.set_registered_model_alias("champions", "champion", "1")

    champions.promote(hook, "2", by="bob", why="by mistake")
    champions.promote(hook, "2", by="bob", why="by mistake")

    assert champions.champion(hook) == "2"
    assert [(reign.version, reign.by) for reign in champions.history(hook)] == [
        ("1", "ann"),
        ("2", "ann"),
        ("2", "bob"),
    ]


def test_a_version_that_does_not_exist_changes_nothing(hook: MLflowClientHook) -> None:
    promote(hook, "1")

    with pytest.raises(MLflowAPIError):
        promote(hook, "9")

    assert champions.champion(hook) == "1"
    assert [reign.version for reign in champions.history(hook)] == ["1"]


def test_a_refusal_is_written_down_until_the_version_is_promoted_after_all(hook: MLflowClientHook) -> None:
    champions.refuse(hook, "2", why="too bad")
    assert tags(hook, "2") == {"not_promoted_because": "too bad"}
    assert champions.champion(hook) == ""

    promote(hook, "2")

    assert "not_promoted_because" not in tags(hook, "2")


def test_a_reason_of_any_length_is_kept_as_far_as_it_fits(hook: MLflowClientHook) -> None:
    champions.promote(hook, "1", by="ann", why='"' * 9000)

    assert champions.history(hook)[0].why == '"' * 1000


@pytest.mark.parametrize(
    ("promoted", "expected"),
    [
        (["1", "2"], "1"),
        (["1", "2", "3"], "2"),
        (["1", "2", "3", "2"], "1"),  # 3 was rolled back: it is not where to go
        (["1", "2", "3", "1", "3"], "1"),
        (["1", "2", "1", "2"], "1"),
    ],
)
def test_the_previous_champion_is_the_one_to_go_back_to(
    promoted: list[str], expected: str, hook: MLflowClientHook
) -> None:
    promote(hook, *promoted)

    assert champions.previous(hook) == expected


def test_a_previous_champion_that_was_deleted_is_passed_over(hook: MLflowClientHook) -> None:
    promote(hook, "1", "2", "3")
    hook.delete_model_version("champions", "2")

    assert champions.previous(hook) == "1"


@pytest.mark.parametrize("promoted", [[], ["1"], ["1", "2", "1"]])
def test_without_a_previous_champion_the_error_says_what_to_do(promoted: list[str], hook: MLflowClientHook) -> None:
    promote(hook, *promoted)

    with pytest.raises(LookupError, match=r"champions has no champion before .*: name the version to go back to"):
        champions.previous(hook)
