from types import SimpleNamespace
from uuid import uuid4

import pytest

from include.services import assets
from include.services.assets import FEATURES, MODEL_TRAINED, is_by_hand, object_uri, pin_event, scratch_uri

from ...events import inlet_events


@pytest.fixture
def run_id(buckets: None) -> str:
    """A run that has not pinned an event."""
    return f"manual__{uuid4()}"


def test_an_object_is_below_its_asset_and_its_run() -> None:
    assert object_uri(FEATURES, "manual__2026-11-21T08:09:10.5+00:00", "features.parquet") == (
        "s3://data/features/manual__2026-11-21T08-09-10.5-00-00/features.parquet"
    )


@pytest.mark.parametrize(
    "other",
    ["manual__2026-11-21T08:09:11+00:00", "scheduled__2026-11-21T08:09:10+00:00", "MANUAL__2026-11-21T08:09:10"],
)
def test_two_runs_do_not_share_an_object(other: str) -> None:
    assert object_uri(FEATURES, other, "a.csv") != object_uri(FEATURES, "manual__2026-11-21T08:09:10+00:00", "a.csv")


@pytest.mark.parametrize("run_id", ["a/b", "../../other", "ä b?c#d%2F"])
def test_a_run_id_is_one_folder_of_the_path(run_id: str) -> None:
    run = object_uri(FEATURES, run_id, "a.csv").removeprefix("s3://data/features/").removesuffix("/a.csv")

    assert run.isascii()
    assert not set("/?#% ") & set(run)


def test_a_run_works_on_the_newest_event(run_id: str) -> None:
    events = inlet_events(MODEL_TRAINED, {"version": "1"}, {"version": "4"}, {"version": "2"})

    assert pin_event(MODEL_TRAINED, FEATURES, run_id, events, ["version"]) == {"version": "2"}


def test_a_run_keeps_its_event_when_newer_ones_come(run_id: str) -> None:
    pin_event(MODEL_TRAINED, FEATURES, run_id, inlet_events(MODEL_TRAINED, {"version": "1"}), ["version"])

    later = inlet_events(MODEL_TRAINED, {"version": "1"}, {"version": "2"})
    assert pin_event(MODEL_TRAINED, FEATURES, run_id, later, ["version"]) == {"version": "1"}
    assert pin_event(MODEL_TRAINED, FEATURES, f"{run_id}-2", later, ["version"]) == {"version": "2"}


def test_an_asset_that_has_never_been_updated_is_named_with_the_remedy(run_id: str) -> None:
    with pytest.raises(LookupError, match=r"model_trained has never been updated.*trigger feature_eng"):
        pin_event(MODEL_TRAINED, FEATURES, run_id, inlet_events(MODEL_TRAINED), ["version"])


def test_an_event_without_the_data_that_a_run_needs_is_passed_over(run_id: str) -> None:
    events = inlet_events(MODEL_TRAINED, {"version": "1", "run_id": "a"}, {"version": "2"}, {})

    found = pin_event(MODEL_TRAINED, FEATURES, run_id, events, ["version", "run_id"])

    assert found == {"version": "1", "run_id": "a"}


def test_events_that_all_lack_data_are_named_with_the_remedy_and_not_pinned(run_id: str) -> None:
    events = inlet_events(MODEL_TRAINED, {}, {"from_rest_api": True})
    message = r"model_trained has no event with version and run_id among its newest 2: trigger feature_eng"
    with pytest.raises(LookupError, match=message):
        pin_event(MODEL_TRAINED, FEATURES, run_id, events, ["version", "run_id"])

    later = inlet_events(MODEL_TRAINED, {}, {"version": "3", "run_id": "b"})
    assert pin_event(MODEL_TRAINED, FEATURES, run_id, later, ["version", "run_id"])["version"] == "3"


def test_only_the_newest_events_are_searched(run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "MAX_EVENTS", 2)
    events = inlet_events(MODEL_TRAINED, {"version": "1"}, {}, {})

    with pytest.raises(LookupError, match="among its newest 2"):
        pin_event(MODEL_TRAINED, FEATURES, run_id, events, ["version"])


@pytest.mark.parametrize(("run_type", "by_hand"), [("manual", True), ("asset_triggered", False), ("scheduled", True)])
def test_a_run_is_started_by_an_event_or_by_hand(run_type: str, by_hand: bool) -> None:
    assert is_by_hand(SimpleNamespace(run_type=run_type)) == by_hand


def test_two_runs_have_different_scratch_folders_and_none_is_inside_another() -> None:
    folders = [scratch_uri(run_id) for run_id in ("manual__1", "manual__2", "a/../manual__1")]

    assert len({*folders}) == 3
    assert {folder.count("/") for folder in folders} == {4}
