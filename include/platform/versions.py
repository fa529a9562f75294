"""Which version of the model predicts: the champion, or the newest as long as there is none."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from include import config
from include.config import CHAMPION_ALIAS
from include.platform import champions

if TYPE_CHECKING:
    from include.mlflow_provider.hooks.client import MLflowClientHook

log = logging.getLogger(__name__)


def pin_version(hook: MLflowClientHook, otherwise: str | None = None) -> dict[str, str]:
    """Return the version that carries the alias ``champion`` now; whoever keeps it is not moved with the alias.

    :param otherwise: the version to use while there is no champion; the newest if not given
    :return: ``version``, ``run_id``, ``uri`` (``models:/<name>/<version>``) and ``alias``: ``champion``, or empty
    :raises LookupError: if there is no version at all
    """
    champion = champions.find_champion(hook)
    version = champion or _stand_in(hook, otherwise)
    if champion:
        log.info("Version %s is the champion: it predicts", version["version"])
    else:
        log.warning(
            "THERE IS NO CHAMPION: %s has no version with the alias %s. Version %s, which passed no gate, predicts.",
            config.REGISTERED_MODEL,
            CHAMPION_ALIAS,
            version["version"],
        )
    return {
        "version": version["version"],
        "run_id": version.get("run_id", ""),
        "uri": champions.model_uri(version["version"]),
        "alias": CHAMPION_ALIAS if champion else "",
    }


def describe(version: str, alias: str) -> str:
    """Say in a few words which version predicted, and whether it is the champion."""
    return f"version {version}, {alias}" if alias else f"version {version}: there is no {CHAMPION_ALIAS} yet"


def _stand_in(hook: MLflowClientHook, version: str | None) -> dict[str, Any]:
    if version:
        return hook.get_model_version(config.REGISTERED_MODEL, version)
    versions = hook.search_model_versions(f"name='{config.REGISTERED_MODEL}'")
    newest = max(versions, key=lambda found: int(found["version"]), default=None)
    if newest is None:
        raise LookupError(f"{config.REGISTERED_MODEL} has no version yet: trigger feature_eng, which leads to one")
    return newest
