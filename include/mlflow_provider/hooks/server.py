"""The MLflow server that an Airflow connection describes."""

import json
import logging
import re
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Self
from urllib.parse import SplitResult, quote, unquote, urlsplit

from airflow.sdk import Connection

from ..exceptions import MLflowError

CONNECT_TIMEOUT = 5.0  # seconds
READ_TIMEOUT = 20.0  # seconds; the extra field `timeout` overrides it
DATABRICKS_DOMAINS = (".cloud.databricks.com", ".gcp.databricks.com", ".azuredatabricks.net")
DATABRICKS_URIS = ("databricks", "databricks-uc")  # MLflow's names for a workspace and its registry
FIELDS = ("registry_uri", "ui_uri", "verify", "ca_bundle", "timeout", "headers", "webhook_secret")  # of extra
PLUGIN_URIS = ("arn:", "azureml:")  # of SageMaker and Azure Machine Learning, which MLflow's plugins translate
MAX_TIMEOUT = 1e6  # seconds; sockets cannot wait much longer
HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
REGISTRY = ("api/2.0/mlflow/registered-models/", "api/2.0/mlflow/model-versions/")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MLflowServer:
    """Address, login and HTTP settings of one MLflow server; see :meth:`from_connection`.

    :param base_url: scheme, host, port and path prefix, without login and without a closing slash; likewise the others
    :param plugin_uri: for a server whose address and login an MLflow plugin provides; ``base_url`` is empty then
    :param verify: False switches the TLS check off, a string is the path of a CA bundle
    """

    conn_id: str
    base_url: str
    login: str | None
    password: str | None = field(repr=False)
    registry_url: str = ""
    ui_url: str = ""
    timeout: float = READ_TIMEOUT
    verify: bool | str = True
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    webhook_secret: str = field(default="", repr=False)
    plugin_uri: str = ""

    @property
    def token(self) -> str | None:
        """The bearer token: the password of a connection whose login is ``token`` or empty."""
        return self.password if self.login in (None, "token") else None

    @property
    def is_databricks(self) -> bool:
        """Whether the host is a Databricks workspace."""
        return _is_databricks(urlsplit(self.base_url).hostname)

    @property
    def is_service_principal(self) -> bool:
        """Whether login and password are those of a Databricks service principal, for OAuth."""
        return self.is_databricks and bool(self.login and self.password) and not self.token

    def url(self, endpoint: str) -> str:
        """Return the address of an endpoint of the REST API, such as ``api/2.0/mlflow/runs/search``."""
        path = endpoint.lstrip("/")
        base = self.registry_url if path.startswith(REGISTRY) and self.registry_url else self.base_url
        return f"{base}/{path}"

    def page(self, *path: str) -> str:
        """Return the address of a page of MLflow's user interface, such as that of ``"models", "lengths"``."""
        registry = self.registry_url if path[:1] == ("models",) else ""
        app = "ml" if self.is_databricks else "#"
        return "/".join([self.ui_url or registry or self.base_url, app, *(quote(part, safe="") for part in path)])

    @classmethod
    def from_connection(cls, conn: Connection) -> Self:
        """Read the fields of an Airflow connection, of type ``mlflow`` or ``http``.

        :param conn: ``host`` a URL, or a name with ``schema`` http or https, with or without ``port`` and path
            prefix; ``login`` and ``password``, or a token as password with the login ``token`` or none;
            a URI that begins with ``arn:`` or ``azureml:`` is left to MLflow's plugin of that name;
            ``extra`` a JSON object that may hold ``registry_uri``, ``ui_uri``, ``verify``, ``ca_bundle``
            (path), ``timeout`` (seconds), ``headers`` and ``webhook_secret``. The log warns of other fields.
        :raises MLflowError: the connection names no host, or a field cannot be used
        """
        extra = _extra(conn)
        host = (conn.host or "").strip()
        plugin_uri = host if host.startswith(PLUGIN_URIS) else ""
        address = SplitResult("", "", "", "", "") if plugin_uri else _address(conn, conn.host, "host")
        server = cls(
            conn_id=conn.conn_id,
            base_url="" if plugin_uri else _url(address, conn.port),
            plugin_uri=plugin_uri,
            registry_url=_optional_url(conn, extra, "registry_uri"),
            ui_url=_optional_url(conn, extra, "ui_uri"),
            login=conn.login or unquote(address.username or "") or None,
            password=conn.password or unquote(address.password or "") or None,
            timeout=_seconds(conn, extra.get("timeout")),
            verify=_verify(conn, extra),
            headers=_headers(conn, extra.get("headers")),
            webhook_secret=str(extra.get("webhook_secret") or ""),
        )
        _check_sendable(conn, server)
        return server


def _unusable(conn: Connection, problem: str) -> MLflowError:
    return MLflowError(f"Connection {conn.conn_id!r}: {problem}")


