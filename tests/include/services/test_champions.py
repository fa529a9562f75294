"""The champion and its history, in the real registry."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from include.mlflow_provider.exceptions import MLflowAPIError
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.problem import PROBLEM
from include.services import champions
from include.spec import Category, Number

from ..conftest import Registered

NAME = "champions"


@pytest.fixture(scope="module")
def hook(services: dict[str, Any]) -> MLflowClientHook:
    return champions.connect()


@pytest.fixture(autouse=True)
def model(hook: MLflowClientHook, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A registered model with the versions 1 to 3."""
    monkeypatch.setattr(champions, "MODEL", NAME)
    hook.create_registered_model(NAME)
    for number in (1, 2, 3):
        hook.create_model_version(NAME, f"s3://{PROBLEM.artifact_bucket}/{number}")
    yield
    hook.delete_registered_model(NAME)


def promote(*versions: str) -> None:
    for version in versions:
        champions.promote(version, by="ann", why=f"reason {version}")


def past() -> list[str]:
    return [period.version for period in champions.history()]


def tags(version: str) -> dict[str, str]:
    return champions.read_tags(champions.connect().get_model_version(NAME, version))


@pytest.mark.parametrize("name", [NAME, "not registered"])
def test_there_is_no_champion_at_first(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(champions, "MODEL", name)

    assert champions.champion() == ""
    assert champions.find_champion() is None
    assert (past(), champions.newest_champion()) == ([], 0)


def test_a_model_that_is_not_registered_cannot_predict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(champions, "MODEL", "not registered")

    with pytest.raises(LookupError, match="not registered has no version yet: trigger feature_eng"):
        champions.serving_version()


def test_the_champion_is_the_version_that_was_promoted_last_and_records_by_whom_and_why(hook: MLflowClientHook) -> None:
    promote("1", "2")

    found = champions.find_champion() or {}
    assert champions.champion() == found["version"] == "2"
    assert hook.get_model_version_by_alias(NAME, "champion")["version"] == "2"
    assert tags("2")["promoted_by"] == "ann"
    assert tags("2")["promotion_reason"] == "reason 2"
    assert tags("2")["promoted_at"] == champions.history()[-1].since


def test_the_history_has_a_period_for_every_champion() -> None:
    promote("1", "3", "1")

    history = champions.history()
    assert [(period.version, period.by, period.why) for period in history] == [
        ("1", "ann", "reason 1"),
        ("3", "ann", "reason 3"),
        ("1", "ann", "reason 1"),
    ]
    assert [period.until for period in history] == [history[1].since, history[2].since, ""]
    assert history[0].since < history[1].since < history[2].since
    assert champions.newest_champion() == 3


@pytest.mark.parametrize(
    ("killed_at", "champion"), [("set_registered_model_alias", "1"), ("set_model_version_tag", "2")]
)
def test_a_promotion_that_was_killed_is_completed(
    monkeypatch: pytest.MonkeyPatch, killed_at: str, champion: str
) -> None:
    promote("1")
    with monkeypatch.context() as patch:
        patch.setattr(MLflowClientHook, killed_at, lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            champions.promote("2", by="ann", why="reason 2", expected="1")
    assert champions.champion() == champion
    assert past() == ["1"]

    champions.promote("2", by="ann", why="reason 2", expected="1")

    assert champions.champion() == "2"
    assert past() == ["1", "2"]


@pytest.mark.parametrize("expected", ["2", ""])
def test_a_decision_about_another_champion_changes_nothing(expected: str) -> None:
    promote("1")

    with pytest.raises(
        champions.ChampionChangedError, match=f"version 1 is champion now, .* about {expected or 'none'}"
    ):
        champions.promote("3", by="ann", why="too late", expected=expected)

    assert champions.champion() == "1"
    assert tags("3") == {}


def test_an_alias_that_moves_during_a_promotion_is_noticed(
    hook: MLflowClientHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote("1")
    history = champions.history

    def meanwhile() -> list[champions.ChampionPeriod]:
        hook.set_registered_model_alias(NAME, "champion", "3")
        return history()

    monkeypatch.setattr(champions, "history", meanwhile)
    with pytest.raises(champions.ChampionChangedError):
        champions.promote("2", by="ann", why="better than 1", expected="1")

    assert champions.champion() == "3"


def test_an_alias_that_was_moved_by_hand_is_set_right_and_recorded(hook: MLflowClientHook) -> None:
    promote("1", "2")
    hook.set_registered_model_alias(NAME, "champion", "1")

    champions.promote("2", by="bob", why="by mistake")
    champions.promote("2", by="bob", why="by mistake")

    assert champions.champion() == "2"
    assert [(period.version, period.by) for period in champions.history()] == [
        ("1", "ann"),
        ("2", "ann"),
        ("2", "bob"),
    ]


def test_promoting_a_version_that_does_not_exist_changes_nothing() -> None:
    promote("1")

    with pytest.raises(MLflowAPIError):
        promote("9")

    assert champions.champion() == "1"
    assert past() == ["1"]


def test_a_rejection_is_recorded_until_the_version_is_promoted() -> None:
    champions.reject("2", why="too bad")
    assert tags("2") == {"not_promoted_because": "too bad"}
    assert champions.champion() == ""

    promote("2")

    assert "not_promoted_because" not in tags("2")


def test_a_long_reason_is_recorded_up_to_what_mlflow_accepts() -> None:
    champions.promote("1", by="ann", why='"' * 9000)
    champions.reject("2", why="ü" * 9000)

    assert champions.history()[0].why == '"' * 1000
    assert tags("2")["not_promoted_because"] == "ü" * 1000


@pytest.mark.parametrize(
    ("promoted", "expected"),
    [
        (["1", "2"], "1"),
        (["1", "2", "3"], "2"),
        (["1", "2", "3", "2"], "1"),  # 3 was rolled back
        (["1", "2", "3", "1", "3"], "1"),
        (["1", "2", "1", "2"], "1"),
    ],
)
def test_a_rollback_goes_to_the_champion_before_the_present_one(promoted: list[str], expected: str) -> None:
    promote(*promoted)

    assert champions.previous() == expected


@pytest.mark.parametrize(("on_hold", "expected"), [("2", "1"), ("1", "2")])
def test_a_rollback_passes_over_a_version_on_hold(on_hold: str, expected: str) -> None:
    promote("1", "2", "3")
    champions.hold(on_hold, why="rolled back by ann: wrong")

    assert champions.previous() == expected


@pytest.mark.parametrize(
    ("evaluated", "expected"),
    [(("s", "a"), "1"), (("s", "b"), "2"), (("t", "a"), "2")],
    ids=["same predictions", "others", "of other rows"],
)
def test_a_rollback_passes_over_a_version_that_predicts_the_same(
    hook: MLflowClientHook, evaluated: tuple[str, str], expected: str
) -> None:
    promote("1", "2", "3")
    for version, (rows, predictions) in {"1": ("s", "c"), "2": evaluated, "3": ("s", "a")}.items():
        found = json.dumps({"slice": rows, "predictions": predictions})
        hook.set_model_version_tag(NAME, version, champions.EVALUATION, found)

    assert champions.previous() == expected


def test_a_hold_stays_until_it_is_lifted() -> None:
    champions.hold("2", why="rolled back by ann: wrong")
    promote("2")
    assert tags("2")["on_hold"] == "rolled back by ann: wrong"

    champions.lift_hold("2")
    champions.lift_hold("2")

    assert "on_hold" not in tags("2")


def test_a_version_that_train_made_waits_until_it_has_a_verdict(hook: MLflowClientHook) -> None:
    hook.create_model_version(NAME, f"s3://{PROBLEM.artifact_bucket}/by hand")
    for version in ("3", "1", "2"):
        hook.set_model_version_tag(NAME, version, "features_uri", f"s3://data/{version}")
    assert [version["version"] for version in champions.waiting()] == ["1", "2", "3"]

    promote("1")
    champions.reject("3", why="too bad")

    assert [version["version"] for version in champions.waiting()] == ["2"]
    assert [version["version"] for version in champions.trained()] == ["1", "2", "3"]


def test_a_previous_champion_that_was_deleted_is_passed_over(hook: MLflowClientHook) -> None:
    promote("1", "2", "3")
    hook.delete_model_version(NAME, "2")

    assert champions.previous() == "1"


@pytest.mark.parametrize("promoted", [[], ["1"], ["1", "2", "1"]])
def test_without_a_previous_champion_the_error_has_the_remedy(promoted: list[str]) -> None:
    promote(*promoted)

    with pytest.raises(LookupError, match=r"champions has no champion before .* hold: name the version to go back to"):
        champions.previous()


def test_the_champion_predicts_even_if_it_is_not_the_newest(registered: Registered) -> None:
    registered.promote("1")

    assert champions.serving_version(fallback="2") == {
        "version": "1",
        "run_id": registered.run_id,
        "uri": f"models:/{registered.name}/1",
        "alias": "champion",
    }


@pytest.mark.parametrize(("fallback", "version"), [("1", "1"), (None, "2")], ids=["just trained", "newest"])
def test_without_a_champion_another_version_predicts_and_the_log_warns(
    registered: Registered, fallback: str | None, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        chosen = champions.serving_version(fallback)

    assert (chosen["version"], chosen["alias"]) == (version, "")
    assert f"NO CHAMPION YET: version {version} of {registered.name} predicts" in caplog.text


def test_a_champion_that_needs_another_column_is_an_error_with_the_remedy(
    registered: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered.promote("1")
    *others, gone = PROBLEM.features
    monkeypatch.setattr(champions, "PROBLEM", replace(PROBLEM, features=(*others, Number("new"))))

    with pytest.raises(AirflowFailException) as caught:
        champions.serving_version()

    assert str(caught.value).startswith("version 1 takes other inputs than include/problem.py describes (lacks: new (n")
    assert f"has: {gone.name} (" in str(caught.value)
    assert "promote a version trained with the present description, or roll" in str(caught.value)


def test_a_column_of_another_type_is_another_input(registered: Registered, monkeypatch: pytest.MonkeyPatch) -> None:
    registered.promote("1")
    name = PROBLEM.numbers[-1]
    features = [Category(name) if column.name == name else column for column in PROBLEM.features]
    monkeypatch.setattr(champions, "PROBLEM", replace(PROBLEM, features=tuple(features)))

    with pytest.raises(champions.OtherInputsError, match=rf"lacks: {name} \(category\); has: {name} \(number\)"):
        champions.serving_version()


def test_a_champion_that_lacks_a_new_column_predicts_without_it_and_the_log_warns(
    registered: Registered, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    registered.promote("1")
    monkeypatch.setattr(champions, "PROBLEM", replace(PROBLEM, features=(*PROBLEM.features, Number("new"))))

    with caplog.at_level(logging.WARNING):
        assert champions.serving_version()["version"] == "1"

    assert "Version 1 predicts without new (number), which include/problem.py describes" in caplog.text


def test_the_newest_of_more_than_nine_versions_is_found_by_number(
    hook: MLflowClientHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(champions, "check_inputs", lambda version: None)  # these versions have no files
    for number in range(4, 11):
        hook.create_model_version(NAME, f"s3://{PROBLEM.artifact_bucket}/{number}")

    assert champions.serving_version()["version"] == "10"
