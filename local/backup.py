"""Back up, restore and upgrade a local stack: its databases, objects and secrets, as one archive.

The databases are copied first and the objects after them, while everything runs: an object is written before the row
that names it, so that each row in the archive has its object there.
"""

import json
import math
import shutil
import socket
import sqlite3
import subprocess
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import pyrage
from packaging.version import Version

from include.settings import read_number
from local import postgres
from local.settings import ENVIRONMENTS, Settings

DATABASES = ("airflow/airflow.db", "mlflow/mlflow.db", "mlflow/login.db")
FILES = ("secrets.env", "ports.env", "airflow/passwords.json", "lineage/events.jsonl")
FOLDERS = ("s3", "postgres")
CONTENT = (*DATABASES, *FILES, *FOLDERS)
# Of the state that is replaced: journals of its databases, and tasks that wait in Redis.
STALE = ("redis", *(f"{name}{suffix}" for name in DATABASES for suffix in ("-wal", "-shm", "-journal")))
MANIFEST, VERSIONS = "manifest.json", "versions.json"
ENCRYPTED = ".age"
KEPT = math.ceil(read_number("BACKUPS", 10))  # archives; older ones are deleted


class BackupError(RuntimeError):
    """An archive cannot be written or restored; the message says what to do."""


def back_up(settings: Settings, key: Path | None = None) -> Path:
    """Write an archive of the stack, which may be running, to ``backups`` in its home, delete old ones, and return it.

    :param key: file with an age identity, created if it is missing; the archive is encrypted with it
    """
    folder = settings.home / "backups"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S-%f}.tar.gz"
    with TemporaryDirectory(dir=folder) as temporary:  # on the same disk, readable by this user only
        written = Path(temporary) / target.name
        with tarfile.open(written, "w:gz", compresslevel=1, dereference=True) as archive:
            manifest = written.with_name(MANIFEST)
            manifest.write_text(json.dumps(read_versions(settings) or installed_versions()))
            _add(archive, MANIFEST, manifest)
            for name, file in _collect(settings, Path(temporary)):
                _add(archive, name, file)
        if key:
            target, plain = target.with_name(target.name + ENCRYPTED), written
            written = plain.with_name(target.name)
            pyrage.encrypt_file(str(plain), str(written), [_read_key(key).to_public()])
        written.chmod(0o600)
        written.rename(target)
    for old in sorted(folder.glob("*.tar.gz*"), reverse=True)[KEPT:]:
        old.unlink()
    return target


def restore(
    settings: Settings, archive: Path, key: Path | None = None, *, stop: Callable[[], None] = lambda: None
) -> Path:
    """Put the content of an archive in place of the present one; the stack must not be running then.

    :param stop: called once the archive has been read, before anything changes
    :return: the folder that the present content was moved to
    :raises BackupError: the archive cannot be read, or is of newer versions; nothing has changed
    """
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    replaced = settings.home / f"replaced-{datetime.now(UTC):%Y%m%dT%H%M%S-%f}"
    with TemporaryDirectory(dir=settings.home) as temporary:
        content = Path(temporary)
        _extract(archive, content, key)
        _check_versions(content / MANIFEST)
        stop()
        for name in (*CONTENT, *STALE, VERSIONS):
            _move(settings.home / name, replaced / name)
        for name in CONTENT:
            _move(content / name, settings.home / name)
        _move(content / MANIFEST, settings.home / VERSIONS)  # the next start upgrades what is older
    for name in FOLDERS:
        if (folder := settings.home / name).exists():
            folder.chmod(0o700)  # the archive's mode is not applied to folders, and PostgreSQL insists on it
    return replaced


def upgrade(settings: Settings) -> Path | None:
    """Upgrade MLflow's database if Airflow or MLflow has another version than at the last start, after a backup.

    Airflow's database is upgraded whenever Airflow starts. Nothing of the stack may be running.

    :return: the backup, or None if there was nothing to upgrade
    :raises BackupError: MLflow cannot upgrade its database
    """
    saved, now = None, installed_versions()
    if read_versions(settings) != now and any((settings.home / name).exists() for name in DATABASES):
        saved = back_up(settings)
        if (settings.home / "mlflow" / "mlflow.db").exists():
            _upgrade_mlflow(settings, saved)
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    (settings.home / VERSIONS).write_text(json.dumps(now))
    return saved


def installed_versions() -> dict[str, str]:
    """Return the versions of Airflow and MLflow; MLflow's server has an environment of its own."""
    found = (ENVIRONMENTS / "mlflow").glob("lib/python*/site-packages/mlflow-*.dist-info")
    mlflow = next((folder.name.removesuffix(".dist-info").partition("-")[2] for folder in found), "0")
    return {"airflow": version("apache-airflow"), "mlflow": mlflow}


