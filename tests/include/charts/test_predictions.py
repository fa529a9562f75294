from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import ExifTags, Image

from include.charts.possum_drawing import draw_possum
from include.charts.predictions import plot_tail_lengths
from include.charts.style import render

NAN = math.nan


@pytest.fixture
def predictions() -> pd.DataFrame:
    """Errors: training 1 and 7 cm (RMSE 5), holdout 2 cm; case 3 was never measured."""
    return pd.DataFrame(
        {
            "case": [4, 1, 3, 2],
            "true": [38.0, 36.0, NAN, 40.0],
            "predicted": [36.0, 37.0, 35.0, 33.0],
            "split": ["holdout", "train", "train", "train"],
        }
    )


def graph_of(figure: Figure) -> Axes:
    return figure.axes[0]


def margin_of(figure: Figure) -> Axes:
    return figure.axes[1]


def line_named(figure: Figure, label: str) -> Line2D:
    return next(line for line in graph_of(figure).lines if line.get_label() == label)


def points_of(line: Line2D) -> dict[float, float]:
    return dict(np.column_stack([line.get_xdata(), line.get_ydata()]).tolist())


def texts_of(figure: Figure) -> str:
    return "\n".join(words(figure.texts))


def tick_labels_of(figure: Figure) -> list[Text]:
    """The labels in sight; matplotlib keeps some beyond the ends of the axis."""
    figure.draw_without_rendering()
    graph = graph_of(figure)
    first, last = graph.get_xlim()
    return [label for label in graph.get_xticklabels() if first <= label.get_position()[0] <= last]


def words(labels: Sequence[Text]) -> list[str]:
    return [label.get_text() for label in labels]


def pixels_of(figure: Figure) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(render(figure))).convert("RGB"))


def save_picture(path: Path, size: tuple[int, int] = (30, 60), colour: Sequence[int] = (0, 128, 255)) -> Path:
    Image.new("RGB", size, tuple(colour)).save(path)
    return path


def test_the_predicted_line_is_in_the_order_of_the_cases(predictions: pd.DataFrame) -> None:
    line = line_named(plot_tail_lengths(predictions), "predicted length")
    assert list(points_of(line).items()) == [(1, 37), (2, 33), (3, 35), (4, 36)]


def test_an_unmeasured_animal_leaves_a_gap_in_the_true_line_at_its_case(predictions: pd.DataFrame) -> None:
    line = line_named(plot_tail_lengths(predictions), "true length")
    np.testing.assert_equal(points_of(line), {1: 36, 2: 40, 3: NAN, 4: 38})


@pytest.mark.parametrize("label", ["true length", "predicted length"])
def test_an_absent_animal_breaks_both_lines_and_shifts_nobody(predictions: pd.DataFrame, label: str) -> None:
    complete = points_of(line_named(plot_tail_lengths(predictions), label))
    without_case_2 = points_of(line_named(plot_tail_lengths(predictions[predictions["case"] != 2]), label))
    np.testing.assert_equal(without_case_2, complete | {2: NAN})


def test_numbers_written_as_text_are_placed_as_numbers(predictions: pd.DataFrame) -> None:
    predictions["case"] = ["10", "2", "9", "1"]
    line = line_named(plot_tail_lengths(predictions), "predicted length")
    assert {2: 37, 9: 35, 10: 36}.items() <= points_of(line).items()


def test_named_animals_are_sorted_by_the_numbers_in_their_names(predictions: pd.DataFrame) -> None:
    predictions["case"] = ["possum 10", "possum 2", "possum 9", "possum 1"]
    figure = plot_tail_lengths(predictions)
    assert words(tick_labels_of(figure)) == ["possum 1", "possum 2", "possum 9", "possum 10"]
    predicted = points_of(line_named(figure, "predicted length"))
    assert predicted == {0: 33, 1: 37, 2: 35, 3: 36}


def test_a_single_animal_is_labelled_with_its_case_alone(predictions: pd.DataFrame) -> None:
    assert words(tick_labels_of(plot_tail_lengths(predictions.head(1)))) == ["4"]


@pytest.mark.parametrize("name", ["{}", "possum number {}"])
def test_the_labels_of_many_animals_do_not_touch(name: str) -> None:
    cases = range(1000, 1400)
    many = pd.DataFrame(
        {"case": [name.format(case) for case in cases], "true": 36.0, "predicted": 37.0, "split": "train"}
    )
    boxes = [label.get_window_extent() for label in tick_labels_of(plot_tail_lengths(many))]
    assert len(boxes) > 2
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_the_axes_are_named_with_their_units(predictions: pd.DataFrame) -> None:
    graph = graph_of(plot_tail_lengths(predictions))
    assert graph.get_xlabel() == "animal (case number)"
    assert graph.get_ylabel() == "tail length (cm)"


def test_the_picture_has_a_title(predictions: pd.DataFrame) -> None:
    assert "How long is a possum\u2019s tail?" in texts_of(plot_tail_lengths(predictions))


