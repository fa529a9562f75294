"""Folders, ports, secrets and environment variables of a local stack."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import filterfalse, islice
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from containers.write_secrets import AUTH_INI, AWS_CONNECTION, MLFLOW_CONNECTION
from include.settings import AWS_CONN_ID, DATA_BUCKET, DEFAULT_PORTS
from local import postgres

PROJECT = Path(__file__).parents[1]
EXAMPLE = PROJECT / ".env_example"
ENVIRONMENTS = Path(sys.prefix).parent
# Variables of .env_example that every way of starting Airflow shares.
SHARED = ("AIRFLOW__", "MLFLOW_ALLOW_", "MLFLOW_DISABLE_", "OMP_", "OPENBLAS_")
# Prefixes of the variables that programs inherit from the shell: no others, because any could be a secret.
INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_", "TZ", "TMPDIR", "XDG_", "PYTHON", "TERM"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("UV_", "PIP_", "CODE_VERSION", "MAX_FILE_MB", "MAX_REQUEST_", "SERVE_", "TASK_MEMORY_MB", "HEAVY_TASKS"),
)
SERVER_PORTS = range(10_000, 32_000)  # below the ephemeral ports: Linux uses those from 32768, macOS from 49152
AIRFLOW_PROGRAMS = ("api-server", "scheduler", "dag-processor", "triggerer", "housekeeping")
USER = "admin"
AIRFLOW_USER = "airflow"  # Airflow's MLflow user, which is not an administrator
# Tasks reach Airflow through its API only: workers have neither its database nor its keys.
NOT_FOR_WORKERS = (
    *("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__CORE__FERNET_KEY"),
    *("AIRFLOW__API__SECRET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET"),
)
LINEAGE_SETTINGS = tuple(f"AIRFLOW__OPENLINEAGE__{name}" for name in ("TRANSPORT", "CONFIG_CONN_ID", "DISABLED"))
METRICS_SETTINGS = ("AIRFLOW__METRICS__OTEL_ON", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS")
SECRETS = (
    *("S3_ACCESS_KEY", "S3_SECRET_KEY", "MLFLOW_S3_ACCESS_KEY", "MLFLOW_S3_SECRET_KEY"),
    *("MLFLOW_PASSWORD", "AIRFLOW_MLFLOW_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY"),
    *("AIRFLOW_PASSWORD", "AIRFLOW_SECRET_KEY", "AIRFLOW_JWT_SECRET", "POSTGRES_PASSWORD", "REDIS_PASSWORD"),
)


@dataclass(frozen=True)
class Settings:
    """Folders, ports and secrets of one stack.

    :param project: folder with ``dags/`` and ``include/``
    :param home: folder for everything that the services write
    :param ports: port numbers by the names of ``DEFAULT_PORTS``
    :param model_environments: virtual environments of logged models, shared between stacks
    :param executor: ``local`` or ``celery``, which needs PostgreSQL
    :param workers: number of Celery workers
    :param database: ``sqlite`` or ``postgresql``
    """

    project: Path = PROJECT
    home: Path = PROJECT / ".local"
    ports: dict[str, int] = field(default_factory=DEFAULT_PORTS.copy)
    model_environments: Path = ENVIRONMENTS / "models"
    executor: str = "local"
    workers: int = 2
    database: str = "sqlite"

    @property
    def options(self) -> dict[str, str]:
        """What is stored for later commands, by the names of the variables of ``make up``."""
        ports = {name: str(port) for name, port in self.ports.items()}
        return ports | {"EXECUTOR": self.executor, "WORKERS": str(self.workers), "DATABASE": self.database}

    @property
    def airflow_programs(self) -> tuple[str, ...]:
        """The programs of ``local/programs.py`` that Airflow consists of."""
        database = ("postgres",) if self.database == "postgresql" else ()
        workers = (f"worker:worker-{number}" for number in range(self.workers))
        return (*database, *(("redis", *workers) if self.executor == "celery" else ()), *AIRFLOW_PROGRAMS)

    @property
    def database_url(self) -> str:
        """URL of Airflow's database, with its password."""
        if self.database == "sqlite":
            return f"sqlite:///{self.home / 'airflow' / 'airflow.db'}"
        login = f"{postgres.USER}:{self.secrets()['POSTGRES_PASSWORD']}"
        return f"postgresql+psycopg2://{login}@127.0.0.1:{self.ports['POSTGRES_PORT']}/{postgres.DATABASE}"

    @property
    def logs(self) -> Path:
        """Folder of the services' logs."""
        return self.home / "logs"

    @property
    def lineage(self) -> Path:
        """File of the tasks' OpenLineage events, one per line."""
        return self.home / "lineage" / "events.jsonl"

    @property
    def socket(self) -> Path:
        """Socket of the supervisor, in the temporary folder: its path may have at most 100 characters.

        :raises PermissionError: its folder belongs to another user, who took the name first
        """
        folder = Path(tempfile.gettempdir()) / f"stack-{os.getuid()}-{sha256(bytes(self.home)).hexdigest()[:12]}"
        with contextlib.suppress(FileNotFoundError):
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
                raise PermissionError(f"{folder} is not a folder of this user alone: delete it, or set another TMPDIR")
        return folder / "supervisor.sock"

    @property
    def temporary(self) -> Path:
        """Folder of the programs' temporary files, emptied at each start; its path must be short, too."""
        return self.socket.parent / "tmp"

    def url(self, service: str) -> str:
        """Return the URL of ``airflow``, ``mlflow``, ``s3``, ``serve`` or ``metrics``."""
        host = "localhost" if service in ("airflow", "mlflow") else "127.0.0.1"  # in a browser, or for programs
        return f"http://{host}:{self.ports[f'{service.upper()}_PORT']}"

    def secrets(self) -> dict[str, str]:
        """Return the stack's secrets from ``secrets.env`` (mode 0600), after generating the missing ones."""
        file = self.home / "secrets.env"
        self.home.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        known, fernet = _read(file), secrets.token_urlsafe(32) + "="  # 32 bytes in base64
        generated = {name: secrets.token_hex(32) for name in SECRETS} | {"AIRFLOW_FERNET_KEY": fernet}
        with file.open("a") as stream:
            stream.writelines(f"{name}={value}\n" for name, value in generated.items() if name not in known)
        return _read(file)

    def environments(self) -> dict[str, dict[str, str]]:
        """Return the environment of each program of ``local/programs.py``: only the secrets that it needs."""
        secret, own = self.secrets(), {"TMPDIR": str(self.temporary)}
        base, airflow = self.base_environment() | own, self.environment() | own
        logs = [AWS_CONNECTION] if "1" in (os.environ.get("SERVE_LOG"), os.environ.get("SERVE_SHADOW")) else []
        serving = {name: airflow[name] for name in ("AIRFLOW_HOME", MLFLOW_CONNECTION, *logs)}
        serving |= {name: value for name, value in common_settings().items() if not name.startswith("AIRFLOW__")}
        return {
            "s3": base | _s3_server(secret),
            "mlflow": base | self._mlflow_server(secret),
            "model-server": base | serving,
            "postgres": base | {"POSTGRES_PASSWORD": secret["POSTGRES_PASSWORD"]},
            "redis": base,
            "worker": {name: value for name, value in airflow.items() if name not in NOT_FOR_WORKERS},
            **dict.fromkeys(AIRFLOW_PROGRAMS, airflow),
            **dict.fromkeys(("housekeeping", "metrics"), self.environment()),  # which look for the supervisor's socket
        }

    def environment(self) -> dict[str, str]:
        """Return the environment variables of Airflow, and of commands that use its connections.

        The connections to MLflow and S3 may be set from outside, so that Airflow uses another MLflow or real S3.
        OpenMetadata's connection always comes from there.
        """
        secret = self.secrets()
        connections = self._connections(secret)
        # A temporary stack, with a copy of the project, uses its own services, also if these are set.
        own = connections if self.project == PROJECT else {}
        outside = (*own, "AIRFLOW_CONN_OPENMETADATA_DEFAULT", *LINEAGE_SETTINGS, *METRICS_SETTINGS)
        return {
            **self.base_environment(),
            **self._airflow(secret),
            **connections,
            **{name: os.environ[name] for name in outside if os.environ.get(name)},
        }

    def base_environment(self) -> dict[str, str]:
        """Return the variables that every program has: those of ``INHERITED``, paths and ports, but no secret."""
        connector = str(ENVIRONMENTS / "openmetadata" / "bin" / "python")
        return {
            **inherited(),
            **{name: str(port) for name, port in self.ports.items()},
            "SPT_NOENV": "1",  # Airflow renames its processes, which would overwrite STACK_HOME in their environment
            "PATH": f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.project),
            "STACK_HOME": str(self.home),
            "MODEL_ENVIRONMENTS": str(self.model_environments),
            "OPENMETADATA_PYTHON": os.environ.get("OPENMETADATA_PYTHON") or connector,
        }

    def _mlflow_server(self, secret: dict[str, str]) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": secret["MLFLOW_S3_ACCESS_KEY"],
            "AWS_SECRET_ACCESS_KEY": secret["MLFLOW_S3_SECRET_KEY"],
            "AWS_DEFAULT_REGION": "us-east-1",
            "MLFLOW_S3_ENDPOINT_URL": self.url("s3"),
            "MLFLOW_AUTH_ADMIN_USERNAME": USER,
            "MLFLOW_AUTH_ADMIN_PASSWORD": secret["MLFLOW_PASSWORD"],
            "MLFLOW_AUTH_CONFIG_PATH": str(self.home / "mlflow" / "auth.ini"),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secret["MLFLOW_FLASK_SERVER_SECRET_KEY"],
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # two processes instead of ten
        }

    def _airflow(self, secret: dict[str, str]) -> dict[str, str]:
        home = self.home / "airflow"
        transport = {"type": "file", "log_file_path": str(self.lineage), "append": True}
        tasks = max(2, min(os.cpu_count() or 2, 8)) + 2  # those that HEAVY_TASKS limits leave slots for light ones
        options = {
            "CORE__DAGS_FOLDER": self.project / "dags",
            "CORE__LOAD_EXAMPLES": False,
            "CORE__PARALLELISM": tasks,
            "CORE__FERNET_KEY": secret["AIRFLOW_FERNET_KEY"],
            "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{self.ports['AIRFLOW_PORT']}/execution/",
            "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": home / "passwords.json",
            "DATABASE__SQL_ALCHEMY_CONN": self.database_url,
            "API__SECRET_KEY": secret["AIRFLOW_SECRET_KEY"],
            "API__BASE_URL": self.url("airflow"),
            "API_AUTH__JWT_SECRET": secret["AIRFLOW_JWT_SECRET"],
            "OPENLINEAGE__TRANSPORT": json.dumps(transport),
            # To local/statsd.py, by UDP: what is sent while it does not run is lost.
            "METRICS__STATSD_ON": "AIRFLOW__METRICS__OTEL_ON" not in os.environ,
            "METRICS__STATSD_PORT": self.ports["METRICS_PORT"],
            "METRICS__STATSD_INFLUXDB_ENABLED": True,  # labels beside names, not in them
            "METRICS__LEGACY_NAMES_ON": False,
        }
        if sys.platform == "linux":
            options["CORE__MP_START_METHOD"] = "forkserver"
            options["CORE__MP_FORKSERVER_PRELOAD"] = "include.services.preloaded"
        if self.executor == "celery":
            redis = f"redis://:{secret['REDIS_PASSWORD']}@127.0.0.1:{self.ports['REDIS_PORT']}/0"
            options["CORE__EXECUTOR"] = "CeleryExecutor"
            # A worker's disk is not the API server's, and goes with the worker.
            options |= {"LOGGING__REMOTE_LOGGING": True, "LOGGING__REMOTE_LOG_CONN_ID": AWS_CONN_ID}
            options["LOGGING__REMOTE_BASE_LOG_FOLDER"] = f"s3://{DATA_BUCKET}/logs"
            options |= {"CELERY__BROKER_URL": redis, "CELERY__RESULT_BACKEND": redis}
            if sys.platform != "linux":
                options["CELERY__EXTRA_CELERY_CONFIG"] = "{}"  # macOS: no fork after frameworks were loaded
            options["CELERY__MP_START_METHOD"] = "fork"  # of a worker's helpers, which import nothing then
            options["CELERY__WORKER_CONCURRENCY"] = slots = max(1, tasks // max(1, self.workers))
            options["CORE__PARALLELISM"] = max(tasks, slots * self.workers)
        own = {f"AIRFLOW__{name}": str(value) for name, value in options.items()}
        return {"AIRFLOW_HOME": str(home)} | common_settings() | own

    def _connections(self, secret: dict[str, str]) -> dict[str, str]:
        """Return Airflow's connections; the timeouts of the one to S3 are those of ``.env_example``."""
        mlflow = {"conn_type": "mlflow", "host": f"http://127.0.0.1:{self.ports['MLFLOW_PORT']}"}
        mlflow |= {"login": AIRFLOW_USER, "password": secret["AIRFLOW_MLFLOW_PASSWORD"]}
        s3: dict[str, Any] = json.loads(_read(EXAMPLE)[AWS_CONNECTION])
        s3 |= {"login": secret["S3_ACCESS_KEY"], "password": secret["S3_SECRET_KEY"]}
        s3["extra"]["endpoint_url"] = self.url("s3")
        return {MLFLOW_CONNECTION: json.dumps(mlflow), AWS_CONNECTION: json.dumps(s3)}

    def create_folders(self) -> None:
        """Create the services' folders and files, readable by this user only, and store the ports."""
        for name in ("airflow", "environments", "lineage", "logs", "mlflow", "redis", "s3"):
            (self.home / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (self.socket.parent, self.temporary):
            folder.mkdir(mode=0o700, exist_ok=True)
        self.write_environments(self.environments())
        (self.home / "ports.env").write_text("".join(f"{name}={value}\n" for name, value in self.options.items()))
        (self.home / "mlflow" / "auth.ini").write_text(AUTH_INI.format(database_uri="sqlite:///login.db"))
        redis, secret = self.home / "redis", self.secrets()
        _write_private(  # the password would be visible on a command line
            redis / "redis.conf",
            f"bind 127.0.0.1\nport {self.ports['REDIS_PORT']}\nrequirepass {secret['REDIS_PASSWORD']}\n"
            f'dir "{redis}"\nappendonly yes\nsave ""\n',
        )
        passwords = self.home / "airflow" / "passwords.json"
        if not passwords.exists():
            _write_private(passwords, json.dumps({USER: secret["AIRFLOW_PASSWORD"]}))

    def write_environments(self, programs: Iterable[str]) -> None:
        """Write what programs read when they start: their environment variables."""
        environments = self.environments()
        for program in {name.partition(":")[0] for name in programs}:  # without the number of a worker
            _write_private(self.home / "environments" / f"{program}.json", json.dumps(environments[program]))


def load(home: Path = PROJECT / ".local") -> Settings:
    """Return the settings of the stack in ``home``: from the environment, or as last used.

    EXECUTOR=celery implies DATABASE=postgresql.
    """
    options = Settings(home=home).options
    options |= stored_options(home) | {name: os.environ[name] for name in options if os.environ.get(name)}
    executor = _choice("EXECUTOR", options["EXECUTOR"], ("local", "celery"))
    databases = ("postgresql",) if executor == "celery" else ("sqlite", "postgresql")
    if executor == "celery" and not os.environ.get("DATABASE"):
        options["DATABASE"] = "postgresql"
    return Settings(
        home=home,
        ports={name: _number(name, options[name], "port", 65535) for name in DEFAULT_PORTS},
        executor=executor,
        workers=_number("WORKERS", options["WORKERS"], "number of workers", 100),
        database=_choice("DATABASE", options["DATABASE"], databases),
    )


def temporary(folder: Path, **options: Any) -> Settings:
    """Return the settings of an independent stack in ``folder``: free ports, a copy of the project."""
    project = folder / "project"
    for name in ("dags", "include"):
        shutil.copytree(PROJECT / name, project / name, ignore=shutil.ignore_patterns("__pycache__", "plots"))
    ports = dict(zip(DEFAULT_PORTS, _free_ports(), strict=True))
    return Settings(project=project, home=folder / "home", ports=ports, **options)


def common_settings() -> dict[str, str]:
    """Return the settings of ``.env_example`` that every way of starting Airflow shares."""
    return {name: value for name, value in _read(EXAMPLE).items() if name.startswith(SHARED)}


def inherited() -> dict[str, str]:
    """Return the variables of this process that every program may see."""
    return {name: value for name, value in os.environ.items() if name.upper().startswith(INHERITED)}


def stored_options(home: Path) -> dict[str, str]:
    """Return the options with which the stack in ``home`` was last started."""
    return _read(home / "ports.env")


def _read(file: Path) -> dict[str, str]:
    """Return the variables of a file that are not empty; none if it does not exist."""
    return {name: value for name, value in dotenv_values(file).items() if value}


def _s3_server(secret: dict[str, str]) -> dict[str, str]:
    """Return the keys of Airflow and of MLflow; rclone cannot limit a key to some buckets."""
    keys = [(secret[f"{owner}S3_ACCESS_KEY"], secret[f"{owner}S3_SECRET_KEY"]) for owner in ("", "MLFLOW_")]
    return {
        "RCLONE_CONFIG": os.devnull,
        "RCLONE_AUTH_KEY": ",".join(f'"{key},{value}"' for key, value in keys),
    }


def _free_ports() -> list[int]:
    """Return a port for each service that no outgoing connection can take first."""
    candidates = secrets.SystemRandom().sample(SERVER_PORTS, 100)
    return list(islice(filterfalse(find_obstacle, candidates), len(DEFAULT_PORTS)))


def find_obstacle(port: int) -> str:
    """Return why no server can listen on a port, such as "Address already in use", or an empty string."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.strerror or str(error)
    return ""


def _number(name: str, value: str, kind: str, maximum: int) -> int:
    if not (value.isdecimal() and 0 < int(value) <= maximum):
        raise SystemExit(f"{name}={value} is not a {kind}: choose a number from 1 to {maximum}")
    return int(value)


def _choice(name: str, value: str, choices: Iterable[str]) -> str:
    if value not in choices:
        raise SystemExit(f"{name}={value}: choose {' or '.join(choices)}")
    return value


def _write_private(file: Path, text: str) -> None:
    """Write a file that only this user may read, in place of an earlier one."""
    file.unlink(missing_ok=True)
    file.touch(mode=0o600, exist_ok=False)
    file.write_text(text)
