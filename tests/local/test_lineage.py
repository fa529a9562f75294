import json
from pathlib import Path

from rich.console import Console

from include.services.lineage import Dataset
from include.services.lineage_graph import Graph, Step
from local.lineage import make_cards, show_lineage
from tests.include.services.test_lineage_graph import EVENTS

RAW = Dataset("s3://data", "raw.parquet")


def test_the_lineage_of_the_last_predictions_is_printed_and_drawn(tmp_path: Path) -> None:
    (events := tmp_path / "events.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in EVENTS))
    console, picture = Console(record=True, width=120), tmp_path / "lineage.png"

    graph = show_lineage(events, picture, console)

    printed = console.export_text()
    assert "s3://data/predictions/1/predicted.csv comes from:" in printed
    assert [step.job for step in graph.steps if step.job in printed] == [step.job for step in graph.steps]
    assert "8e3f" in printed
    assert "measure_drift" not in printed
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_lineage_that_begins_with_many_files_shows_them_as_one_card() -> None:
    files = tuple(Dataset("s3://data", f"labelled/{number}.csv") for number in range(50))
    cards = make_cards(Graph([Step("1", "feature_eng.check_data", files, (RAW,))]))

    assert [card.name for card in cards.values()] == ["50 files", "raw.parquet"]
    assert cards[RAW].sources == files[:1]


def test_datasets_know_their_system_and_their_sources() -> None:
    csv = Dataset("file", "/houses.csv")
    cards = make_cards(Graph([Step("1", "feature_eng.extract_data", (csv,), (RAW,))]))

    assert [card.details for card in cards.values()] == ["file", "s3"]
    assert cards[RAW].sources == (csv,)
