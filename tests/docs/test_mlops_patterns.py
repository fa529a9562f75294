"""The page of patterns leads to the lines that it speaks of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "docs" / "mlops-patterns.md"
LINKS = re.findall(r"\[`([^`]+)`\]\(\.\./([^)#]+)#L(\d+)\)", PAGE.read_text())


@pytest.mark.parametrize(("name", "file", "line"), LINKS, ids=[f"{file}:{name}" for name, file, _ in LINKS])
def test_a_link_leads_to_the_line_that_it_names(name: str, file: str, line: str) -> None:
    lines = (PROJECT / file).read_text().splitlines()
    where = [number for number, text in enumerate(lines, 1) if name in text]
    assert int(line) in where, f"{name} is in line {where} of {file} now"


def test_every_page_that_is_linked_is_there() -> None:
    pages = [
        page
        for document in PROJECT.glob("docs/*.md")
        for page in re.findall(r"\]\((\w[^):#]*\.md)", document.read_text())
    ]
    assert pages
    assert [page for page in pages if not (PROJECT / "docs" / page).exists()] == []


def test_every_item_of_the_guide_has_a_place() -> None:
    assert len(LINKS) >= 35
