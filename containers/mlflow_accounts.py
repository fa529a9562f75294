"""Gives Airflow a user of MLflow that is no administrator: it owns what it makes and may read the rest.

Run by the service ``mlflow-accounts`` and by the local stack. Needs nothing but Python itself.
"""

from __future__ import annotations

import base64
import json
import sys
import urllib.request
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError

Login = tuple[str, str]


def main(url: str, folder: Path) -> int:
    """Make the user whose name and password stand in a folder, if there is to be one, as its administrator."""
    user = json.loads((folder / "airflow.json").read_text())
    if user is None:
        print("Airflow talks to another MLflow: no user is made here.")
        return 0
    ensure_user(url, ("admin", (folder / "admin_password").read_text()), (user["username"], user["password"]))
    return 0


def ensure_user(url: str, admin: Login, user: Login) -> None:
    """Create a user, or give one that is there this password.

    :param url: address of the MLflow server
    :raises HTTPError: the server refuses, such as with 401 for a wrong password of the administrator
    """
    body = dict(zip(("username", "password"), user, strict=True))
    try:
        _call(url, "POST", "users/create", admin, body)
    except HTTPError as error:
        if error.code != HTTPStatus.BAD_REQUEST or b"RESOURCE_ALREADY_EXISTS" not in error.read():
            raise
        _call(url, "PATCH", "users/update-password", admin, body)


def _call(url: str, method: str, path: str, login: Login, body: dict[str, str]) -> None:
    request = urllib.request.Request(f"{url}/api/2.0/mlflow/{path}", json.dumps(body).encode(), method=method)  # noqa: S310
    request.add_header("Content-Type", "application/json")
    request.add_header("Authorization", "Basic " + base64.b64encode(":".join(login).encode()).decode())
    with urllib.request.urlopen(request, timeout=30):  # noqa: S310 # the caller's own server
        pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
