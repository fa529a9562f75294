from __future__ import annotations

from types import SimpleNamespace

import pytest

from include.services.assets import FEATURES, MODEL_TRAINED, latest_extra, object_uri, scratch_uri


def event(version: str) -> SimpleNamespace:
    return SimpleNamespace(extra={"version": version})


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


def test_the_last_event_that_triggered_the_run_counts() -> None:
    triggering = {MODEL_TRAINED: [event("1"), event("2")]}

    assert latest_extra(MODEL_TRAINED, triggering, {MODEL_TRAINED: [event("3")]}) == {"version": "2"}


def test_in_a_manual_run_the_last_event_counts() -> None:
    assert latest_extra(MODEL_TRAINED, {}, {MODEL_TRAINED: [event("1"), event("3")]}) == {"version": "3"}


def test_an_asset_that_has_never_been_updated_is_named_with_the_remedy() -> None:
    with pytest.raises(LookupError, match=r"model_trained has never been updated.*trigger feature_eng"):
        latest_extra(MODEL_TRAINED, {}, {MODEL_TRAINED: []})


def test_two_runs_have_different_scratch_folders_and_none_is_inside_another() -> None:
    folders = [scratch_uri(run_id) for run_id in ("manual__1", "manual__2", "a/../manual__1")]

    assert len({*folders}) == 3
    assert {folder.count("/") for folder in folders} == {4}
