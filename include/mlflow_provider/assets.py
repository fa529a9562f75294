"""Assets of MLflow, ``mlflow://<connection>/<registered model>[/<alias>]``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from urllib.parse import SplitResult


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Return the address of a registered model, or of one of its aliases, without what it does not need."""
    names = uri.path.strip("/").split("/")
    if not uri.netloc or not all(names) or len(names) > 2:
        raise ValueError("an asset of MLflow is mlflow://<connection>/<registered model>, with /<alias> if you like")
    return uri._replace(path="/" + "/".join(names), query="", fragment="")
