"""The table of the possums, and the names that other tutorials and installations know."""

from __future__ import annotations

from include.data.checks import inspect
from include.data.reading import parse_rows
from include.data.split import select_rows
from include.problem import PROBLEM
from include.services import assets
from include.settings import INCLUDE
from include.spec import SPLIT


def test_the_names_are_those_of_the_tutorial_that_the_project_follows() -> None:
    assert PROBLEM.experiment == "Possum_tails"
    assert PROBLEM.registered_model == "Reg_RidgeCV_possums"
    assert PROBLEM.artifact_bucket == "mlflowdatapossums"
    assert PROBLEM.predictions_file == "possum_tail_length.csv"
    assert PROBLEM.picture == "possum_tails.png"
    assert assets.FEATURES.name == "possum_features"


def test_the_table_needs_no_repairs_and_81_of_104_animals_are_for_training() -> None:
    inspection = inspect(parse_rows((INCLUDE.parent / PROBLEM.table).read_bytes(), PROBLEM.table), PROBLEM)
    table = select_rows(inspection, PROBLEM.table, PROBLEM)

    assert inspection.is_clean
    assert table[SPLIT].value_counts().to_dict() == {"train": 81, "holdout": 23}


def test_the_model_card_names_the_source_of_the_data_and_its_licence() -> None:
    prose = (INCLUDE / "problem.md").read_text()

    assert "Lindenmayer" in prose
    assert "GNU General Public License" in prose
