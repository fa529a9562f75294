import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from time import process_time

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import ExifTags, Image

from include.charts.predictions import plot_predictions
from include.charts.style import render
from include.spec import ROW_HASH, Number

from ...toy import HOUSES

NAN = math.nan
ID = HOUSES.id


@pytest.fixture
def predictions() -> pd.DataFrame:
    """Errors: training 1 and 7 (RMSE 5), holdout 2; row 3 has no true value, row 4 lies at its interval's end."""
    table = pd.DataFrame(
        {
            ID: ["4", "1", "3", "2"],
            "true": [380.0, 360.0, NAN, 400.0],
            "predicted": [378.0, 361.0, 350.0, 393.0],
            "split": ["holdout", "train", "train", "train"],
        }
    )
    return table.assign(lower=table["predicted"] - 2, upper=table["predicted"] + 2)


def make_many(count: int, identity: str = "{}") -> pd.DataFrame:
    rng = np.random.default_rng(0)
    true = rng.uniform(1e5, 9e5, count)
    predicted = true + rng.normal(0, 3e4, count)
    table = pd.DataFrame({ID: [identity.format(row) for row in range(count)], "true": true, "predicted": predicted})
    return table.assign(lower=predicted - 4e4, upper=predicted + 4e4, split="train")


def graph_of(figure: Figure) -> Axes:
    return next(graph for graph in figure.axes if graph.get_xlabel())


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


def test_both_lines_are_in_the_order_of_the_ids_with_a_gap_for_an_unknown_value(predictions: pd.DataFrame) -> None:
    figure = plot_predictions(predictions, HOUSES)
    assert list(points_of(line_named(figure, "predicted")).items()) == [(1, 361), (2, 393), (3, 350), (4, 378)]
    np.testing.assert_equal(points_of(line_named(figure, "true")), {1: 360, 2: 400, 3: NAN, 4: 380})


@pytest.mark.parametrize("label", ["true", "predicted"])
def test_an_absent_row_breaks_both_lines_and_shifts_no_other(predictions: pd.DataFrame, label: str) -> None:
    complete = points_of(line_named(plot_predictions(predictions, HOUSES), label))
    without_row_2 = points_of(line_named(plot_predictions(predictions[predictions[ID] != "2"], HOUSES), label))
    np.testing.assert_equal(without_row_2, complete | {2: NAN})


def test_named_rows_are_sorted_by_the_numbers_in_their_names(predictions: pd.DataFrame) -> None:
    predictions[ID] = ["house 10", "house 2", "house 9", "house 1"]
    figure = plot_predictions(predictions, HOUSES)
    assert words(tick_labels_of(figure)) == ["house 1", "house 2", "house 9", "house 10"]
    assert points_of(line_named(figure, "predicted")) == {0: 393, 1: 361, 2: 350, 3: 378}


@pytest.mark.parametrize("ids", [["40000", "1", "3", "2"], ["1", "01", "2", "3"], ["1.5", "1", "2", "3"]])
def test_numbers_that_are_far_apart_or_not_unique_are_ranked(predictions: pd.DataFrame, ids: list[str]) -> None:
    figure = plot_predictions(predictions.assign(**{ID: ids}), HOUSES)
    assert set(points_of(line_named(figure, "predicted"))) == {0, 1, 2, 3}


def test_rows_without_ids_keep_the_order_of_the_table(predictions: pd.DataFrame) -> None:
    rows = predictions.rename(columns={ID: ROW_HASH}).assign(**{ROW_HASH: ["f00", "a11", "b22", "c33"]})
    figure = plot_predictions(rows, replace(HOUSES, row_id=None))
    assert points_of(line_named(figure, "predicted")) == {1: 378, 2: 361, 3: 350, 4: 393}
    assert graph_of(figure).get_xlabel() == "row"
    assert words(tick_labels_of(figure)) == ["1", "2", "3", "4"]


def test_a_single_row_is_labelled_with_its_id_alone(predictions: pd.DataFrame) -> None:
    assert words(tick_labels_of(plot_predictions(predictions.head(1), HOUSES))) == ["4"]


