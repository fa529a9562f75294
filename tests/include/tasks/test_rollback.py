"""Back to an earlier champion, in the real registry."""

from types import SimpleNamespace
from typing import Any

import mlflow
import pandas as pd
import pytest
from airflow.sdk.exceptions import AirflowFailException

from include.mlflow_provider.exceptions import MLflowAPIError
from include.services import champions, storage, tracking
from include.tasks import rollback

from ..conftest import Registered

RUN = "manual__unit-rollback"
BY_BOB = SimpleNamespace(triggering_user_name="bob")
FINITE = [36.0] * 5
CHOSEN = {"version": "1", "champion": "2"}


@pytest.fixture
def both(registered: Registered, project_table: pd.DataFrame) -> Registered:
    """Two versions that were champion, 1 and then 2, each with a table; that of 2 has another column."""
    tables = {"1": project_table, "2": project_table.assign(added_later=1.0)}
    for version, table in tables.items():
        uri = storage.write_table(table, f"s3://data/unit-rollback/{version}/features.parquet")
        registered.tag(version, "features_uri", uri)
        champions.promote(version, by="ann", why=f"reason {version}")
    return registered


def params(version: str | None = None, reason: str = "too low") -> dict[str, Any]:
    return {"version": version, "reason": reason}


@pytest.mark.parametrize(("champion", "back_to", "columns"), [("2", "1", 0), ("1", "2", 1)])
def test_the_rows_to_try_a_version_with_are_from_its_own_table(
    both: Registered, champion: str, back_to: str, columns: int, project_table: pd.DataFrame
) -> None:
    both.promote(champion)

    rows = storage.read_table(rollback.choose_version(params(back_to), RUN)["rows_uri"])

    assert len(rows) == 5
    assert ("added_later" in rows) == bool(columns)
    assert set(rows) - {"added_later"} == set(project_table)


@pytest.mark.parametrize("uri", ["", "s3://data/unit-rollback/gone/features.parquet"])
def test_a_version_whose_table_is_gone_is_refused(both: Registered, uri: str) -> None:
    both.tag("1", "features_uri", uri)

    with pytest.raises(
        AirflowFailException, match=rf"no rollback: the table of version 1 is gone \({uri or 'no feat'}"
    ):
        rollback.choose_version(params(), RUN)


def test_without_an_earlier_champion_the_error_has_the_remedy(registered: Registered) -> None:
    champions.promote("1", by="ann", why="first")

    with pytest.raises(AirflowFailException, match=r"no rollback: .* has no champion before version 1 .*: name the"):
        rollback.choose_version(params(), RUN)


@pytest.mark.parametrize(("version", "message"), [("99", "no rollback: "), ("2", "version 2 is the champion already")])
def test_a_version_that_cannot_be_gone_back_to_is_refused(both: Registered, version: str, message: str) -> None:
    with pytest.raises(AirflowFailException, match=message):
        rollback.choose_version(params(version), RUN)


def test_an_answer_that_is_not_mlflows_may_be_tried_again(both: Registered, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: str) -> None:
        raise MLflowAPIError("Bad Gateway", 502)

    monkeypatch.setattr(type(both.hook), "get_model_version", refuse)
    with pytest.raises(MLflowAPIError, match="Bad Gateway"):
        rollback.choose_version(params("1"), RUN)


@pytest.mark.parametrize(
    "predicted",
    [
        [37.0, float("nan"), 36.0, 36.0, 36.0],
        [37.0, float("inf"), 36.0, 36.0, 36.0],
        [37.0, "36", 36.0, 36.0, 36.0],
        [37.0],
        [],
        '{"prediction": {"0": null}}',
        '{"prediction": {"0": 36.0}}',
    ],
)
def test_a_version_that_does_not_predict_numbers_does_not_become_champion(both: Registered, predicted: Any) -> None:
    with pytest.raises(AirflowFailException, match=r"no rollback: version 1 predicts .*, not 5 finite numbers"):
        rollback.move_champion(CHOSEN, predicted, params(), BY_BOB)

    assert champions.champion() == "2"


@pytest.mark.parametrize("as_frame", [True, False])
def test_a_version_that_predicts_becomes_champion_again(both: Registered, as_frame: bool) -> None:
    chosen = rollback.choose_version(params(), RUN)
    assert (chosen["version"], chosen["model_uri"]) == ("1", f"models:/{both.name}/1")
    with tracking.connected():
        predicted = mlflow.pyfunc.load_model(chosen["model_uri"]).predict(storage.read_table(chosen["rows_uri"]))
    answer = predicted.to_json() if as_frame else predicted["prediction"].tolist()

    assert rollback.move_champion(chosen, answer, params(reason="too low"), BY_BOB) == "1"

    assert champions.champion() == "1"
    last = champions.history()[-1]
    assert (last.version, last.by, last.why) == ("1", "bob", "too low")


def test_the_version_that_is_left_is_on_hold_and_the_other_one_no_longer(both: Registered) -> None:
    champions.hold("1", why="rolled back by ann: too high")

    rollback.move_champion(rollback.choose_version(params("1"), RUN), FINITE, params(reason="too low"), BY_BOB)

    assert both.tags("2")["on_hold"] == "rolled back by bob: too low"
    assert "on_hold" not in both.tags("1")


def test_a_rollback_that_was_killed_before_the_hold_is_completed(
    both: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(champions, "hold", lambda *_, why: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            rollback.move_champion(CHOSEN, FINITE, params(), BY_BOB)

    rollback.move_champion(CHOSEN, FINITE, params(), BY_BOB)

    assert "on_hold" in both.tags("2")
    assert [period.version for period in champions.history()] == ["1", "2", "1"]


def test_an_old_rollback_that_is_cleared_does_not_replace_a_newer_champion(both: Registered) -> None:
    version = both.hook.create_model_version(both.name, "s3://anywhere/model")["version"]
    champions.promote(version, by="the gate", why="better")

    with pytest.raises(AirflowFailException, match=f"version {version} is champion now, the decision was about 2"):
        rollback.move_champion(CHOSEN, FINITE, params(), BY_BOB)

    assert champions.champion() == version
    assert "on_hold" not in both.tags("2")


def test_the_description_has_the_last_rollback_only(both: Registered) -> None:
    both.hook.update_model_version(both.name, "1", "RMSE 1.2")
    rollback.move_champion(CHOSEN, FINITE, params(reason="too low"), BY_BOB)
    both.promote("2")
    rollback.move_champion(CHOSEN, FINITE, params(reason="too high"), SimpleNamespace())

    description = both.hook.get_model_version(both.name, "1")["description"]
    assert description == "Champion again by unknown: too high. Before that: RMSE 1.2"


def test_a_reason_cannot_write_markup_into_the_description(both: Registered) -> None:
    rollback.move_champion(CHOSEN, FINITE, params(reason="<script>[x](http://evil)"), BY_BOB)

    description = both.hook.get_model_version(both.name, "1")["description"]
    assert "<script>" not in description
    assert "[x](" not in description
