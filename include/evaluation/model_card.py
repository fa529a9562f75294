"""The model card: what a version is for, what it was made from, how good it is, and who let it through.

The parts are those of Mitchell et al. (2019), Model Cards for Model Reporting, doi:10.1145/3287560.3287596.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markdown_it import MarkdownIt
from markupsafe import Markup

PICTURE = "evaluation.png"
UNITS = {"rmse": "RMSE (cm)", "mae": "MAE (cm)", "r2": "R2", "coverage": "Animals inside their prediction interval"}
SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|#"} | {"\n": " ", "\r": " "})


def render_markdown(facts: Mapping[str, Any]) -> str:
    """Return the card as Markdown; its picture is the file ``evaluation.png`` beside it.

    :param facts: every name that ``templates/model_card.md.j2`` uses; what people wrote goes through :func:`plain`
    :raises jinja2.UndefinedError: one is missing
    """
    return _templates().get_template("model_card.md.j2").render(facts)


def render_html(markdown: str, picture: bytes) -> str:
    """Return the card as one HTML file that needs no other: the picture is inside. HTML in it is shown, not obeyed."""
    whole = markdown.replace(f"({PICTURE})", f"(data:image/png;base64,{b64encode(picture).decode()})")
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(whole)
    title = markdown.partition("\n")[0].removeprefix("# ")
    return _templates().get_template("model_card.html.j2").render(body=Markup(body), title=title)  # noqa: S704


def plain(text: object) -> str:
    """Return text that means itself in a Markdown table, whatever someone put into it."""
    return str(text).translate(SPECIAL)


def summarize(found: Mapping[str, Any]) -> str:
    """Return what a person needs to decide on an evaluation, in Markdown: the scores and the checks."""
    lines = [
        f"- {check['name']} ({'passed' if check['passed'] else '**failed**'}): {check['found']}"
        for check in found["checks"]
    ]
    return "\n".join([tabulate_scores(found), "", *lines])


def tabulate_scores(found: Mapping[str, Any]) -> str:
    """Return a Markdown table: one row a metric with its unit, one column a model, values with their intervals."""
    headings = ["", f"version {found['version']}"]
    headings += [f"champion {found['champion']}"] if found["champion"] else []
    rows = [
        [UNITS[name], *(format_score(model[name]) if name in model else "-" for model in found["scores"])]
        for name in found["scores"][0]
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in [headings, ["---"] * len(headings), *rows])


def format_score(score: Mapping[str, float]) -> str:
    """Return a value with its interval, such as ``1.24 (0.93 to 1.85)``."""
    if not math.isfinite(score["low"]):
        return f"{score['value']:.2f}"
    return f"{score['value']:.2f} ({score['low']:.2f} to {score['high']:.2f})"


def tabulate_subgroups(subgroups: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row a subgroup: name, number of animals and errors with intervals."""
    return [
        {
            "name": f"{group['column']} {group['group']}",
            "animals": group["animals"],
            "rmse": format_score({"value": group["rmse"], "low": group["rmse_low"], "high": group["rmse_high"]}),
            "mae": f"{group['mae']:.2f}",
        }
        for group in subgroups
    ]


def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        autoescape=select_autoescape(["html.j2"], default_for_string=False),
        keep_trailing_newline=True,
    )