@pytest.mark.parametrize("identity", ["10{:03}", "house number {}", "WWWWWWWW{0}" + "W" * 30])
@pytest.mark.parametrize("count", [250, 4000])
def test_the_labels_of_many_rows_do_not_touch(identity: str, count: int) -> None:
    boxes = [
        label.get_window_extent() for label in tick_labels_of(plot_predictions(make_many(count, identity), HOUSES))
    ]
    assert len(boxes) > 1
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    assert boxes[0].x0 > 0
    assert boxes[-1].x1 < 1600


def test_title_and_axes_are_those_of_the_problem(predictions: pd.DataFrame) -> None:
    figure = plot_predictions(predictions, HOUSES, model="version 3, champion")
    assert graph_of(figure).get_xlabel() == "address"
    assert graph_of(figure).get_ylabel() == "price (k\u20ac)"
    assert "What does a house cost?" in texts_of(figure)
    assert "version 3, champion" in texts_of(figure)


def test_the_legend_explains_every_mark_and_no_other(predictions: pd.DataFrame) -> None:
    complete = graph_of(plot_predictions(predictions, HOUSES)).get_legend()
    fewer = predictions[predictions["split"] == "train"].assign(lower=NAN, upper=NAN)
    training = graph_of(plot_predictions(fewer, HOUSES)).get_legend()
    assert complete is not None
    assert training is not None
    assert words(complete.get_texts()) == ["90 % prediction interval", "true", "predicted", "predicted, holdout row"]
    assert words(training.get_texts()) == ["true", "predicted"]


def test_holdout_rows_and_no_others_carry_a_diamond(predictions: pd.DataFrame) -> None:
    figure = plot_predictions(predictions, HOUSES)
    assert points_of(line_named(figure, "predicted, holdout row")) == {4: 378}


def test_every_known_interval_is_a_bar_at_its_row(predictions: pd.DataFrame) -> None:
    predictions.loc[predictions[ID] == "2", ["lower", "upper"]] = NAN
    graph = graph_of(plot_predictions(predictions, HOUSES))
    (bars,) = [bars for bars in graph.collections if bars.get_label() == "90 % prediction interval"]
    intervals = {x: (low, high) for (x, low), (_, high) in bars.get_segments()}
    assert intervals == {1: (359, 363), 3: (348, 352), 4: (376, 380)}


def test_every_interval_is_within_the_graph(predictions: pd.DataFrame) -> None:
    low, high = graph_of(plot_predictions(predictions.assign(lower=200.0, upper=600.0), HOUSES)).get_ylim()
    assert low < 200
    assert high > 600


def test_a_few_rows_with_small_differences_do_not_look_far_apart(predictions: pd.DataFrame) -> None:
    low, high = graph_of(plot_predictions(predictions.head(1), HOUSES)).get_ylim()
    assert high - low == pytest.approx((900 - 50) / 5)


@pytest.mark.parametrize(("true", "covered"), [(380.0, "100 % in interval"), (380.1, "0 % in interval")])
def test_the_heading_has_the_coverage_of_the_holdout(predictions: pd.DataFrame, true: float, covered: str) -> None:
    predictions.loc[predictions[ID] == "4", "true"] = true
    assert f"(n = 1, {covered})" in texts_of(plot_predictions(predictions, HOUSES))


def test_the_error_of_each_split_is_that_of_its_rows_with_a_true_value(predictions: pd.DataFrame) -> None:
    heading = texts_of(plot_predictions(predictions, HOUSES))
    assert "training 5.00 k\u20ac (n = 2)" in heading
    assert "holdout 2.00 k\u20ac (n = 1" in heading


def test_predictions_are_drawn_when_no_true_value_is_known(predictions: pd.DataFrame) -> None:
    figure = plot_predictions(predictions.assign(true=NAN), HOUSES)
    assert "no training rows to score  \u00b7  no holdout rows to score" in texts_of(figure)
    assert points_of(line_named(figure, "predicted")) == {1: 361, 2: 393, 3: 350, 4: 378}


