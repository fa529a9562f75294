"""Which old items may be deleted: pure rules, without Airflow, S3 or MLflow."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

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
    groups: dict[str, list[tuple[str, int, datetime]]] = defaultdict(list)
    for entry in objects:
        groups[name(entry[0])].append(entry)
    columns = ((item, zip(*entries, strict=True)) for item, entries in groups.items())
    return [Item(item, max(written), uris, sum(sizes)) for item, (uris, sizes, written) in columns]


def name_folder(uri: str, root: str, depth: int = 1) -> str:
    """Return the folder that an object is in: its URI down to `depth` levels below `root`."""
    return "/".join([root, *uri.removeprefix(f"{root}/").split("/")[:depth]])


def name_file(uri: str) -> str:
    """Return the name that a file shares with its predictions, their trail, or the reason why it was rejected."""
    name = uri.rpartition("/")[2].removesuffix(".trace.json").removesuffix(".reason.txt")
    return name.rpartition(".")[0] or name


def last_champions(champions: Sequence[str], count: int) -> set[str]:
    """Return the last `count` of all champions, which are given in the order in which they became champion."""
    return set(list(dict.fromkeys(reversed(champions)))[:count])
