"""A small problem of another field, with column names of every kind, and rows of it: what unit tests work on."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pandas as pd

from include.spec import Category, Gate, Number, Problem

AREA, DISTRICT = "living area (m²)", "split"  # odd on purpose, as are "index" and "lambda"

HOUSES = Problem(
    name="house",
    title="What does a house cost?",
    summary="Predicts the price of a house (k€).",
    table="include/houses.csv",
    row_id="address",
    target=Number("price", unit="k€", possible=(0, 10_000), expected=(50, 900)),
    features=(
        Category(DISTRICT, "district", levels=("north", "south"), new_levels="error"),
        Category("index", "energy class", levels=("a", "b", "c"), new_levels="warning", nullable=True),
        Number(AREA, unit="m²", possible=(1, 2000), expected=(20, 300)),
        Number("lambda", "rooms", possible=(1, 50), expected=(1, 12)),
    ),
    gate=Gate(max_rmse=60.0, subgroup_max_rmse={DISTRICT: 80.0}),
    experiment="House_prices",
    registered_model="Reg_house",
    artifact_bucket="mlflowdatahouses",
    picture="house_prices.png",
    predictions_file="house_prices.csv",
)
WITHOUT_ID = replace(HOUSES, row_id=None)


def make_rows(count: int = 120, seed: int = 0) -> pd.DataFrame:
    """Return raw rows as they are in a file: a linear price with noise of 20 k€."""
    rng = np.random.default_rng(seed)
    area, rooms = rng.uniform(40, 200, count).round(1), rng.integers(1, 9, count)
    district, energy = rng.choice(["north", "south"], count), rng.choice(["a", "b", "c"], count)
    price = 100 + 2 * area + 10 * rooms + 40 * (district == "south") + rng.normal(0, 20, count)
    return pd.DataFrame(
        {
            "address": [f"Street {number}" for number in range(1, count + 1)],
            DISTRICT: district,
            "index": energy,
            AREA: area,
            "lambda": rooms,
            "price": price.round(1),
        }
    )


def in_csv(rows: pd.DataFrame) -> bytes:
    """Return the content of a CSV file with these rows, without their index."""
    return rows.to_csv(index=False).encode()


def in_parquet(rows: pd.DataFrame) -> bytes:
    """Return the content of a Parquet file with these rows, without their index."""
    rows.to_parquet(content := BytesIO(), index=False)
    return content.getvalue()
