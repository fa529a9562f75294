"""Where a local stack lives, which ports it uses, its secrets, and the environment that its services read."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path

from dotenv import dotenv_values

from include import config

PROJECT = Path(__file__).parents[1]
ENVIRONMENTS = Path(sys.prefix).parent
SERVER_PORTS = range(10_000, 32_000)  # Linux lends those from 32768 on to outgoing connections, macOS from 49152 on
DEFAULT_PORTS = {"S3_PORT": 9000, "MLFLOW_PORT": 5000, "AIRFLOW_PORT": 8080, "SERVE_PORT": 5002}
USER = "admin"
AIRFLOW_USER = "airflow"  # Airflow's own user of MLflow, who is no administrator
LINEAGE_SETTINGS = tuple(f"AIRFLOW__OPENLINEAGE__{name}" for name in ("TRANSPORT", "CONFIG_CONN_ID", "DISABLED"))


@dataclass(frozen=True)
class Settings:
    """One stack's folders, ports and secrets.

    ``project`` holds ``dags/`` and ``include/``; ``home`` everything that the services write;
    ``model_environments``, shared between stacks, the environments in which logged models predict.
    """

    project: Path = PROJECT
    home: Path = PROJECT / ".local"
    ports: dict[str, int] = field(default_factory=lambda: DEFAULT_PORTS.copy())
    model_environments: Path = ENVIRONMENTS / "models"

    @property
    def logs(self) -> Path:
        """The folder of the services' logs."""
        return self.home / "logs"

    @property
    def lineage(self) -> Path:
        """The file of the tasks' OpenLineage events, one a line."""
        return self.home / "lineage" / "events.jsonl"

    @property
    def socket(self) -> Path:
        """The supervisor's socket: in the temporary folder, because its path may have 100 characters at most."""
        return Path(tempfile.gettempdir()) / f"possums-{sha256(bytes(self.home)).hexdigest()[:12]}.sock"

    @property
    def airflow_url(self) -> str:
        """The address of Airflow's pages and REST API."""
        return f"http://localhost:{self.ports['AIRFLOW_PORT']}"

    @property
    def mlflow_url(self) -> str:
        """The address of MLflow's pages and REST API."""
        return f"http://localhost:{self.ports['MLFLOW_PORT']}"

    @property
    def s3_url(self) -> str:
        """The address of the S3 server."""
        return f"http://127.0.0.1:{self.ports['S3_PORT']}"

    @property
    def serve_url(self) -> str:
        """The address of the server that answers with the champion's predictions."""
        return f"http://127.0.0.1:{self.ports['SERVE_PORT']}"

    def secrets(self) -> dict[str, str]:
        """Return the stack's secrets, generating into ``secrets.env`` (mode 0600) those that are not there yet."""
        file = self.home / "secrets.env"
        if not file.exists():
            _write_private(file, "")
        known = dotenv_values(file)
        with file.open("a") as stream:
            stream.writelines(f"{name}={value}\n" for name, value in _new_secrets().items() if name not in known)
        return {name: value or "" for name, value in dotenv_values(file).items()}

    def environment(self) -> dict[str, str]:
        """Return the environment of the stack's services.

        The two connections may be set from outside, so that Airflow talks to another MLflow or to real S3; that of
        OpenMetadata comes from there, if there is one.
        """
        secret = self.secrets()
        return {
            **inherited(),
            **{name: str(port) for name, port in self.ports.items()},
            **self._paths(),
            **self._storage(secret),
            **self._mlflow(secret),
            **self._airflow(secret),
            **{name: value for name, value in os.environ.items() if name == "AIRFLOW_CONN_OPENMETADATA_DEFAULT"},
            "AIRFLOW_CONN_MLFLOW_DEFAULT": os.environ.get("AIRFLOW_CONN_MLFLOW_DEFAULT")
            or self._mlflow_connection(secret),
            "AIRFLOW_CONN_AWS_DEFAULT": os.environ.get("AIRFLOW_CONN_AWS_DEFAULT") or self._aws_connection(secret),
        }

    def _paths(self) -> dict[str, str]:
        return {
            "PATH": f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.project),
            "STACK_HOME": str(self.home),
            "STACK_LOGS": str(self.logs),
            "STACK_SOCKET": str(self.socket),
            "ENVIRONMENTS": str(ENVIRONMENTS),
            "MODEL_ENVIRONMENTS": str(self.model_environments),
            "OPENMETADATA_PYTHON": os.environ.get("OPENMETADATA_PYTHON")
            or str(ENVIRONMENTS / "openmetadata" / "bin" / "python"),
            "ARTIFACT_BUCKET": config.ARTIFACT_BUCKET,
        }

    def _storage(self, secret: dict[str, str]) -> dict[str, str]:
        """The S3 server's keys, of Airflow and of MLflow; rclone cannot limit a key to some buckets."""
        mlflow = (secret["MLFLOW_S3_ACCESS_KEY"], secret["MLFLOW_S3_SECRET_KEY"])
        keys = [(secret["S3_ACCESS_KEY"], secret["S3_SECRET_KEY"]), mlflow]
        return {
            "RCLONE_CONFIG": os.devnull,
            "RCLONE_AUTH_KEY": ",".join(f'"{key},{value}"' for key, value in keys),
            "AWS_ACCESS_KEY_ID": mlflow[0],
            "AWS_SECRET_ACCESS_KEY": mlflow[1],
            "AWS_DEFAULT_REGION": "us-east-1",
            "MLFLOW_S3_ENDPOINT_URL": self.s3_url,
        }

    def _mlflow(self, secret: dict[str, str]) -> dict[str, str]:
        return {
            "MLFLOW_AUTH_ADMIN_USERNAME": USER,
            "MLFLOW_AUTH_ADMIN_PASSWORD": secret["MLFLOW_PASSWORD"],
            "MLFLOW_AUTH_CONFIG_PATH": str(Path(__file__).with_name("mlflow_auth.ini")),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secret["MLFLOW_FLASK_SERVER_SECRET_KEY"],
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # a server of two processes instead of ten
        }

    def _airflow(self, secret: dict[str, str]) -> dict[str, str]:
        home = self.home / "airflow"
        options = {
            "CORE__DAGS_FOLDER": self.project / "dags",
            "CORE__LOAD_EXAMPLES": False,
            "CORE__PARALLELISM": max(2, min(os.cpu_count() or 2, 8)),
            "CORE__FERNET_KEY": secret["AIRFLOW_FERNET_KEY"],
            "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{self.ports['AIRFLOW_PORT']}/execution/",
            "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": home / "passwords.json",
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
            "API__SECRET_KEY": secret["AIRFLOW_SECRET_KEY"],
            "API__BASE_URL": self.airflow_url,
            "API_AUTH__JWT_SECRET": secret["AIRFLOW_JWT_SECRET"],
        }
        if sys.platform == "linux":
            options |= {
                "CORE__MP_START_METHOD": "forkserver",
                "CORE__MP_FORKSERVER_PRELOAD": "include.platform.preloaded",
            }
        own = {f"AIRFLOW__{name}": str(value) for name, value in options.items()}
        return {"AIRFLOW_HOME": str(home)} | common_settings() | own | self._lineage()

    def _lineage(self) -> dict[str, str]:
        """Where OpenLineage's events go, a file unless set from outside, and whether there are any."""
        transport = {"type": "file", "log_file_path": str(self.lineage), "append": True}
        settings = {"AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport)}
        return settings | {name: os.environ[name] for name in LINEAGE_SETTINGS if os.environ.get(name)}

    def _mlflow_connection(self, secret: dict[str, str]) -> str:
        return json.dumps(
            {
                "conn_type": "mlflow",
                "host": f"http://127.0.0.1:{self.ports['MLFLOW_PORT']}",
                "login": AIRFLOW_USER,
                "password": secret["AIRFLOW_MLFLOW_PASSWORD"],
            }
        )

    def _aws_connection(self, secret: dict[str, str]) -> str:
        return json.dumps(
            {
                "conn_type": "aws",
                "login": secret["S3_ACCESS_KEY"],
                "password": secret["S3_SECRET_KEY"],
                "extra": {
                    "endpoint_url": self.s3_url,
                    "region_name": "us-east-1",
                    # A task says within a minute what is down; left alone, boto3 waits five (seconds here).
                    "config_kwargs": {
                        "signature_version": "s3v4",
                        "connect_timeout": 5,
                        "read_timeout": 20,
                        "retries": {"total_max_attempts": 2},
                    },
                },
            }
        )

    def create_folders(self) -> None:
        """Create what the services expect to find, readable by this user only."""
        for name in ("airflow", "lineage", "logs", "mlflow", "s3"):
            (self.home / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        passwords = self.home / "airflow" / "passwords.json"
        if not passwords.exists():
            _write_private(passwords, json.dumps({USER: self.secrets()["AIRFLOW_PASSWORD"]}))


def load(home: Path = PROJECT / ".local") -> Settings:
    """Return the settings of the stack in ``home``: ports from the environment, else as last used."""
    wanted = {name: _port(name, os.environ[name]) for name in DEFAULT_PORTS if os.environ.get(name)}
    return Settings(home=home, ports=used_ports(home) | wanted)


def common_settings() -> dict[str, str]:
    """Return the settings that hold in every way of starting Airflow: those of ``.env_example``."""
    example = dotenv_values(PROJECT / ".env_example")
    return {name: value for name, value in example.items() if value and name.startswith(("AIRFLOW__", "MLFLOW_ALLOW_"))}


def used_ports(home: Path) -> dict[str, int]:
    """Return the ports on which the stack in ``home`` was last started."""
    return DEFAULT_PORTS | {name: int(value or 0) for name, value in dotenv_values(home / "ports.env").items()}


def temporary(folder: Path) -> Settings:
    """Return the settings of a stack in ``folder`` that gets in no one's way: free ports, a copy of the project."""
    project = folder / "project"
    for name in ("dags", "include"):
        shutil.copytree(PROJECT / name, project / name, ignore=shutil.ignore_patterns("__pycache__", "plots"))
    return Settings(project=project, home=folder / "home", ports=dict(zip(DEFAULT_PORTS, _free_ports(), strict=True)))


def remember(settings: Settings) -> None:
    """Keep the stack's ports for the commands that follow."""
    text = "".join(f"{name}={port}\n" for name, port in settings.ports.items())
    (settings.home / "ports.env").write_text(text)


def _free_ports() -> list[int]:
    """Return a port for each service, which no outgoing connection can take before the service does."""
    candidates = secrets.SystemRandom().sample(SERVER_PORTS, 100)
    return list(islice(filter(_is_free, candidates), len(DEFAULT_PORTS)))


def _is_free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False


def _port(name: str, value: str) -> int:
    if not (value.isdecimal() and 0 < int(value) < 65536):
        raise SystemExit(f"{name}={value} is no port: choose a number from 1 to 65535")
    return int(value)


def inherited() -> dict[str, str]:
    """Return the user's environment without settings of another Airflow or MLflow."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "MLFLOW", "AWS_"))}


def _new_secrets() -> dict[str, str]:
    return {
        "S3_ACCESS_KEY": secrets.token_hex(10),
        "S3_SECRET_KEY": secrets.token_hex(20),
        "MLFLOW_S3_ACCESS_KEY": secrets.token_hex(10),
        "MLFLOW_S3_SECRET_KEY": secrets.token_hex(20),
        "MLFLOW_PASSWORD": secrets.token_hex(16),
        "AIRFLOW_MLFLOW_PASSWORD": secrets.token_hex(16),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
        "AIRFLOW_PASSWORD": secrets.token_hex(16),
        "AIRFLOW_SECRET_KEY": secrets.token_hex(32),
        "AIRFLOW_JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW_FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    }


def _write_private(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
