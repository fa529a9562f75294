"""What is old enough to be deleted."""

from datetime import UTC, datetime, timedelta

import pytest

from include.services.retention import Item, group_objects, last_champions, name_file, name_folder, select_expired
from include.settings import Keep

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def aged(name: str, days: float) -> Item:
    return Item(name, NOW - timedelta(days=days), (name,))


@pytest.mark.parametrize(
    ("keep", "days", "expired"), [(Keep(30), [29, 31, 60], ["31", "60"]), (Keep(30, 2), [300, 100, 200], ["300"])]
)
def test_what_is_older_than_the_limit_expires_but_the_newest_stay(
    keep: Keep, days: list[int], expired: list[str]
) -> None:
    assert [item.name for item in select_expired([aged(str(age), age) for age in days], keep, NOW)] == expired


def test_what_is_needed_stays_and_takes_no_place_of_the_newest() -> None:
    items = [aged("newest", 100), aged("needed", 200), aged("last", 300)]
    expired = select_expired(items, Keep(30, 1), NOW, lambda item: item.name == "needed")

    assert [item.name for item in expired] == ["last"]


def test_a_folder_is_as_old_as_its_newest_object() -> None:
    old, young = NOW - timedelta(days=90), NOW
    objects = [
        ("s3://b/features/r1/raw", 3, old),
        ("s3://b/features/r2/raw", 5, old),
        ("s3://b/features/r1/x/y", 4, young),
    ]
    first, second = group_objects(objects, lambda uri: name_folder(uri, "s3://b/features"))

    assert first == Item("s3://b/features/r1", young, ("s3://b/features/r1/raw", "s3://b/features/r1/x/y"), 7)
    assert second.last_used == old


def test_a_file_its_predictions_and_their_trail_have_one_name() -> None:
    names = ("s3://b/processed/new.v2.parquet", "s3://b/p/new.v2.csv", "s3://b/p/new.v2.csv.trace.json")

    assert {name_file(name) for name in names} == {"new.v2"}
    assert name_file("s3://b/rejected/new.v2.parquet.reason.txt") == "new.v2"


def test_a_version_that_became_champion_again_counts_once() -> None:
    assert last_champions(["1", "2", "1", "3", "1"], 2) == {"1", "3"}
