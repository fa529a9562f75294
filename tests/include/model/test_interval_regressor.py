from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest
import skops.io
from skops.io.exceptions import UntrustedTypesFoundException

from include.model.interval_regressor import PossumModel


def test_what_was_fitted_may_hold_no_type_outside_of_the_short_list(tmp_path: Path) -> None:
    file = tmp_path / "parts.skops"
    skops.io.dump({"model": Fraction(1, 3)}, file)

    with pytest.raises(UntrustedTypesFoundException, match=r"fractions\.Fraction"):
        PossumModel().load_context(SimpleNamespace(artifacts={"parts": str(file)}))
