"""Back to an earlier champion, after it has shown that it still predicts."""

from __future__ import annotations

import logging
from io import StringIO
from typing import Any

import numpy as np
import pandas as pd
from airflow.sdk.exceptions import AirflowFailException

from include import config
from include.config import MLFLOW_CONN_ID, POSSUM_CSV, RAW
from include.data.table import read_possums
from include.evaluation.model_card import plain
from include.mlflow_provider.exceptions import MLflowAPIError
from include.mlflow_provider.hooks.client import MLflowClientHook
from include.platform import champions

log = logging.getLogger(__name__)

BEFORE = ". Before that: "  # what the description said until then
ROWS = 5  # that a version must predict before it becomes champion again


def choose_version(version: str | None) -> dict[str, Any]:
    """Return the version that becomes champion again, and rows to try it with.

    :param version: the version that a person named, or None for the champion before the present one
    :return: ``version``, ``model_uri``, and ``rows``: raw rows of a few possums without a missing value
    :raises AirflowFailException: there is no such version, none to go back to, or it is champion already
    """
    hook = MLflowClientHook("GET", MLFLOW_CONN_ID)
    try:
        chosen = version or champions.previous(hook)
        hook.get_model_version(config.REGISTERED_MODEL, chosen)
    except (LookupError, MLflowAPIError) as error:
        if getattr(error, "error_code", "") not in ("", "RESOURCE_DOES_NOT_EXIST"):
            raise
        raise AirflowFailException(f"no rollback: {error}") from error
    if chosen == champions.champion(hook):
        raise AirflowFailException(f"no rollback: version {chosen} is the champion already; name another one")
    rows = read_possums(POSSUM_CSV)[RAW].dropna().head(ROWS)
    return {"version": chosen, "model_uri": champions.model_uri(chosen), "rows": rows.to_dict("records")}


def roll_back(version: str, predicted: str | list[float], *, by: str, why: str) -> str:
    """Make a version champion again that has shown that it predicts, and return it.

    :param predicted: its answer to the rows of :func:`choose_version`, as ``ModelLoadAndPredictOperator`` returns it
    :raises AirflowFailException: a prediction is no finite number; nothing has changed
    """
    answer = (
        pd.read_json(StringIO(predicted)) if isinstance(predicted, str) else pd.DataFrame({"prediction": predicted})
    )
    lengths = pd.to_numeric(answer["prediction"], errors="coerce")
    if len(lengths) != ROWS or not np.isfinite(lengths).all():
        raise AirflowFailException(f"no rollback: version {version} predicts {predicted}, not {ROWS} lengths in cm")
    hook = MLflowClientHook("GET", MLFLOW_CONN_ID)
    champions.promote(hook, version, by=by, why=why)
    before = hook.get_model_version(config.REGISTERED_MODEL, version).get("description", "").rpartition(BEFORE)[2]
    description = f"Champion again, as {plain(by)} wanted: {plain(why)}{BEFORE}{before}"
    hook.update_model_version(config.REGISTERED_MODEL, version, description)
    log.info("Version %s is champion again, as %s wanted: %s", version, by, why)
    return version
