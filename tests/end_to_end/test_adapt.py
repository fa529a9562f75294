"""The pipeline on tables of another field, after `make adapt` and nothing else but a unit."""

import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from local.airflow import Airflow
from local.settings import ENVIRONMENTS, PROJECT, USER, Settings, inherited, temporary
from tests.checkout import copy_project
from tests.waiting import wait_until

TARGET, RAIN = "yield (t/ha)", "Regen im März (mm)"
PAGE = (PROJECT / "docs/your-own-data.md").read_text()
UPLOAD = re.search(r"```sh\n(\. \.local/secrets\.env\n.+?)```", PAGE, re.DOTALL)


def make_harvest(count: int, first: int = 1) -> pd.DataFrame:
    """Return fields of wheat: odd names, missing cells, many towns, dates, and a yield with a noise of 0.5 t/ha."""
    rng = np.random.default_rng(first)
    rain, soil = rng.uniform(10, 90, count).round(1), rng.choice(["loam", "sand", "clay"], count, p=[0.5, 0.3, 0.2])
    cost, irrigated = rng.lognormal(5, 0.3, count).round(2), rng.choice(["yes", "no"], count)
    noise = rng.normal(0, 0.5, count)
    harvested = 3 + 0.04 * rain + 1.5 * (soil == "loam") + 0.004 * cost + (irrigated == "yes") + noise
    table = pd.DataFrame(
        {
            "plot no": [f"P-{number}" for number in range(first, first + count)],
            "sown on": pd.date_range("2024-03-01", periods=count, freq="h").strftime("%d.%m.%Y"),
            "lambda": soil,
            "split": irrigated,
            "town": [f"Town {number}" for number in rng.integers(1, 61, count)],
            RAIN: rain,
            "$ per 100 %": cost,
            "index": rng.integers(0, 1000, count),
            TARGET: harvested.round(2),
        }
    )
    for column, share in ((RAIN, 0.1), ("lambda", 0.05), ("index", 0.2)):
        table[column] = table[column].astype(object).mask(rng.random(count) < share, None)
    return table


@dataclass(frozen=True)
class Adapted:
    """An adapted copy of the project, whose stack runs."""

    settings: Settings
    printed: str

    def objects(self, pattern: str) -> list[Path]:
        """Return the objects in S3 whose bucket and key match a pattern."""
        return sorted((self.settings.home / "s3").glob(pattern))

    def read(self, pattern: str) -> pd.DataFrame:
        (file,) = self.objects(pattern)
        return pd.read_csv(file, dtype={"plot no": str})

    def mlflow(self, endpoint: str, **params: str) -> dict[str, Any]:
        login = (USER, self.settings.secrets()["MLFLOW_PASSWORD"])
        response = httpx.get(f"{self.settings.url('mlflow')}/api/2.0/mlflow/{endpoint}", params=params, auth=login)
        return response.raise_for_status().json()

    def upload(self, rows: pd.DataFrame, folder: str, name: str) -> None:
        """Upload rows with the command of the documentation."""
        assert UPLOAD
        rows.to_csv(self.settings.project / name, index=False)
        command = UPLOAD[1].replace("new_houses.csv", name).replace("incoming/", f"{folder}/")
        command = command.replace(".local/envs", str(ENVIRONMENTS)).replace("9000", str(self.settings.ports["S3_PORT"]))
        subprocess.run(["bash", "-e", "-c", command], cwd=self.settings.project, env=inherited(), check=True)

    def wait_for_run(self, dag_id: str, timeout: float = 180) -> str:
        """Wait for the first run of a DAG that an upload triggers, and return its id.

        Not for one by the clock: the first start of Airflow makes up for a time that has passed a short while before.
        """
        airflow = Airflow(self.settings)
        runs = wait_until(
            lambda: airflow.get(f"dags/{dag_id}/dagRuns", run_type="asset_triggered")["dag_runs"],
            timeout,
            f"nothing has triggered {dag_id}",
        )
        assert airflow.wait(dag_id, runs[0]["dag_run_id"]) == "success"
        return runs[0]["dag_run_id"]