@pytest.mark.parametrize("identity", ["{}", "house {}"])
def test_a_huge_table_is_drawn_quickly_as_a_sample_with_the_errors_of_all_rows(identity: str) -> None:
    huge = make_many(50_000, identity)
    huge.loc[::3, "split"] = "holdout"
    start = process_time()
    figure = plot_predictions(huge, HOUSES)
    render(figure)
    duration = process_time() - start
    places = np.asarray(line_named(figure, "predicted").get_xdata())
    errors = (huge["predicted"] - huge["true"])[huge["split"] == "train"]

    assert duration < 3
    assert "showing 300 of 50,000 rows" in texts_of(figure)
    assert f"training {np.sqrt((errors**2).mean()):,.0f} k\u20ac (n = 33,333)" in texts_of(figure)
    assert (len(places), places[0], places[-1]) == (300, 0, 49_999)
    assert np.ptp(np.diff(places)) <= 1, "evenly spaced"


@pytest.mark.parametrize("scale", [1e-4, 1, 1e7])
def test_labels_stay_within_the_figure_and_clear_of_each_other_at_any_scale(
    predictions: pd.DataFrame, scale: float
) -> None:
    numbers = ["true", "predicted", "lower", "upper"]
    target = Number("price", "cost of $100 at 5 % in a_very_long_and_winding description " * 3, unit="$")
    problem = replace(HOUSES, title="Who pays $1, who pays $2? " * 20, target=target)
    figure = plot_predictions(predictions.assign(**(predictions[numbers] * scale)), problem, model="version $3$")
    render(figure)
    corner, title, subtitle = (text.get_window_extent() for text in figure.texts)
    box = graph_of(figure).get_tightbbox()
    assert box is not None
    assert box.x0 > 0
    assert box.y0 > 0
    assert title.x1 < corner.x0
    assert max(corner.x1, subtitle.x1) < 1600


def save_image(path: Path, size: tuple[int, int] = (30, 60)) -> Path:
    Image.new("RGB", size, (0, 128, 255)).save(path)
    return path


def images_of(figure: Figure) -> list:
    return [image for graph in figure.axes for image in graph.images]


@pytest.mark.parametrize("name", ["photo.png", "photo.jpeg"])
def test_an_image_is_shown_beside_the_graph(predictions: pd.DataFrame, tmp_path: Path, name: str) -> None:
    figure = plot_predictions(predictions, HOUSES, save_image(tmp_path / name))
    (image,) = images_of(figure)
    np.testing.assert_allclose(np.asarray(image.get_array())[0, 0], [0, 128, 255, 255], atol=3)
    assert graph_of(figure).get_position().x1 < image.axes.get_position().x0


@pytest.mark.parametrize("image", [None, Path("missing.png")])
def test_without_an_image_the_graph_takes_the_whole_width(predictions: pd.DataFrame, image: Path | None) -> None:
    figure = plot_predictions(predictions, HOUSES, image)
    assert not images_of(figure)
    assert graph_of(figure).get_position().x1 > 0.95


def test_a_photograph_taken_sideways_is_shown_upright(predictions: pd.DataFrame, tmp_path: Path) -> None:
    sideways = Image.Exif()
    sideways[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (60, 30)).save(tmp_path / "photo.jpeg", exif=sideways)
    (image,) = images_of(plot_predictions(predictions, HOUSES, tmp_path / "photo.jpeg"))
    assert image.get_size() == (60, 30)


@pytest.mark.parametrize("length", [0, 100])
def test_an_unreadable_image_is_named_with_the_remedy(predictions: pd.DataFrame, tmp_path: Path, length: int) -> None:
    broken = save_image(tmp_path / "photo.png", size=(300, 300))
    broken.write_bytes(broken.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"photo\.png is not a readable image: replace it .* or delete it"):
        plot_predictions(predictions, HOUSES, broken)
