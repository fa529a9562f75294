"""The XCom backend."""

from typing import Any

from airflow.providers.common.io.xcom.backend import XComObjectStorageBackend
from airflow.providers.standard.utils.skipmixin import XCOM_SKIPMIXIN_KEY
from airflow.sdk.bases.xcom import BaseXCom


class XComBackend(XComObjectStorageBackend):
    """Keeps XComs in object storage, except the decisions of branches.

    The scheduler reads those from its database when a task behind a branch is cleared; it does not follow a path into
    the object store and would run the branch that was not taken.
    """

    @staticmethod
    def serialize_value(value: Any, *, key: str | None = None, **coordinates: Any) -> bytes | str:  # type: ignore[override]
        """Return what the database stores: the path of the object, or a branch's decision."""
        if key == XCOM_SKIPMIXIN_KEY:
            return BaseXCom.serialize_value(value)
        return XComObjectStorageBackend.serialize_value(value, key=key, **coordinates)