def run(settings: Settings, *arguments: str) -> str:
    """Run a module of the copy and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=settings.project,
        env={**inherited(), **{name: str(port) for name, port in settings.ports.items()}, "COLUMNS": "150"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def adapted(folder: Path, table: Path, unit: str = "") -> Iterator[Adapted]:
    """Adapt a copy of the project to a table, give the target a unit, and run the demonstration."""
    settings = temporary(folder)
    copy_project(settings.project)
    settings = replace(settings, home=settings.project / ".local")
    run(settings, "local.adapt", f"--table={table}", f"--target={TARGET}", "--force")
    description = settings.project / "include/problem.py"
    target = f'target=Number("{TARGET}", '
    description.write_text(description.read_text().replace(target, f'{target}unit="{unit}", '))
    try:
        yield Adapted(settings, run(settings, "local", "demo"))
    finally:
        run(settings, "local", "down")


@pytest.fixture(scope="module")
def harvest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adapted]:
    """300 rows of a CSV file, with an ID that is proposed."""
    folder = tmp_path_factory.mktemp("harvest")
    make_harvest(300).to_csv(folder / "Harvest 2024.csv", index=False)
    with adapted(folder, folder / "Harvest 2024.csv", unit="t/ha") as project:
        yield project


def test_the_tests_that_take_rows_from_the_projects_table_pass_for_another_one(harvest: Adapted) -> None:
    modules = ("serving/test_compiled", "serving/test_guard", "serving/test_model_server", "services/test_tracking")
    tests = [f"tests/include/{module}.py" for module in modules]
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "-k", "not swapped", *tests]

    done = subprocess.run(
        command, cwd=harvest.settings.project, env=inherited(), capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout


def test_the_first_model_becomes_champion(harvest: Adapted) -> None:
    model = harvest.mlflow("registered-models/get", name="Reg_harvest_2024")["registered_model"]

    assert [alias["alias"] for alias in model["aliases"] if alias["alias"] == "champion"] == ["champion"]
    assert "promoted to champion" in harvest.printed
    assert harvest.mlflow("experiments/get-by-name", experiment_name="Harvest_2024")


def test_every_row_is_predicted_with_an_interval(harvest: Adapted) -> None:
    predicted = harvest.read("data/predictions/*/harvest_2024_predictions.csv").set_index("plot no")
    rows = make_harvest(300).set_index("plot no")

    assert list(predicted) == ["true", "predicted", "lower", "upper", "split", "warnings"]
    assert set(predicted.index) == set(rows.index)
    assert (predicted["true"] == rows[TARGET].reindex(predicted.index)).all()
    assert (predicted["lower"] <= predicted["predicted"]).all()
    assert (predicted["predicted"] <= predicted["upper"]).all()
    held_out = predicted[predicted["split"] == "holdout"]
    assert held_out["true"].between(held_out["lower"], held_out["upper"]).mean() > 0.75
    assert np.sqrt(((held_out["true"] - held_out["predicted"]) ** 2).mean()) < 0.8


def test_the_model_card_names_the_target_and_quotes_the_prose(harvest: Adapted) -> None:
    (card,) = harvest.objects("mlflowdataharvest2024/**/model_card.md")
    text = card.read_text()

    assert "t/ha" in text
    assert "Predicts yield (t/ha) from 6 columns" in text
    assert (harvest.settings.project / "include/problem.md").read_text().strip() in text


def test_the_picture_is_drawn(harvest: Adapted) -> None:
    picture = (harvest.settings.project / "include/plots/harvest_2024.png").read_bytes()
    width, height = struct.unpack(">II", picture[16:24])

    assert picture.startswith(b"\x89PNG")
    assert 1000 < width < 4000
    assert 0.4 < height / width < 1
    assert [file.read_bytes() for file in harvest.objects("data/predictions/*/harvest_2024.png")] == [picture]


def test_new_rows_and_new_targets_are_processed(harvest: Adapted) -> None:
    new, labelled = make_harvest(60, first=1001).drop(columns=TARGET), make_harvest(70, first=2001)
    new.loc[0, ["town", "lambda"]] = ["Town 99", None]

    harvest.upload(new, "incoming", "new_fields.csv")
    harvest.wait_for_run("predict_incoming")
    harvest.upload(labelled, "labelled", "measured.csv")
    monitored = harvest.wait_for_run("monitor")

    predicted = harvest.read("data/predictions/incoming/*.csv")
    assert predicted["plot no"].tolist() == new["plot no"].tolist()
    assert predicted[["predicted", "lower", "upper"]].notna().all(axis=None)
    tasks = {task["task_id"]: task["state"] for task in Airflow(harvest.settings).tasks("monitor", monitored)}
    assert (tasks["measure_drift"], tasks["measure_degradation"]) == ("success", "success")
    assert tasks["no_findings"] == "success"


def test_a_table_of_5000_rows_without_ids_runs_through(tmp_path: Path) -> None:
    rows = make_harvest(5000).drop(columns="plot no")
    rows["index"] = rows["index"].astype(float)
    rows.to_parquet(tmp_path / "large.parquet")

    with adapted(tmp_path, tmp_path / "large.parquet") as project:
        predicted = project.read("data/predictions/*/large_predictions.csv")

    assert len(predicted) == 5000
    assert predicted["_row"].is_unique
    assert "promoted to champion" in project.printed
