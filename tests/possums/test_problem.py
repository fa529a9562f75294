"""The table of the possums, and the names that other tutorials and installations know."""

from include.problem import PROBLEM
from include.services import assets
from include.settings import INCLUDE


def test_the_names_are_those_of_the_tutorial_that_the_project_follows() -> None:
    assert PROBLEM.experiment == "Possum_tails"
    assert PROBLEM.registered_model == "Reg_RidgeCV_possums"
    assert PROBLEM.artifact_bucket == "mlflowdatapossums"
    assert PROBLEM.predictions_file == "possum_tail_length.csv"
    assert PROBLEM.picture == "possum_tails.png"
    assert assets.FEATURES.name == "possum_features"


def test_the_model_card_names_the_source_of_the_data_and_its_licence() -> None:
    prose = (INCLUDE / "problem.md").read_text()

    assert "Lindenmayer" in prose
    assert "GNU General Public License" in prose
