"""A brushtail possum on a gum branch, its tail beside a ruler: the project's own drawing, in Bezier curves.

The canvas is `WIDTH` by `HEIGHT` units, x = 0 down its middle: a symmetric part is given by its right half.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.bezier import BezierSegment
from matplotlib.patches import Ellipse, FancyBboxPatch, PathPatch
from matplotlib.path import Path
from matplotlib.transforms import Affine2D, Transform

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 10.0, 18.0
HEAD_TILT = 5  # degrees

OUTLINE = "#4b3f3a"
FUR, FUR_SHADE, FUR_LIGHT = "#a3958b", "#8b7c73", "#c9bdb2"
CREAM = "#f3e9dc"
PINK, NOSE = "#e9b3ab", "#dd8f8d"
EYE, GLINT = "#2b2322", "#ffffff"
TAIL, TAIL_SHEEN = "#5b4d48", "#75655e"
BARK, BARK_LINE = "#b79a7c", "#94775c"
LEAF, LEAF_VEIN = "#9db39a", "#7d967c"
RULER, RULER_INK = "#f2d492", "#7a5c2e"


def draw_possum(axes: Axes) -> None:
    """Draw the possum into `axes`, which loses its own frame, ticks and limits."""
    axes.set(xlim=(-WIDTH / 2, WIDTH / 2), ylim=(0, HEIGHT), aspect="equal")
    axes.set_axis_off()
    _draw_leaves(axes)
    _draw_ruler(axes)
    _draw_branch(axes)
    _draw_tail(axes)
    _draw_body(axes)
    _draw_paws(axes)
    head = Affine2D().rotate_deg_around(0, 12, HEAD_TILT) + axes.transData
    _draw_ears(axes, head)
    _draw_face(axes, head)
    _draw_eyes(axes, head)
    _draw_muzzle(axes, head)


def _draw_ears(axes: Axes, head: Transform) -> None:
    outer = [(0.9, 14.2), (1.3, 15.5), (2.1, 16.5), (3.05, 16.75), (3.45, 15.9), (3.2, 14.5), (2.3, 13.2)]
    inner = [(1.5, 14.4), (1.8, 15.3), (2.35, 16.05), (2.85, 16.2), (3.1, 15.6), (2.9, 14.6), (2.4, 13.9)]
    tuft = [(1.05, 14.7), (1.45, 15.2), (1.65, 14.75), (2.0, 14.95), (2.05, 14.4), (2.45, 14.3), (2.2, 13.4)]
    for side in (-1, 1):
        _fill(axes, _flip(outer, side), FUR, transform=head)
        _fill(axes, _flip(inner, side), PINK, edge=None, transform=head)
        _fill(axes, _flip(tuft, side), CREAM, edge=None, transform=head)


def _draw_face(axes: Axes, head: Transform) -> None:
    brow = [(0, 14.8), (1.3, 14.55), (2.3, 13.75), (2.6, 12.8)]
    cheek = [(2.5, 12.45), (2.75, 11.95), (2.2, 12.0), (2.3, 11.5), (1.75, 11.5)]
    chin = [(1.1, 10.9), (0, 10.6)]
    blaze = [(0, 14.3), (0.42, 13.95), (0.5, 13.1), (0.42, 12.3), (0, 12.0)]
    shadow = [(0, 10.9), (1.2, 11.0), (1.5, 11.0), (0.95, 10.4), (0, 10.2)]
    _fill(axes, _mirror(shadow), FUR_SHADE, edge=None, alpha=0.35)
    _fill(axes, _mirror([*brow, *cheek, *chin]), FUR, transform=head)
    _fill(axes, _mirror(blaze), FUR_SHADE, edge=None, alpha=0.7, transform=head)


def _draw_eyes(axes: Axes, head: Transform) -> None:
    for side in (-1, 1):
        x, y = side * 1.22, 12.95
        _dot(axes, (x, y), (1.36, 1.5), FUR_LIGHT, transform=head)
        _dot(axes, (x, y), (1.12, 1.26), EYE, transform=head)
        _dot(axes, (x + 0.2, y + 0.26), (0.38, 0.4), GLINT, transform=head)
        _dot(axes, (x - 0.2, y - 0.3), (0.17, 0.17), GLINT, transform=head)


def _draw_muzzle(axes: Axes, head: Transform) -> None:
    cheeks = [(0, 12.15), (0.55, 12.1), (1.1, 11.55), (0.9, 10.98), (0, 10.72)]
    nose = [(0, 12.16), (0.4, 12.12), (0.46, 11.85), (0, 11.5)]
    smile = [(0, 11.5), (0.1, 11.2), (0.5, 11.2)]
    _fill(axes, _mirror(cheeks), CREAM, edge=None, transform=head)
    _fill(axes, _mirror(nose), NOSE, transform=head)
    _dot(axes, (-0.12, 12.0), (0.24, 0.1), GLINT, alpha=0.6, transform=head)
    for side in (-1, 1):
        _stroke(axes, _flip(smile, side), OUTLINE, transform=head)
        for rise in (-0.5, 0.0, 0.5):
            whisker = [(0.85, 11.5 + rise / 4), (1.9, 11.6 + rise * 0.8), (3.0, 11.4 + rise * 1.6)]
            _stroke(axes, _flip(whisker, side), OUTLINE, width=0.6, transform=head)


def _draw_body(axes: Axes) -> None:
    outline = [(0, 11.9), (1.4, 11.2), (2.3, 9.6), (2.6, 8.1), (1.7, 7.1), (0, 6.95)]
    belly = [(0, 11.0), (0.9, 10.6), (1.35, 9.3), (1.2, 8.0), (0, 7.3)]
    haunch = [(1.5, 9.15), (1.0, 8.5), (0.95, 7.7), (1.2, 7.2)]
    _fill(axes, _mirror(outline), FUR)
    _fill(axes, _mirror(belly), CREAM, edge=None)
    for side in (-1, 1):
        thigh = [*haunch, (2.2, 7.5), (2.3, 8.6)]
        _fill(axes, _flip(thigh, side), FUR, edge=None)
        _stroke(axes, _flip(haunch, side), OUTLINE)


def _draw_paws(axes: Axes) -> None:
    arm = [(1.55, 10.9), (1.75, 10.1), (1.3, 9.3), (0.62, 9.0), (0.42, 9.35), (0.8, 9.85), (0.95, 10.6)]
    for side in (-1, 1):
        for finger in (0.2, 0.36, 0.52):
            _dot(axes, (side * finger, 9.35 - finger / 2), (0.26, 0.5), PINK, ec=OUTLINE, lw=1)
        _fill(axes, _flip(arm, side), FUR, edge=None)
        _stroke(axes, _flip(arm, side), OUTLINE)
        for toe in (0.95, 1.35, 1.75):
            _dot(axes, (side * toe, 7.0), (0.46, 0.75), PINK, ec=OUTLINE, lw=1.2)


def _draw_tail(axes: Axes) -> None:
    """Hang the tail over the branch: `spine` holds the control points of one Bezier curve, root to tip."""
    spine = [(0.8, 8.2), (3.6, 9.2), (4.2, 5.5), (0.4, 4.4), (1.0, -0.6), (5.2, -0.4), (4.1, 2.6)]
    _fill(axes, _brush(spine, thickness=1.0), TAIL)
    _fill(axes, _brush(spine, thickness=0.42, reach=0.86), TAIL_SHEEN, edge=None)


def _draw_branch(axes: Axes) -> None:
    top = [(-4.7, 7.45), (-3.2, 7.3), (-1, 7.1), (1.5, 7.1), (3.5, 7.35), (5.6, 7.9)]
    under = [(5.6, 7.0), (3.5, 6.5), (1.5, 6.3), (-1, 6.4), (-3.2, 6.8), (-4.6, 7.15)]
    shade = [(-3.4, 6.95), (-1, 6.65), (1.5, 6.55), (3.5, 6.75), (5.6, 7.3)]
    _fill(axes, [*top, *under], BARK, edge=None)
    _fill(axes, [*shade, *under], BARK_LINE, edge=None, alpha=0.45)
    _fill(axes, [*top, *under], "none")
    for grain in ([(-3.6, 7.05), (-2.7, 6.95), (-2.0, 6.85)], [(-0.5, 6.75), (0.2, 6.7), (0.7, 6.72)]):
        _stroke(axes, grain, BARK_LINE)


def _draw_leaves(axes: Axes) -> None:
    for x, y, angle in ((-4.3, 7.35, 95), (-4.0, 7.1, -100), (-3.2, 6.9, -72), (4.3, 7.5, 66)):
        turn = Affine2D().rotate_deg(angle).translate(x, y) + axes.transData
        _fill(axes, [(0, 0), (0.9, 0.36), (2.5, 0.15), (1.0, -0.3)], LEAF, edge=LEAF_VEIN, transform=turn)
        _stroke(axes, [(0, 0), (1, 0.05), (2.2, 0.13)], LEAF_VEIN, width=0.8, transform=turn)


def _draw_ruler(axes: Axes) -> None:
    left, right, zero, scale = -0.75, 0.55, 6.1, 0.13  # scale: canvas units a centimetre
    box = (left, zero - 42 * scale), right - left, 43.5 * scale
    axes.add_patch(FancyBboxPatch(*box, boxstyle="round,pad=0.06", fc=RULER, ec=RULER_INK, lw=1.2))
    for centimetres in range(0, 41, 2):
        y, decade = zero - centimetres * scale, centimetres % 10 == 0
        axes.plot([right - (0.45 if decade else 0.25), right], [y, y], color=RULER_INK, lw=0.9)
        if decade and centimetres:
            axes.text(right - 0.55, y, str(centimetres), color=RULER_INK, size=6.5, ha="right", va="center")


def _fill(axes: Axes, points: Points, colour: str, edge: str | None = OUTLINE, **style: Any) -> None:
    line = {"ec": edge, "lw": 1.2} if edge else {"lw": 0}
    axes.add_patch(PathPatch(_curve(points, closed=True), fc=colour, joinstyle="round", **line, **style))


def _dot(axes: Axes, centre: tuple[float, float], size: tuple[float, float], colour: str, **style: Any) -> None:
    axes.add_patch(Ellipse(centre, *size, fc=colour, **{"lw": 0, **style}))


def _stroke(axes: Axes, points: Points, colour: str, width: float = 1.2, **style: Any) -> None:
    axes.add_patch(PathPatch(_curve(points), fc="none", ec=colour, lw=width, capstyle="round", **style))


def _mirror(right: Points) -> Points:
    """The whole outline of a symmetric part, from its right half: top to bottom, both ends on x = 0."""
    return [*right, *[(-x, y) for x, y in reversed(right[1:-1])]]


def _flip(points: Points, side: int) -> Points:
    return [(side * x, y) for x, y in points]


def _curve(points: Points, closed: bool = False) -> Path:
    """A smooth curve through `points`: a Catmull-Rom spline, written as cubic Bezier pieces."""
    knots = np.asarray(points, dtype=float)
    ring = np.vstack([knots[-1], knots, knots[:2]]) if closed else np.vstack([knots[0], knots, knots[-1]])
    before, start, end, after = ring[:-3], ring[1:-2], ring[2:-1], ring[3:]
    pieces = np.stack([start + (end - before) / 6, end - (after - start) / 6, end], axis=1)
    vertices = np.vstack([knots[:1], pieces.reshape(-1, 2)])
    return Path(vertices, [Path.MOVETO] + [Path.CURVE4] * (len(vertices) - 1))


def _brush(spine: Points, thickness: float, reach: float = 1.0, tufts: int = 13) -> Points:
    """The outline of a furry band along the first `reach` of a Bezier curve, its tufts lying tipwards."""
    right, left = [], []
    for tuft in range(tufts):
        for lag, spread in ((0.0, 0.92), (0.05, 1.05), (0.08, 1.16)):  # a tuft swells, then ends in a point
            along = min(tuft / tufts + lag, 1)
            half_width = spread * thickness * _fullness(along)
            right.append(_beside(spine, along * reach, half_width))
            left.append(_beside(spine, along * reach, -half_width))
    return [*right, *reversed(left)]


def _fullness(along: float) -> float:
    """How bushy the tail is, `along` (0 to 1) its length: slim at the root, full below, closed at the tip."""
    return float((0.5 + 0.5 * np.sin(np.pi * along**0.8)) * np.sqrt(1 - along**8))


def _beside(spine: Points, along: float, offset: float) -> tuple[float, float]:
    """The point `offset` to the left of the Bezier curve, `along` (0 to 1) its parameter."""
    curve = BezierSegment(np.asarray(spine))
    dx, dy = curve(min(along + 0.001, 1)) - curve(max(along - 0.001, 0))
    x, y = curve(along)
    return x - offset * dy / np.hypot(dx, dy), y + offset * dx / np.hypot(dx, dy)
