"""Create Airflow's MLflow user, which is not an administrator: it owns what it creates and can read the rest.

Run by the service ``mlflow-accounts`` and by the local stack. Needs the standard library only.
"""

import base64
import json
import sys
import urllib.request
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError

Login = tuple[str, str]


def main(url: str, folder: Path) -> int:
    """Create the user in ``airflow.json``, with the administrator's password from the same folder."""
    user = json.loads((folder / "airflow.json").read_text())
    if user is None:
        print("Airflow uses another MLflow server: no user is created.")
        return 0
    ensure_user(url, ("admin", (folder / "admin_password").read_text()), (user["username"], user["password"]))
    return 0


def ensure_user(url: str, admin: Login, user: Login) -> None:
    """Create a user, or set the password of an existing one.

    :param url: address of the MLflow server
    :raises HTTPError: if the server refuses, for example with 401 for a wrong administrator password
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
    urllib.request.urlopen(request, timeout=30).close()  # noqa: S310 # the caller's server


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
