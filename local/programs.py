"""The programs of a local stack, as supervisord runs them."""

import sys
from configparser import RawConfigParser
from math import ceil
from pathlib import Path

from include.problem import PROBLEM
from include.settings import SERVE_SECONDS
from local.settings import ENVIRONMENTS, PROJECT, Settings

RUN = Path(__file__).with_name("run.py")


def describe_programs(settings: Settings) -> dict[str, dict[str, str | int]]:
    """Return each program's ``command``, and its options that are not the default."""
    home, project, environments = map(_escape, (settings.home, PROJECT, ENVIRONMENTS))
    ports = settings.ports
    mlflow = f'"{environments}/mlflow/bin/mlflow" server --host 127.0.0.1 --port {ports["MLFLOW_PORT"]} --workers 1'
    mlflow += " --app-name basic-auth --backend-store-uri sqlite:///mlflow.db"
    postgres = f'python "{project}/local/postgres.py" "{home}/postgres" {ports["POSTGRES_PORT"]}'
    worker = "airflow celery worker --skip-serve-logs --celery-hostname worker-%(process_num)s"
    return {
        "s3": {"command": f'rclone serve s3 --addr 127.0.0.1:{ports["S3_PORT"]} "{home}/s3"'},
        "mlflow": {
            "command": f"{mlflow} --artifacts-destination s3://{PROBLEM.artifact_bucket}",
            "directory": f"{home}/mlflow",
        },
        # Stopped last (priority); SIGINT ends the connections that are left.
        "postgres": {"command": postgres, "priority": 1, "stopsignal": "INT"},
        "redis": {"command": f'redis-server "{home}/redis/redis.conf"', "priority": 1},
        # On SIGTERM, worker and scheduler wait for running tasks; after stopwaitsecs they are killed with them.
        "worker": {
            "command": f'{worker} --pid "{home}/worker-%(process_num)s.pid"',
            "process_name": "%(program_name)s-%(process_num)s",
            "numprocs": settings.workers,
            "stdout_logfile": f"{home}/logs/worker-%(process_num)s.log",
        },
        "scheduler": {"command": "airflow scheduler --skip-serve-logs"},
        "dag-processor": {"command": "airflow dag-processor"},
        "api-server": {"command": f"airflow api-server --host 127.0.0.1 --port {ports['AIRFLOW_PORT']} --workers 1"},
        "triggerer": {"command": "airflow triggerer --skip-serve-logs"},
        # Once a day, but not while the stack starts.
        "housekeeping": {
            "command": "bash -c 'sleep 3600 && while true; do python -m local.housekeeping; sleep 86400; done'",
            "directory": project,
        },
        "metrics": {"command": "python -m local.metrics", "directory": project},
        # It finishes running requests first, and then writes its log, which takes up to 8 seconds.
        "model-server": {
            "command": "python -m include.serving.model_server",
            "stopwaitsecs": ceil(SERVE_SECONDS) + 15,
        },
    }


def write_configuration(settings: Settings) -> Path:
    """Write supervisord's configuration, and return its file.

    No secret is in it, on a command line, or in the supervisor's environment: ``run.py`` gives each program an
    environment of its own.
    """
    home, run, logs = _escape(settings.home), f'"{_escape(sys.executable)}" "{_escape(RUN)}"', _escape(settings.logs)
    configuration = RawConfigParser()
    configuration.read_dict(
        {
            "supervisord": {
                "logfile": f"{logs}/supervisord.log",
                "pidfile": f"{home}/supervisord.pid",
                "childlogdir": logs,
                "umask": "077",
            },
            "unix_http_server": {"file": _escape(settings.socket), "chmod": "0700"},
            "rpcinterface:supervisor": {
                "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
            },
        }
    )
    for name, options in describe_programs(settings).items():
        configuration[f"program:{name}"] = {
            "autostart": "false",
            "autorestart": "true",
            "stopasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": f"{logs}/{name}.log",
            **{option: str(value) for option, value in options.items()},
            "command": f'{run} "{home}/environments/{name}.json" {options["command"]}',
        }
    file = settings.home / "supervisord.conf"
    with file.open("w") as stream:
        configuration.write(stream)
    return file


def _escape(path: object) -> str:
    """Escape ``%`` in a path: supervisord would expand it."""
    return str(path).replace("%", "%%")
