"""The challenger beside the champion on served rows, in the real MLflow and S3."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowSkipException

from include.services import champions, storage
from include.services.alerts import Alert
from include.tasks import promote, served, shadow

from ...toy import HOUSES, make_rows
from ..conftest import Registered

FOLDER = "s3://data/unit-shadow"
CHAMPION = {"version": "1"}

Measure = Callable[..., None]


@pytest.fixture(autouse=True)
def _own_folders(waiting: Registered, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(served, "PROBLEM", HOUSES)
    monkeypatch.setattr(served, "REQUESTS", f"{FOLDER}/requests")
    monkeypatch.setattr(served, "MEASURED", f"{FOLDER}/measured")
    monkeypatch.setattr(served, "LABELLED", Asset("unit_shadow", uri=f"{FOLDER}/labelled"))
    yield
    storage.delete_folder(FOLDER)


def measure(count: int, ratio: float, *, champion: str = "1", challenger: str = "2", name: str = "a") -> None:
    """Log rows that both versions predicted, and upload their targets; the challenger errs so many times as much."""
    rng = np.random.default_rng(0)
    price, error = rng.uniform(100, 500, count), rng.normal(0, 20, count)
    ids = [f"{name}-{row}" for row in range(count)]
    predicted = {"predicted": price + error, "_challenger_predicted": price + ratio * error}
    logged = make_rows(count)[HOUSES.inputs].assign(
        prediction_id=ids, _version=champion, _challenger=challenger, **predicted
    )
    storage.write_table(logged, f"{FOLDER}/requests/{name}.parquet")
    storage.write_table(pd.DataFrame({"prediction_id": ids, "price": price}), f"{FOLDER}/labelled/{name}.csv")


def read_tag(registered: Registered) -> dict[str, Any]:
    return champions.read_shadow(registered.hook.get_model_version(registered.name, "2"), "1")


@pytest.mark.parametrize(("ratio", "verdict"), [(0.5, "better"), (2.0, "worse")])
def test_a_verdict_is_recorded_once_and_sent_to_the_team(
    waiting: Registered, sent: list[Alert], ratio: float, verdict: str
) -> None:
    measure(100, ratio)

    compared = shadow.compare_shadow(CHAMPION, "manual__1")

    assert read_tag(waiting) == compared
    assert (compared["verdict"], compared["rows"], compared["look"]) == (verdict, 100, 2)
    assert f"{verdict}: on 100 served rows its RMSE is {ratio:.2f} times that of version 1" in compared["summary"]
    (alert,) = sent
    assert f"version 2 is {verdict} than the champion" in alert.subject
    measure(1000, 1.0, name="b")
    with pytest.raises(AirflowSkipException, match=f"version 2 was compared: {verdict}"):
        shadow.compare_shadow(CHAMPION, "manual__2")


def test_the_next_look_is_due_when_the_rows_have_doubled(waiting: Registered, sent: list[Alert]) -> None:
    measure(31, 1.0)
    with pytest.raises(AirflowSkipException, match="predicted 31 measured rows beside version 1, 32 are needed"):
        shadow.compare_shadow(CHAMPION, "manual__1")
    measure(2, 1.0, name="b")
    assert shadow.compare_shadow(CHAMPION, "manual__1")["verdict"] == "undecided"
    measure(20, 1.0, name="c")
    with pytest.raises(AirflowSkipException, match="53 measured rows beside version 1, 64 are needed"):
        shadow.compare_shadow(CHAMPION, "manual__2")
    assert sent == []


def test_no_look_is_taken_twice_after_another_champion(waiting: Registered, sent: list[Alert]) -> None:
    measure(40, 1.0)
    shadow.compare_shadow(CHAMPION, "manual__1")
    measure(40, 1.0, champion="7", name="b")
    assert shadow.compare_shadow({"version": "7"}, "manual__2")["look"] == 1

    with pytest.raises(AirflowSkipException, match="40 measured rows beside version 1, 64 are needed"):
        shadow.compare_shadow(CHAMPION, "manual__3")


def test_an_alert_that_could_not_be_sent_is_sent_by_the_next_run(
    waiting: Registered, sent: list[Alert], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(alert: Any) -> None:
        raise OSError("the mail server is away")

    measure(100, 0.5)
    with monkeypatch.context() as patch:
        patch.setattr(shadow.alerts, "send", fail)
        with pytest.raises(OSError, match="away"):
            shadow.compare_shadow(CHAMPION, "manual__1")
    recorded = read_tag(waiting)
    measure(1000, 1.0, name="b")

    assert shadow.compare_shadow(CHAMPION, "manual__2") == recorded | {"alerted": True}
    assert len(sent) == 1


def test_rows_beside_another_champion_or_of_another_challenger_do_not_count(waiting: Registered) -> None:
    measure(100, 0.5, champion="7")
    measure(100, 0.5, challenger="3", name="b")

    with pytest.raises(AirflowSkipException, match="predicted 0 measured rows"):
        shadow.compare_shadow(CHAMPION, "manual__1")


def test_without_a_version_that_waits_the_task_is_skipped(waiting: Registered) -> None:
    champions.reject("2", why="a test")

    with pytest.raises(AirflowSkipException, match="no version waits"):
        shadow.compare_shadow(CHAMPION, "manual__1")


def test_a_version_that_is_worse_on_served_rows_is_not_promoted_even_if_approved(
    waiting: Registered, sent: list[Alert]
) -> None:
    measure(100, 2.0)
    shadow.compare_shadow(CHAMPION, "manual__1")
    approval = {"chosen_options": ["Approve"], "responded_by_user": {"id": "1", "name": "ann"}}

    decision = promote.promote_to_champion({"version": "2", "champion": "1", "reason": "passed"}, approval)

    assert not decision["promoted"]
    assert decision["reason"].startswith("worse: on 100 served rows")
    assert champions.champion() == "1"


def test_the_reason_of_a_promotion_has_what_was_measured_on_served_rows(waiting: Registered, sent: list[Alert]) -> None:
    measure(100, 0.5)
    shadow.compare_shadow(CHAMPION, "manual__1")

    decision = promote.promote_to_champion({"version": "2", "champion": "1", "reason": "passed"}, None)

    assert decision["promoted"]
    assert decision["reason"].startswith("passed; better: on 100 served rows its RMSE is 0.50 times that of version 1")