def _extra(conn: Connection) -> dict[str, Any]:
    """Return the extra of a connection; some tools encode the JSON twice."""
    from airflow.sdk.log import mask_secret

    extra: Any = conn.extra
    try:
        while isinstance(extra, str) and extra:
            extra = json.loads(extra)
    except (ValueError, RecursionError):
        extra = False  # the error would quote the text, which may contain secrets
    if not isinstance(extra or {}, dict) or extra is False:
        raise _unusable(conn, "extra must be a JSON object")
    hints = {name: get_close_matches(name, FIELDS, 1) for name in extra or {} if name not in FIELDS}
    if unknown := ", ".join(f"{name!r}{f' (is that {hint[0]!r}?)' if hint else ''}" for name, hint in hints.items()):
        text = "Connection %r: extra fields that mean nothing here are ignored: %s. HTTP headers belong in the field %r"
        log.warning(text, conn.conn_id, unknown, "headers")
    mask_secret(extra or {})
    return dict(extra or {})


def _address(conn: Connection, value: Any, name: str) -> SplitResult:
    if not isinstance(value or "", str):
        raise _unusable(conn, f"{name} must be text")
    text = (value or "").strip()
    if not text:
        raise MLflowError(f"Connection {conn.conn_id!r} names no {name}: set it to that of the MLflow server")
    try:
        address = urlsplit(text if "://" in text else f"//{text}")
        default = "https" if conn.conn_type == "https" or _is_databricks(address.hostname) else "http"
        address = address._replace(scheme=address.scheme or conn.schema or default)
        usable = address.scheme in ("http", "https") and _is_host(address.hostname) and address.port != 0
    except ValueError:  # its message may show a password in the address
        usable = False
    is_path = usable and address.path.isprintable() and not set("@ \\") & set(address.path)
    if not is_path or text in DATABRICKS_URIS:
        raise MLflowError(
            f"Connection {conn.conn_id!r} has no usable address: its schema must be http or https and its {name} a "
            "name, an address or a URL with a number as port, of a Databricks workspace its URL; put credentials "
            "into login and password"
        )
    return address


def _is_host(host: str | None) -> bool:
    if not host or not host.isprintable() or set(' \\%^`{|}<>"*') & set(host):
        return False
    host.encode("idna")  # a UnicodeError is a ValueError
    return True


def _is_databricks(host: str | None) -> bool:
    return (host or "").rstrip(".").endswith(DATABRICKS_DOMAINS)


def _url(address: SplitResult, port: int | None = None) -> str:
    name = address.hostname or ""
    host = f"[{name}]" if ":" in name else name
    port = port or address.port
    return f"{address.scheme}://{host}{f':{port}' if port else ''}{address.path.rstrip('/')}"


def _optional_url(conn: Connection, extra: dict[str, Any], name: str) -> str:
    return _url(_address(conn, extra[name], name)) if extra.get(name) else ""


def _verify(conn: Connection, extra: dict[str, Any]) -> bool | str:
    """Return ``verify``: a boolean, text for one (in a connection URI), or the path of a bundle."""
    verify, bundle = extra.get("verify"), extra.get("ca_bundle")
    if not isinstance(bundle or "", str) or not isinstance(verify or 0, bool | str | int):
        raise _unusable(conn, "extra field `verify` must be true or false and `ca_bundle` the path of a file")
    if str(verify).lower() in ("false", "0", "no"):
        return False
    path = verify if isinstance(verify, str) and verify.lower() not in ("", "true", "1", "yes") else None
    return bundle or path or True


def _headers(conn: Connection, value: Any) -> dict[str, str]:
    if not isinstance(value or {}, dict):
        raise _unusable(conn, "extra field `headers` must be a JSON object")
    headers = {str(name): str(content) for name, content in (value or {}).items()}
    if wrong := [name for name in headers if not HEADER.fullmatch(name)]:
        raise _unusable(conn, f"{wrong[0]!r} is not the name of an HTTP header")
    return headers


def _check_sendable(conn: Connection, server: MLflowServer) -> None:
    """Reject values that no HTTP header can hold: errors of HTTP libraries would show the secret."""
    contents = {f"the header {name!r}": content for name, content in server.headers.items()}
    for what, content in ({"the token": server.token or ""} | contents).items():
        if content != content.strip() or not (content.isascii() and content.isprintable()):
            problem = "has a line break, a space at its beginning or end, or a character that is not ASCII"
            raise _unusable(conn, f"{what} {problem}. Enter it again.")


def _seconds(conn: Connection, value: Any) -> float:
    if value in (None, ""):
        return READ_TIMEOUT
    with suppress(TypeError, ValueError, OverflowError):
        if 0 < float(value) < MAX_TIMEOUT:
            return float(value)
    raise _unusable(conn, f"extra field `timeout` must be seconds above 0, not {value!r}")
