from __future__ import annotations

from io import BytesIO

from matplotlib.text import Text
from PIL import Image

from include.charts.lineage import place_nodes, plot_lineage
from include.charts.style import render
from include.platform.lineage import Dataset
from include.platform.lineage_graph import Graph, Step

CSV, RAW, MODEL, PREDICTED = (
    Dataset("file", "/project/possum.csv"),
    Dataset("s3://data", "raw.parquet"),
    Dataset("mlflow://localhost:5000", "possums/1"),
    Dataset("s3://data", "predicted.csv"),
)
STEPS = [
    Step("1", "feature_eng.extract_data", (CSV,), (RAW,)),
    Step("2", "train.train_model", (RAW,), (MODEL,)),
    Step("3", "predict.run_prediction", (RAW, MODEL), (PREDICTED,)),
]


def test_everything_stands_below_what_it_comes_from() -> None:
    places = place_nodes(STEPS)
    rows = [places[node][1] for node in (CSV, "1", RAW, "2", MODEL, "3", PREDICTED)]
    assert rows == list(range(7))
    assert len(set(places.values())) == len(places), "nothing stands upon something else"


def test_the_picture_names_datasets_tasks_and_counts() -> None:
    facets = {RAW: {"dataQualityMetrics": {"rowCount": 104}, "schema": {"fields": [{"name": "age"}]}}}
    figure = plot_lineage(Graph(STEPS, facets))
    texts = {text.get_text() for text in figure.findobj(Text)}
    assert {"possum.csv", "raw.parquet", "possums/1", "predicted.csv", "train_model"} <= texts
    assert "s3 \u00b7 104 rows \u00b7 1 columns" in texts
    with Image.open(BytesIO(render(figure))) as picture:
        assert picture.width > 400
