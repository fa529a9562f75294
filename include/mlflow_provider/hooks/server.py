"""Where an Airflow connection points to: one reading of its fields for every hook."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

from ..exceptions import MLflowError

if TYPE_CHECKING:
    from airflow.sdk import Connection

CONNECT_TIMEOUT = 5.0  # seconds
READ_TIMEOUT = 20.0  # seconds; the extra field `timeout` overrides it
DATABRICKS_DOMAINS = (".cloud.databricks.com", ".gcp.databricks.com", ".azuredatabricks.net")


@dataclass(frozen=True)
class MLflowServer:
    """Address, login and HTTP settings of one MLflow server.

    :param conn_id: the Airflow connection they come from, for messages
    :param base_url: scheme, host, port and path prefix, without login and without a closing slash
    :param timeout: seconds to wait for an answer
    :param verify: False switches the TLS check off, a string is the path of a CA bundle
    :param headers: sent with every request
    """

    conn_id: str
    base_url: str
    login: str | None
    password: str | None = field(repr=False)
    timeout: float = READ_TIMEOUT
    verify: bool | str = True
    headers: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def token(self) -> str | None:
        """The bearer token: the password of a connection whose login is ``token``."""
        return self.password if self.login == "token" else None

    @property
    def is_databricks(self) -> bool:
        """Whether the host is a Databricks workspace."""
        return (urlsplit(self.base_url).hostname or "").endswith(DATABRICKS_DOMAINS)

    @classmethod
    def from_connection(cls, conn: Connection) -> MLflowServer:
        """Read the fields of an Airflow connection.

        :param conn: ``host`` with or without scheme, port and path prefix; ``schema`` http or https;
            ``port``; ``login`` and ``password``, or login ``token`` and the token as password;
            ``extra`` a JSON object that may hold ``timeout`` (seconds), ``verify`` and ``headers``
        :raises MLflowError: the connection names no host, or a field cannot be used
        """
        address = _address(conn)
        extra: dict[str, Any] = conn.extra_dejson
        return cls(
            conn_id=conn.conn_id,
            base_url=_base_url(conn, address),
            login=conn.login or unquote(address.username or "") or None,
            password=conn.password or unquote(address.password or "") or None,
            timeout=_seconds(conn.conn_id, extra.get("timeout", READ_TIMEOUT)),
            verify=extra.get("verify", True),
            headers={str(name): str(value) for name, value in (extra.get("headers") or {}).items()},
        )


def _address(conn: Connection) -> SplitResult:
    host = (conn.host or "").strip()
    if not host:
        raise MLflowError(f"Connection {conn.conn_id!r} names no host: set it to that of the MLflow server")
    return urlsplit(host if "://" in host else f"{_scheme(conn)}://{host}")


def _scheme(conn: Connection) -> str:
    secure = conn.conn_type == "https" or (conn.host or "").endswith(DATABRICKS_DOMAINS)
    return conn.schema or ("https" if secure else "http")


def _base_url(conn: Connection, address: SplitResult) -> str:
    if address.scheme not in ("http", "https") or not address.hostname:
        raise MLflowError(
            f"Connection {conn.conn_id!r} has no usable address: its schema must be http or https "
            f"(it is {address.scheme!r}) and its host a name, an address or a URL"
        )
    host = f"[{address.hostname}]" if ":" in address.hostname else address.hostname
    port = conn.port or address.port
    return f"{address.scheme}://{host}{f':{port}' if port else ''}{address.path.rstrip('/')}"


def _seconds(conn_id: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise MLflowError(f"Connection {conn_id!r}: extra field `timeout` must be seconds, not {value!r}") from None
