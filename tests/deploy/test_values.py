"""The values for the official Airflow chart, and the manifests beside them."""

import json
import re
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from airflow.configuration import conf
from airflow.providers_manager import ProvidersManager
from dotenv import dotenv_values

from local.settings import PROJECT

DEPLOY = PROJECT / "deploy"
VALUES: dict[str, Any] = yaml.safe_load((DEPLOY / "values.yaml").read_text())
EXAMPLE = dotenv_values(PROJECT / ".env_example")
KEYS = {"fernet-key", "api-secret-key", "jwt-secret", "connection", "mlflow", "aws"}


def manifest(name: str) -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / name).read_text())


def test_airflow_is_configured_as_everywhere_else() -> None:
    section = re.compile(r"AIRFLOW__([A-Z_]+?)__([A-Z_]+)")
    expected = {
        (found[1].lower().replace("common_io", "common.io"), found[2].lower()): value
        for name, value in EXAMPLE.items()
        if (found := section.fullmatch(name)) and not found[1].startswith("CELERY")
    }
    given = {(name, key): value for name, options in VALUES["config"].items() for key, value in options.items()}
    assert len(expected) > 10
    assert expected.items() <= given.items()


def test_every_option_exists_in_airflow() -> None:
    ProvidersManager().initialize_providers_configuration()
    known = conf.configuration_description
    kubernetes = {"delete_worker_pods_on_failure"}  # of a provider that is not installed here
    unknown = [
        (section, option)
        for section, options in VALUES["config"].items()
        for option in options
        if option not in known.get(section, {}).get("options", {}) and option not in kubernetes
    ]
    assert unknown == []


def test_the_variables_are_those_of_the_example() -> None:
    own = {"CODE_VERSION": VALUES["images"]["airflow"]["tag"], "MODEL_ENVIRONMENTS": "/model_environments"}
    variables = {one["name"]: one["value"] for one in VALUES["env"]}
    assert variables.keys() - own.keys() <= EXAMPLE.keys()
    assert own.items() <= variables.items()


def test_a_process_of_a_task_may_allocate_less_than_its_pod() -> None:
    limit = VALUES["workers"]["kubernetes"]["resources"]["limits"]["memory"]
    (megabytes,) = (one["value"] for one in VALUES["env"] if one["name"] == "TASK_MEMORY_MB")
    assert int(megabytes) * 1_000_000 < int(limit.removesuffix("Gi")) * 2**30


def test_every_secret_is_a_key_of_the_store() -> None:
    names = [VALUES[f"{name}Name"] for name in ("fernetKeySecret", "apiSecretKeySecret", "jwtSecret")]
    names += [VALUES["data"]["metadataSecretName"], *(secret["secretName"] for secret in VALUES["secret"])]
    assert {*names} == {manifest("secrets.yaml")["spec"]["target"]["name"]}
    assert {secret["secretKey"] for secret in VALUES["secret"]} <= KEYS
    assert all(key in (DEPLOY / "secrets.yaml").read_text() for key in KEYS)
    assert not re.search(r"password\w*:|pass:|token:", json.dumps(VALUES))


def test_model_environments_are_kept_in_a_volume_of_all_pods() -> None:
    claim = manifest("model_environments.yaml")
    (volume,) = VALUES["workers"]["kubernetes"]["extraVolumes"]
    (mount,) = VALUES["workers"]["kubernetes"]["extraVolumeMounts"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert {"name": "MODEL_ENVIRONMENTS", "value": mount["mountPath"]} in VALUES["env"]


@pytest.mark.parametrize("name", ["dags", "include", "plugins", "requirements.txt"])
def test_the_image_has_what_the_dags_need(name: str) -> None:
    assert re.search(rf"^COPY .*\b{re.escape(name)} ", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)


def test_the_image_has_the_airflow_that_is_locked() -> None:
    lock = (PROJECT / "local/requirements/airflow.txt").read_text()
    locked = re.search(r"^apache-airflow==(\S+)", lock, re.MULTILINE)
    assert locked
    assert VALUES["airflowVersion"] == locked[1]
    assert f"FROM apache/airflow:{locked[1]}-" in (DEPLOY / "Dockerfile").read_text()
