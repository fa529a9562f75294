"""The script of the service openmetadata-secrets."""

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key

from local.settings import PROJECT

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="needs OpenSSL, as the container has it")

SCRIPT = PROJECT / "containers" / "openmetadata" / "write_secrets.sh"


def written(folder: Path) -> dict[str, bytes]:
    subprocess.run(["sh", str(SCRIPT), str(folder)], check=True, capture_output=True)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_each_stack_gets_its_own_secrets(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()

    one, two = (written(folder) for folder in folders)

    assert set(one) == {"password", "fernet_key", "private_key.der", "public_key.der"}
    assert all(one[name] != two[name] for name in one)
    private = load_der_private_key(one["private_key.der"], password=None)
    assert isinstance(private, RSAPrivateKey)
    assert private.public_key() == load_der_public_key(one["public_key.der"])


def test_generated_secrets_are_kept(tmp_path: Path) -> None:
    assert written(tmp_path) == written(tmp_path)
