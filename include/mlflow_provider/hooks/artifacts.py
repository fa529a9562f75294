"""MLflow's artifact proxy: files in the store behind the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from .rest import MLflowRestHook

ARTIFACTS = "api/2.0/mlflow-artifacts/artifacts"
CHUNK = 1 << 20  # bytes


class ArtifactAPI(MLflowRestHook):
    """Reads the files that ``mlflow-artifacts:/`` URIs name.

    The endpoints are those of https://mlflow.org/docs/latest/self-hosting/architecture/artifact-store/.
    """

    def list_artifact_files(self, path: str) -> Iterator[str]:
        """Yield the path of every file in a folder of the store and in its subfolders, relative to it."""
        for item in self.call("GET", ARTIFACTS, {"path": path}).get("files", []):
            if item.get("is_dir"):
                inner = self.list_artifact_files(f"{path}/{item['path']}")
                yield from (f"{item['path']}/{name}" for name in inner)
            else:
                yield item["path"]

    def read_artifact(self, path: str) -> bytes:
        """Return the content of one file of the store.

        :raises MLflowAPIError: there is no such file
        """
        return self._send("GET", f"{ARTIFACTS}/{quote(path)}").content

    def download_artifact(self, path: str, target: Path) -> None:
        """Write one file of the store to the local disk, making its folder if necessary.

        :raises MLflowAPIError: there is no such file
        :raises MLflowConnectionError: the server fell silent
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        response = self._send("GET", f"{ARTIFACTS}/{quote(path)}", stream=True)
        with self.explained(f"GET {response.url}"), response, target.open("wb") as file:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