def test_holdout_animals_and_no_others_carry_a_diamond(predictions: pd.DataFrame) -> None:
    assert points_of(line_named(plot_tail_lengths(predictions), "predicted, holdout animal")) == {4: 36}


def test_the_legend_explains_every_mark(predictions: pd.DataFrame) -> None:
    legend = graph_of(plot_tail_lengths(predictions)).get_legend()
    assert legend is not None
    assert words(legend.get_texts()) == ["true length", "predicted length", "predicted, holdout animal"]


def test_the_legend_is_silent_on_holdout_animals_when_there_are_none(predictions: pd.DataFrame) -> None:
    legend = graph_of(plot_tail_lengths(predictions[predictions["split"] == "train"])).get_legend()
    assert legend is not None
    assert words(legend.get_texts()) == ["true length", "predicted length"]


@pytest.fixture
def with_intervals(predictions: pd.DataFrame) -> pd.DataFrame:
    """Two cm on either side: animal 4 lies at its interval's very end."""
    return predictions.assign(lower=predictions["predicted"] - 2, upper=predictions["predicted"] + 2)


def intervals_of(figure: Figure) -> dict[float, tuple[float, float]]:
    (bars,) = [bars for bars in graph_of(figure).collections if bars.get_label() == "90 % interval"]
    return {float(x): (float(low), float(high)) for (x, low), (_, high) in bars.get_segments()}


def test_every_animals_interval_is_a_bar_at_its_case(with_intervals: pd.DataFrame) -> None:
    figure = plot_tail_lengths(with_intervals)
    assert intervals_of(figure) == {1: (35, 39), 2: (31, 35), 3: (33, 37), 4: (34, 38)}


def test_an_animal_without_interval_has_no_bar(with_intervals: pd.DataFrame) -> None:
    with_intervals.loc[with_intervals["case"] == 2, ["lower", "upper"]] = NAN
    assert set(intervals_of(plot_tail_lengths(with_intervals))) == {1, 3, 4}


def test_every_interval_is_within_the_graph(with_intervals: pd.DataFrame) -> None:
    low, high = graph_of(plot_tail_lengths(with_intervals.assign(lower=20.0, upper=60.0))).get_ylim()
    assert low < 20
    assert high > 60


def test_the_legend_explains_the_interval_and_stays_out_of_the_margin(with_intervals: pd.DataFrame) -> None:
    figure = plot_tail_lengths(with_intervals)
    figure.draw_without_rendering()
    legend = graph_of(figure).get_legend()
    assert legend is not None
    assert "90 % interval" in words(legend.get_texts())
    assert legend.get_window_extent().x1 < 1200


@pytest.mark.parametrize(("true", "held"), [(38.0, "1 in interval"), (38.1, "0 in interval")])
def test_the_heading_counts_the_holdout_animals_in_their_interval(
    with_intervals: pd.DataFrame, true: float, held: str
) -> None:
    with_intervals.loc[with_intervals["case"] == 4, "true"] = true
    assert f"(n = 1, {held})" in texts_of(plot_tail_lengths(with_intervals))


def test_an_interval_that_is_upside_down_is_refused_with_its_case(with_intervals: pd.DataFrame) -> None:
    with_intervals.loc[with_intervals["case"] == 3, "upper"] = 10.0
    with pytest.raises(ValueError, match="case 3 has an interval that ends below its beginning"):
        plot_tail_lengths(with_intervals)


def test_the_picture_says_which_model_predicted(with_intervals: pd.DataFrame) -> None:
    figure = plot_tail_lengths(with_intervals, model="version 3, champion")
    assert "version 3, champion" in texts_of(figure)


def test_the_error_of_each_split_is_that_of_its_measured_animals(predictions: pd.DataFrame) -> None:
    heading = texts_of(plot_tail_lengths(predictions))
    assert "training 5.00 cm (n = 2)" in heading
    assert "holdout 2.00 cm (n = 1)" in heading


def test_the_heading_says_so_when_there_are_no_holdout_animals(predictions: pd.DataFrame) -> None:
    heading = texts_of(plot_tail_lengths(predictions[predictions["split"] == "train"]))
    assert "training 5.00 cm (n = 2)  ·  no holdout animals to score" in heading


def test_predictions_are_drawn_when_no_animal_was_measured(predictions: pd.DataFrame) -> None:
    figure = plot_tail_lengths(predictions.assign(true=NAN))
    assert "no training animals to score  ·  no holdout animals to score" in texts_of(figure)
    assert points_of(line_named(figure, "predicted length")) == {1: 37, 2: 33, 3: 35, 4: 36}


def test_the_predictions_passed_in_stay_as_they_were(predictions: pd.DataFrame) -> None:
    before = predictions.copy()
    plot_tail_lengths(predictions)
    pd.testing.assert_frame_equal(predictions, before)


def test_the_rendered_picture_is_1600_by_800_pixels(predictions: pd.DataFrame) -> None:
    assert pixels_of(plot_tail_lengths(predictions)).shape == (800, 1600, 3)


