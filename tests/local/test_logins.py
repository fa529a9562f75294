"""Permissions of the local stack's users and keys."""

import httpx
import pytest
from botocore.exceptions import ClientError

from containers.mlflow_accounts import ensure_user
from local.settings import AIRFLOW_USER, USER
from local.stack import Stack

from .conftest import s3


def airflow_login(stack: Stack) -> tuple[str, str]:
    return AIRFLOW_USER, stack.settings.secrets()["AIRFLOW_MLFLOW_PASSWORD"]


@pytest.mark.parametrize("path", ["/", "/api/2.0/mlflow/experiments/search", "/api/2.0/mlflow-artifacts/artifacts"])
def test_mlflow_shows_nothing_without_a_login(stack: Stack, path: str) -> None:
    assert httpx.get(f"{stack.settings.url('mlflow')}{path}").status_code == 401


def test_airflows_mlflow_user_owns_only_what_it_creates(stack: Stack) -> None:
    url = f"{stack.settings.url('mlflow')}/api/2.0/mlflow"
    administrator = (USER, stack.settings.secrets()["MLFLOW_PASSWORD"])
    made = httpx.post(f"{url}/experiments/create", json={"name": "not Airflow's"}, auth=administrator).json()
    refused = httpx.post(f"{url}/experiments/delete", json=made, auth=airflow_login(stack))
    assert refused.status_code == 403
    own = httpx.post(f"{url}/experiments/create", json={"name": "Airflow's"}, auth=airflow_login(stack)).json()
    assert httpx.post(f"{url}/experiments/delete", json=own, auth=airflow_login(stack)).is_success
    user = {"username": "another", "password": "a long enough password"}
    assert httpx.post(f"{url}/users/create", json=user, auth=airflow_login(stack)).status_code == 403


def test_an_existing_user_gets_the_new_password(stack: Stack) -> None:
    url, administrator = stack.settings.url("mlflow"), (USER, stack.settings.secrets()["MLFLOW_PASSWORD"])
    for password in ("the first password", "the second password"):
        ensure_user(url, administrator, ("somebody", password))
        search = httpx.get(f"{url}/api/2.0/mlflow/experiments/search?max_results=1", auth=("somebody", password))
        assert search.is_success


@pytest.mark.parametrize("owner", ["", "MLFLOW_"])
def test_s3_accepts_the_keys_of_airflow_and_mlflow_only(stack: Stack, owner: str) -> None:
    s3(stack, owner).list_buckets()
    with pytest.raises(ClientError, match=r"SignatureDoesNotMatch|AccessDenied"):
        s3(stack, owner, aws_secret_access_key="wrong").list_buckets()
