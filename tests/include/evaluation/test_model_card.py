import math
from typing import Any

import pytest
from jinja2 import UndefinedError

from include.evaluation import model_card

EVALUATED: dict[str, Any] = {
    "version": "3",
    "champion": "2",
    "best": "",
    "look": 4,
    "unseen": 0,
    "left_out": 0,
    "scores": {
        "challenger": {
            "rmse": {"value": 1.26, "low": 0.97, "high": 1.85},
            "coverage": {"value": 0.9, "low": 0.7, "high": 1.0},
        },
        "champion": {"rmse": {"value": 1.24, "low": 0.91, "high": 1.86}},
        "mean": {"rmse": {"value": 1.95, "low": 1.5, "high": 2.6}},
    },
    "checks": [
        {"name": "absolute limit", "passed": True, "result": "RMSE 1.26 k€ is within the limit of 1.80 k€"},
        {"name": "energy | class a", "passed": False, "result": "RMSE 2.42 k€ is above the limit of 2.20 k€"},
    ],
}
SUBGROUP = {"column": "energy | class", "group": "a", "rows": 11, "rmse": 2.42, "rmse_low": 1.9, "rmse_high": 3.1}
FACTS: dict[str, Any] = {
    **EVALUATED,
    "model": "houses",
    "unit": "k€",
    "summary": "Predicts the price of a house.",
    "prose": "## What it is for\n\nIt predicts *prices*.\n",
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
    "score_table": model_card.tabulate_scores(EVALUATED, "k€"),
    "subgroups": model_card.tabulate_subgroups([{**SUBGROUP, "mae": 1.1}]),
    "min_rows": 7,
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
        "# houses, version 3",
        "## What it is for\n\nIt predicts *prices*.\n\n## Training",
        "| SHA-256 | `6b2cb7` |",
        "| Rows | 81 for training, 23 held out |",
        "Versions judged by these rows: 4.",
        "nominally of 95 %",
        "| RMSE (k€) | 1.26 (0.97 to 1.85) | 1.24 (0.91 to 1.86) | 1.95 (1.50 to 2.60) |",
        "| Subgroup | Rows | RMSE (k€) | MAE (k€) |",
        r"| energy \| class a | 11 | 2.42 (1.90 to 3.10) | 1.10 |",
        "| Code version | `5120332a` |",
        "| Environment | scikit-learn==1.9.1 |",
        "| Decided by | ann |",
        "| absolute limit | yes | RMSE 1.26 k€ is within the limit of 1.80 k€ |",
        r"| energy \| class a | **no** | RMSE 2.42 k€ is above the limit of 2.20 k€ |",
    ],
)
def test_the_card_contains(fact: str, markdown: str) -> None:
    assert fact in markdown


@pytest.mark.parametrize("name", sorted(FACTS))
def test_a_card_is_not_written_if_a_fact_is_missing(name: str) -> None:
    with pytest.raises(UndefinedError, match=name):
        model_card.render_markdown({key: value for key, value in FACTS.items() if key != name})


def test_text_from_people_stays_text(markdown: str) -> None:
    html = model_card.render_html(markdown, b"PNG")

    assert "<script" not in html
    assert "&lt;script&gt;alert('x')&lt;/script&gt; | [a](javascript:b) # no heading" in html
    assert 'href="javascript' not in html
    assert html.count("<h1>") == 1


@pytest.mark.parametrize("name", ["a_b_c", "*bold*", "~~x~~", "&lt;", "price $|%", "`code`", "[x](y)", "#1"])
def test_column_names_of_any_kind_are_shown_as_they_are(name: str) -> None:
    html = model_card.render_html(f"# t\n\n| {model_card.plain(name)} |\n|---|\n", b"")

    assert f"<th>{name.replace('&', '&amp;')}</th>" in html


def test_the_page_contains_its_picture_and_needs_no_other_file(markdown: str) -> None:
    html = model_card.render_html(markdown, b"PNG")

    assert 'src="data:image/png;base64,UE5H"' in html
    assert "<title>houses, version 3</title>" in html
    assert html.count("<table>") == 6
    assert "evaluation.png" not in html


def test_a_card_without_subgroups_has_no_table_of_them() -> None:
    assert "By subgroup" not in model_card.render_markdown({**FACTS, "subgroups": []})


def test_a_first_version_is_shown_beside_the_mean() -> None:
    scores = {role: EVALUATED["scores"][role] for role in ("challenger", "mean")}

    assert model_card.tabulate_scores({**EVALUATED, "champion": "", "scores": scores}, "").splitlines()[::2] == [
        "|  | version 3 | predicting the mean |",
        "| RMSE | 1.26 (0.97 to 1.85) | 1.95 (1.50 to 2.60) |",
    ]


def test_the_best_earlier_champion_is_named() -> None:
    compared = {**EVALUATED, "best": "1", "scores": EVALUATED["scores"] | {"best": EVALUATED["scores"]["champion"]}}

    assert model_card.tabulate_scores(compared, "").splitlines()[0].endswith("| best earlier champion 1 |")
    assert "and version 1, the best earlier champion on them." in model_card.render_markdown({**FACTS, "best": "1"})


def test_the_card_names_rows_left_out_and_levels_that_no_model_knows() -> None:
    card = model_card.render_markdown({**FACTS, "left_out": 11, "unseen": 3})

    assert "23 held out; 11 more were left out, because a compared model was trained on them |" in card
    assert "3 have a category that no training row had" in card


def test_a_card_without_scores_has_the_verdict() -> None:
    nothing = {**EVALUATED, "scores": {}}

    card = model_card.render_markdown({**FACTS, **nothing, "score_table": model_card.tabulate_scores(nothing, "k€")})

    assert "evaluation.png" not in card
    assert "## Evaluation\n\n" in card
    assert r"| energy \| class a | **no** |" in card


def test_the_summary_shows_scores_and_checks() -> None:
    lines = model_card.summarize(EVALUATED, "k€").splitlines()

    assert lines[0] == "|  | version 3 | champion 2 | predicting the mean |"
    assert "| Coverage of the prediction intervals | 0.90 (0.70 to 1.00) | - | - |" in lines
    assert lines[-2] == "- absolute limit (passed): RMSE 1.26 k€ is within the limit of 1.80 k€"
    assert lines[-1] == r"- energy \| class a (**failed**): RMSE 2.42 k€ is above the limit of 2.20 k€"


def test_a_score_is_described_with_its_interval_if_it_has_one() -> None:
    assert model_card.describe_score({"value": 1.234, "low": 1.0, "high": 1.5}, "km") == "1.23 (1.00 to 1.50) km"
    assert model_card.describe_score({"value": 1.234, "low": math.nan, "high": math.nan}) == "1.23"
