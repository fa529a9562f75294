from io import BytesIO

from matplotlib.text import Text
from PIL import Image

from include.charts.lineage import Card, place_cards, plot_lineage
from include.charts.style import render

CARDS = {
    "csv": Card("houses.csv", "file"),
    "raw": Card("raw.parquet", "s3 · 104 rows · 1 columns", "feature_eng.extract_data", ("csv",)),
    "features": Card("features.parquet", "s3", "feature_eng.save", ("raw",)),
    "model": Card("houses/1", "mlflow", "train.train_model", ("features",)),
    "rows": Card("rows.parquet", "s3", "predict.fetch", ("features",)),
    "predicted": Card("an $odd$ name.csv", "s3", "predict.run_prediction", ("rows", "model", "raw")),
}


def test_every_card_is_below_its_sources_and_the_longest_path_is_one_column() -> None:
    places = place_cards(CARDS)
    for key, card in CARDS.items():
        assert all(places[source][1] < places[key][1] for source in card.sources)
    assert len(set(places.values())) == len(CARDS)
    assert {places[key][0] for key in ("csv", "raw", "features", "predicted")} == {0}, "the longest path"
    assert {places[key][0] for key in ("model", "rows")} == {0, 1}


def test_the_chart_names_datasets_tasks_dags_and_counts() -> None:
    figure = plot_lineage(CARDS)
    texts = {text.get_text() for text in figure.findobj(Text)}
    assert {"houses.csv", "raw.parquet", "houses/1", "an $odd$ name.csv", "train_model", "train", "predict"} <= texts
    assert {"s3 · 104 rows · 1 columns", "6 datasets, 5 tasks"} <= texts
    with Image.open(BytesIO(render(figure))) as picture:
        assert picture.width > 400


def test_a_dataset_that_a_task_reads_and_replaces_is_drawn() -> None:
    assert plot_lineage({"a": Card("a", "", "x.y", ("a", "b")), "b": Card("b", "", "x.z", ("a",))})