def test_a_figure_is_rendered_to_a_png_file(predictions: pd.DataFrame) -> None:
    assert Image.open(BytesIO(render(plot_tail_lengths(predictions)))).format == "PNG"


def test_neither_the_graph_nor_the_margin_is_blank(predictions: pd.DataFrame) -> None:
    pixels = pixels_of(plot_tail_lengths(predictions))
    for part in (pixels[:, :1190], pixels[:, 1200:]):
        assert len(np.unique(part.reshape(-1, 3), axis=0)) > 50


def test_nothing_written_or_labelled_leaves_the_picture(predictions: pd.DataFrame) -> None:
    figure = plot_tail_lengths(predictions)
    figure.draw_without_rendering()
    box = graph_of(figure).get_tightbbox()
    assert box is not None
    assert box.x0 > 0
    assert box.y0 > 0
    assert all(text.get_window_extent().x1 < 1200 for text in figure.texts)


def test_the_drawn_possum_fills_its_canvas() -> None:
    figure = Figure(figsize=(5, 9), dpi=20, facecolor="white")
    draw_possum(figure.add_axes((0, 0, 1, 1)))
    inked = np.argwhere((pixels_of(figure) < 250).any(axis=2))
    height, width = np.ptp(inked, axis=0)
    assert height > 0.9 * 180
    assert width > 0.9 * 100


def test_a_picture_of_ones_own_takes_the_place_of_the_drawing(predictions: pd.DataFrame, tmp_path: Path) -> None:
    figure = plot_tail_lengths(predictions, save_picture(tmp_path / "possum.png"))
    (image,) = margin_of(figure).images
    assert np.asarray(image.get_array())[0, 0].tolist() == [0, 128, 255, 255]
    assert not margin_of(figure).patches


def test_a_picture_of_ones_own_may_be_a_jpeg(predictions: pd.DataFrame, tmp_path: Path) -> None:
    figure = plot_tail_lengths(predictions, save_picture(tmp_path / "possum.jpeg"))
    assert len(margin_of(figure).images) == 1


def test_a_photograph_taken_sideways_is_shown_upright(predictions: pd.DataFrame, tmp_path: Path) -> None:
    sideways = Image.Exif()
    sideways[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (60, 30)).save(tmp_path / "possum.jpeg", exif=sideways)
    (image,) = margin_of(plot_tail_lengths(predictions, tmp_path / "possum.jpeg")).images
    assert image.get_size() == (60, 30)


def test_the_possum_is_drawn_when_the_picture_does_not_exist(predictions: pd.DataFrame, tmp_path: Path) -> None:
    margin = margin_of(plot_tail_lengths(predictions, tmp_path / "possum.jpeg"))
    assert not margin.images
    assert margin.patches


def test_an_unreadable_picture_is_named_with_the_remedy(predictions: pd.DataFrame, tmp_path: Path) -> None:
    broken = tmp_path / "possum.jpeg"
    broken.write_text("not a picture")
    with pytest.raises(ValueError, match=r"possum\.jpeg is no readable picture: replace it .* or delete it"):
        plot_tail_lengths(predictions, broken)


def test_a_truncated_picture_is_named_too(predictions: pd.DataFrame, tmp_path: Path) -> None:
    broken = save_picture(tmp_path / "possum.png", size=(300, 300))
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"possum\.png is no readable picture"):
        plot_tail_lengths(predictions, broken)


@pytest.mark.parametrize("column", ["case", "true", "predicted", "split"])
def test_a_missing_column_is_named(predictions: pd.DataFrame, column: str) -> None:
    with pytest.raises(ValueError, match=f"no column {column}: pass case, true, predicted, split"):
        plot_tail_lengths(predictions.drop(columns=column))


def test_an_empty_table_is_refused(predictions: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="no rows: pass at least one animal"):
        plot_tail_lengths(predictions.head(0))


@pytest.mark.parametrize("twin", [4, "4", 4.0])
def test_a_case_given_twice_is_named(predictions: pd.DataFrame, twin: object) -> None:
    predictions["case"] = pd.Series([4, 1, 3, twin], dtype=object)
    with pytest.raises(ValueError, match=r"case 4.* appears more than once: keep one row an animal"):
        plot_tail_lengths(predictions)


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        ("case", None, "is no identity"),
        ("split", "test", "case 1 is in no known split: set it to train or holdout"),
        ("predicted", None, "case 1 has no predicted length"),
        ("predicted", math.inf, "case 1 has no predicted length"),
        ("true", "long", "case 1 has a true length that is no number"),
    ],
)
def test_a_bad_value_is_refused_with_its_case(
    predictions: pd.DataFrame, column: str, value: object, fault: str
) -> None:
    predictions[column] = predictions[column].astype(object)
    predictions.loc[1, column] = value
    with pytest.raises(ValueError, match=fault):
        plot_tail_lengths(predictions)
