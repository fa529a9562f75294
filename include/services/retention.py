"""Which old things may be deleted: pure rules, without Airflow, S3 or MLflow."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from include.settings import Keep


@dataclass(frozen=True)
class Item:
    """Something that is kept or deleted as a whole, such as the folder of a run.

    :param parts: URIs of objects, numbers of versions, or ids of MLflow runs
    :param size: bytes, 0 if unknown
    """

    name: str
    last_used: datetime
    parts: tuple[str, ...]
    size: int = 0


def select_expired(
    items: Iterable[Item], keep: Keep, now: datetime, is_needed: Callable[[Item], bool] = lambda _: False
) -> list[Item]:
    """Return the items that are older than `keep` says and not needed, newest first."""
    newest_first = sorted(items, key=lambda item: item.last_used, reverse=True)
    limit = now - timedelta(days=keep.days)
    return [item for item in newest_first[keep.at_least :] if item.last_used < limit and not is_needed(item)]


def group_objects(objects: Iterable[tuple[str, int, datetime]], name: Callable[[str], str]) -> list[Item]:
    """Return objects (URI, size, time of writing) as items, last used when the last of them was written.

    :param name: returns the item that a URI belongs to
    """
    named = sorted(((name(entry[0]), entry) for entry in objects), key=lambda pair: pair[0])
    groups = [(item, [entry for _, entry in pairs]) for item, pairs in groupby(named, key=lambda pair: pair[0])]
    return [
        Item(
            name=item,
            last_used=max(modified for *_, modified in entries),
            parts=tuple(uri for uri, *_ in entries),
            size=sum(size for _, size, _ in entries),
        )
        for item, entries in groups
    ]


def name_folder(uri: str, root: str, depth: int = 1) -> str:
    """Return the folder that an object is in: its URI down to `depth` levels below `root`."""
    return "/".join([root, *uri.removeprefix(f"{root}/").split("/")[:depth]])


def name_file(uri: str) -> str:
    """Return the name that a file shares with its predictions, their trail, or the reason why it was rejected."""
    name = uri.rpartition("/")[2].removesuffix(".trace.json").removesuffix(".reason.txt")
    return name.rpartition(".")[0] or name


def last_champions(champions: Sequence[str], count: int) -> set[str]:
    """Return the versions that were champion last, of all in the order in which they became champion."""
    return set(list(dict.fromkeys(reversed(champions)))[:count])
