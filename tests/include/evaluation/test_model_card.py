from __future__ import annotations

import math
from typing import Any

import pytest
from jinja2 import UndefinedError

from include.evaluation import model_card

FOUND: dict[str, Any] = {
    "version": "3",
    "champion": "2",
    "scores": [
        {"rmse": {"value": 1.26, "low": 0.97, "high": 1.85}, "coverage": {"value": 0.9, "low": 0.7, "high": 1.0}},
        {"rmse": {"value": 1.24, "low": 0.91, "high": 1.86}},
    ],
    "checks": [
        {"name": "absolute floor", "passed": True, "found": "RMSE 1.26 cm is within 1.80 cm"},
        {"name": "sex m", "passed": False, "found": "RMSE 2.42 cm of 11 animals is beyond 2.20 cm"},
        {"name": "site 6", "passed": True, "found": "RMSE 1.70 cm of 1 animals is within 5.60 cm"},
    ],
}
FACTS: dict[str, Any] = {
    **FOUND,
    "model": "possums",
    "outcome": model_card.plain("<script>alert('x')</script> | [a](javascript:b)\n# no heading"),
    "status": "champion",
    "decided_by": "ann",
    "evaluated_at": "2026-11-21 11:33 UTC",
    "run_id": "r1",
    "run_page": "http://localhost:5000/#/experiments/1/runs/r1",
    "features_uri": "s3://data/features/1/features.parquet",
    "data_sha256": "6b2cb7",
    "training_rows": 81,
    "holdout_rows": 23,
    "score_table": model_card.tabulate_scores(FOUND),
    "subgroups": [{"name": "sex m", "animals": 11, "rmse": "2.42", "mae": "1.10"}],
    "least_animals": 7,
    "code_version": "5120332a",
    "parameters": "alpha = 1.0",
    "environment": "scikit-learn==1.9.1",
}


@pytest.fixture
def markdown() -> str:
    return model_card.render_markdown(FACTS)


@pytest.mark.parametrize(
    "fact",
    [
        "# possums, version 3",
        "Lindenmayer, Viggers, Cunningham and Donnelly (1995)",
        "cran.r-project.org/package=DAAG",
        "GNU General Public License, version 3",
        "| SHA-256 | `6b2cb7` |",
        "**Limits.**",
        "| RMSE (cm) | 1.26 (0.97 to 1.85) | 1.24 (0.91 to 1.86) |",
        "| sex m | 11 | 2.42 | 1.10 |",
        "| Code version | `5120332a` |",
        "| Environment | scikit-learn==1.9.1 |",
        "| Decided by | ann |",
        "| sex m | **no** | RMSE 2.42 cm of 11 animals is beyond 2.20 cm |",
        "| site 6 | yes | RMSE 1.70 cm of 1 animals is within 5.60 cm |",
    ],
)
def test_the_card_tells(fact: str, markdown: str) -> None:
    assert fact in markdown


@pytest.mark.parametrize("name", sorted(set(FACTS) - {"scores"}))
def test_a_card_is_not_written_with_a_fact_missing(name: str) -> None:
    with pytest.raises(UndefinedError, match=name):
        model_card.render_markdown({key: value for key, value in FACTS.items() if key != name})


def test_what_people_write_stays_text(markdown: str) -> None:
    html = model_card.render_html(markdown, b"PNG")

    assert "<script" not in html
    assert "&lt;script&gt;alert('x')&lt;/script&gt; | [a](javascript:b) # no heading" in html
    assert 'href="javascript' not in html
    assert html.count("<h1>") == 1


def test_the_page_holds_its_picture_and_needs_no_other_file(markdown: str) -> None:
    html = model_card.render_html(markdown, b"PNG")

    assert 'src="data:image/png;base64,UE5H"' in html
    assert "<title>possums, version 3</title>" in html
    assert html.count("<table>") == 6
    assert "evaluation.png" not in html


def test_a_first_version_has_nothing_beside_it() -> None:
    alone = {**FOUND, "champion": "", "scores": FOUND["scores"][:1]}

    assert model_card.tabulate_scores(alone).splitlines()[0] == "|  | version 3 |"


def test_the_summary_shows_scores_and_checks() -> None:
    lines = model_card.summarize(FOUND).splitlines()

    assert lines[0] == "|  | version 3 | champion 2 |"
    assert "| Animals inside their prediction interval | 0.90 (0.70 to 1.00) | - |" in lines
    assert "- sex m (**failed**): RMSE 2.42 cm of 11 animals is beyond 2.20 cm" in lines
    assert lines[-1] == "- site 6 (passed): RMSE 1.70 cm of 1 animals is within 5.60 cm"


def test_a_score_without_an_interval_is_its_value() -> None:
    assert model_card.format_score({"value": 1.234, "low": math.nan, "high": math.nan}) == "1.23"
