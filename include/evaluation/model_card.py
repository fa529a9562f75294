"""The model card: what a version is for, what it was made from, how good it is, and who promoted it.

The sections follow Mitchell et al. (2019), Model Cards for Model Reporting, doi:10.1145/3287560.3287596.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markdown_it import MarkdownIt
from markupsafe import Markup

from include.evaluation.scores import format_value

PICTURE = "evaluation.png"
METRICS = {"rmse": "RMSE", "mae": "MAE", "r2": "R2", "coverage": "Coverage of the prediction intervals"}
ROLES = {
    "challenger": "version {version}",
    "champion": "champion {champion}",
    "best": "best earlier champion {best}",
    "mean": "predicting the mean",
}
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    undefined=StrictUndefined,
    autoescape=select_autoescape(["html.j2"], default_for_string=False),
    keep_trailing_newline=True,
)
SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|#&~"} | {"\n": " ", "\r": " "})


def render_markdown(facts: Mapping[str, Any]) -> str:
    """Return the card as Markdown; its picture is the file ``evaluation.png`` beside it.

    :param facts: every name in ``templates/model_card.md.j2``: ``prose`` is Markdown and inserted as it is; names and
        results of ``checks`` are escaped here, other text from people or data with :func:`plain` before
    :raises jinja2.UndefinedError: a fact is missing
    """
    return TEMPLATES.get_template("model_card.md.j2").render(facts, plain=plain, label=_label)


def render_html(markdown: str, picture: bytes) -> str:
    """Return the card as one self-contained HTML file; HTML in the Markdown is shown as text."""
    whole = markdown.replace(f"({PICTURE})", f"(data:image/png;base64,{b64encode(picture).decode()})")
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(whole)
    title = markdown.partition("\n")[0].removeprefix("# ")
    return TEMPLATES.get_template("model_card.html.j2").render(body=Markup(body), title=title)  # noqa: S704


def plain(text: object) -> str:
    """Return text with Markdown's special characters escaped, on one line."""
    return str(text).translate(SPECIAL)


def summarize(evaluated: Mapping[str, Any], unit: str) -> str:
    """Return the scores and checks of an evaluation in Markdown, for a person who decides on it."""
    lines = [
        f"- {plain(check['name'])} ({'passed' if check['passed'] else '**failed**'}): {plain(check['result'])}"
        for check in evaluated["checks"]
    ]
    return "\n".join([tabulate_scores(evaluated, unit), "", *lines])


def tabulate_scores(evaluated: Mapping[str, Any], unit: str) -> str:
    """Return a Markdown table: one row per metric, one column per model, values with their intervals.

    :return: empty if no model predicted, because there were too few rows
    """
    scores = evaluated["scores"]
    if not scores:
        return ""
    headings = ["", *(ROLES[role].format(**evaluated) for role in scores)]
    rows = [
        [_label(name, unit), *(describe_score(model[name]) if name in model else "-" for model in scores.values())]
        for name in scores["challenger"]
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in [headings, ["---"] * len(headings), *rows])


def describe_score(score: Mapping[str, float], unit: str = "") -> str:
    """Return a value with its interval, such as ``1.24 (0.93 to 1.85) cm``."""
    value, low, high = (format_value(score[name]) for name in ("value", "low", "high"))
    return f"{value} ({low} to {high}) {unit}".rstrip() if isfinite(score["low"]) else f"{value} {unit}".rstrip()


def tabulate_subgroups(subgroups: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row per subgroup: ``name``, number of ``rows``, and ``rmse`` and ``mae`` as text.

    :param subgroups: records of :func:`include.evaluation.holdout.score_subgroups`
    """
    return [
        {
            "name": plain(f"{group['column']} {group['group']}"),
            "rows": group["rows"],
            "rmse": describe_score({"value": group["rmse"], "low": group["rmse_low"], "high": group["rmse_high"]}),
            "mae": format_value(group["mae"]),
        }
        for group in subgroups
    ]


def _label(metric: str, unit: str) -> str:
    return f"{METRICS[metric]} ({plain(unit)})" if unit and metric in ("rmse", "mae") else METRICS[metric]