def read_versions(settings: Settings) -> dict[str, str]:
    """Return the versions at the last start, or nothing if there was none."""
    file = settings.home / VERSIONS
    return json.loads(file.read_text()) if file.exists() else {}


def _upgrade_mlflow(settings: Settings, saved: Path) -> None:
    command = [str(ENVIRONMENTS / "mlflow" / "bin" / "mlflow"), "db", "upgrade", "sqlite:///mlflow.db"]
    folder = settings.home / "mlflow"
    done = subprocess.run(
        command, cwd=folder, env=settings.base_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [""])[-1]
        raise BackupError(f"MLflow's database cannot be upgraded: {reason}\nThe state before is in {saved}")


def _collect(settings: Settings, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield name and file of everything to back up: the objects last."""
    for name in DATABASES:
        if (source := settings.home / name).exists():
            copy = folder / Path(name).name
            with closing(sqlite3.connect(source)) as database, closing(sqlite3.connect(copy)) as target:
                database.backup(target)
            yield name, copy
    yield from ((name, settings.home / name) for name in FILES)
    for name, source in (("postgres", _copy_postgres(settings, folder)), ("s3", settings.home / "s3")):
        files = [source, *sorted(source.rglob("*"))] if source.exists() else []
        yield from ((f"{name}/{file.relative_to(source).as_posix()}", file) for file in files)


def _copy_postgres(settings: Settings, folder: Path) -> Path:
    """Return PostgreSQL's folder: a copy if the server runs, in a state from which it recovers."""
    source, target = settings.home / "postgres", folder / "postgres"
    if settings.database == "sqlite":
        return source
    try:
        socket.create_connection(("127.0.0.1", settings.ports["POSTGRES_PORT"])).close()
    except ConnectionRefusedError:  # any other failure must not pass for a server that is stopped
        return source
    command = [postgres.find_program("pg_basebackup") or "pg_basebackup", "--pgdata", str(target)]
    command += ["--host", "127.0.0.1", "--port", str(settings.ports["POSTGRES_PORT"]), "--username", postgres.USER]
    environment = settings.base_environment() | {"PGPASSWORD": settings.secrets()["POSTGRES_PASSWORD"]}
    done = subprocess.run([*command, "--checkpoint=fast"], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BackupError(f"PostgreSQL cannot be copied: {done.stderr.strip()}")
    return target


def _add(archive: tarfile.TarFile, name: str, file: Path) -> None:
    """Add a file; it is opened before its size is read, because it may be replaced or deleted meanwhile."""
    if file.is_dir():
        archive.add(file, name, recursive=False)  # buckets may be empty
        return
    with suppress(FileNotFoundError), file.open("rb") as stream:
        archive.addfile(archive.gettarinfo(arcname=name, fileobj=stream), stream)


def _extract(archive: Path, folder: Path, key: Path | None) -> None:
    if not archive.is_file():
        raise BackupError(f"{archive} does not exist: make restore FILE=.local/backups/<time>.tar.gz")
    try:
        if archive.suffix == ENCRYPTED:
            if not (key and key.exists()):
                raise BackupError(f"{archive} is encrypted: add KEY=<the file that it was made with>")
            plain = folder / "archive"
            pyrage.decrypt_file(str(archive), str(plain), [_read_key(key)])
            archive = plain
        with tarfile.open(archive) as opened:
            opened.extractall(folder, filter=_keep_files)  # noqa: S202 # with the filter of data, and more
            while opened.fileobj and opened.fileobj.read(2**20):  # gzip's checksum is at the end
                pass
    except (pyrage.DecryptError, tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise BackupError(f"{archive} cannot be read: {error}") from error


def _keep_files(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
    """Refuse links, which no backup contains, and all that Python's filter of data refuses."""
    if not (member.isfile() or member.isdir()):
        raise tarfile.SpecialFileError(member)
    return tarfile.data_filter(member, folder)


def _check_versions(manifest: Path) -> None:
    if not manifest.is_file():
        raise BackupError("the archive is not a backup of this stack")
    made_with = json.loads(manifest.read_text())
    for name, installed in installed_versions().items():
        if Version(made_with[name]) > Version(installed):
            raise BackupError(
                f"the archive is of {name} {made_with[name]}, {installed} is installed: check out the version of this "
                "project that it was made with, and run make setup"
            )


def _read_key(file: Path) -> pyrage.x25519.Identity:
    if not file.exists():
        file.touch(mode=0o600, exist_ok=False)
        file.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    try:
        return pyrage.x25519.Identity.from_str(file.read_text().strip())
    except (pyrage.IdentityError, UnicodeDecodeError) as error:
        raise BackupError(f"{file} is not a key: {error}") from error


def _move(source: Path, target: Path) -> None:
    if source.exists():
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.move(source, target)
