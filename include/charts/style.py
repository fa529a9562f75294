"""What the project's pictures share: colours, resolution, format."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 160
PAPER, INK, MUTED, GRID = "#fbf8f3", "#33302e", "#6f6964", "#e9e3da"
TRUE, PREDICTED = "#2f5d7c", "#dd8a2e"  # blue and orange: colour-blind readers tell them apart
MISS = "#b9ab9a"


def render(figure: Figure) -> bytes:
    """Return `figure` as the content of a PNG file."""
    content = BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()
