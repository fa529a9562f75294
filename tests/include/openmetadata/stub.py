"""A server with the part of OpenMetadata's API that the connector and the completion use.

A program for the connector's environment: each request and response is validated with the models of the real API that
the package contains. It reads the token from its input, prints its address, and serves until the input ends.

Like a real server it shows its version to everyone, keeps the description, tags and owners of an entity when a bot puts
it again, and rejects names with quotes, ``::`` or line breaks. ``GET /state`` returns calls, entities and edges;
``POST /failures`` takes ``{"method", "path" (a pattern), "status", "lag" (seconds), "version"}``; ``POST /reset``
clears everything.
"""

import importlib
import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import jsonpatch
from metadata.generated.schema.api.lineage.addLineage import AddLineageRequest
from metadata.generated.schema.entity.services.connections.testConnectionDefinition import TestConnectionDefinition
from metadata.generated.schema.type.bulkDeleteStaleRequest import BulkDeleteStaleRequest
from metadata.generated.schema.type.bulkOperationResult import BulkOperationResult
from pydantic import ValidationError

VERSION = "2.0.6"


def load(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"metadata.generated.schema.{module}"), name)


# For each collection the class of its entities, the modules of their requests and of themselves, and their parents.
COLLECTIONS = {
    "services/mlmodelServices": ("MlModelService", "services", "services.mlmodelService", ""),
    "services/storageServices": ("StorageService", "services", "services.storageService", ""),
    "mlmodels": ("MlModel", "data", "data.mlmodel", "services/mlmodelServices"),
    "containers": ("Container", "data", "data.container", "services/storageServices"),
    "classifications": ("Classification", "classification", "classification.classification", ""),
    "tags": ("Tag", "classification", "classification.tag", "classifications"),
    "teams": ("Team", "teams", "teams.team", ""),
}
REQUESTS = {
    key: load(f"api.{area}.create{name}", f"Create{name}Request") for key, (name, area, *_) in COLLECTIONS.items()
}
ENTITIES = {key: load(f"entity.{module}", name) for key, (name, _, module, _) in COLLECTIONS.items()}
TYPES = {key: module.rpartition(".")[2] for key, (_, _, module, _) in COLLECTIONS.items()}
STEP = {"name": "GetModels", "description": "List the registered models", "mandatory": True}
DEFINITION = {"name": "Mlflow.testConnectionDefinition", "steps": [STEP]}
TestConnectionDefinition.model_validate(DEFINITION)


class RejectedError(Exception):
    """A response that is not 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class State:
    """Calls, entities, edges, and the failures to come."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.failures: list[dict[str, Any]] = []
        self.entities: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in COLLECTIONS}
        self.edges: list[dict[str, Any]] = []

    def find(self, collection: str, key: str, value: str) -> dict[str, Any]:
        for entity in self.entities[collection].values():
            if entity[key] == value:
                return entity
        raise RejectedError(404, f"{collection} instance for {value} not found")

    def put(self, collection: str, body: dict[str, Any]) -> dict[str, Any]:
        REQUESTS[collection].model_validate(body)
        check_names(body)
        body = {name: value for name, value in body.items() if value is not None}
        name = f'"{body["name"]}"' if "." in body["name"] else body["name"]
        if parents := COLLECTIONS[collection][3]:
            field = "classification" if collection == "tags" else "service"
            above = self.find(parents, "fullyQualifiedName", body[field])
            body[field] = {"id": above["id"], "type": TYPES[parents], "name": above["name"]}
            name = f"{above['fullyQualifiedName']}.{name}"
        known = self.entities[collection].get(name, {})
        kept = {field: known[field] for field in ("description", "tags", "owners") if known.get(field)}
        whole = {"id": str(uuid4()), "fullyQualifiedName": name, "version": 0.1} | known | body | kept
        if collection == "mlmodels":
            whole["serviceType"] = "Mlflow"
        ENTITIES[collection].model_validate(whole)
        self.entities[collection][name] = whole
        return whole

    def patch(self, collection: str, id_: str, body: list[dict[str, Any]]) -> dict[str, Any]:
        known = self.find(collection, "id", id_)
        changed = jsonpatch.JsonPatch(body).apply(known)
        ENTITIES[collection].model_validate(changed)
        for tag in changed.get("tags") or []:
            self.find("tags", "fullyQualifiedName", tag["tagFQN"])
        for owner in changed.get("owners") or []:
            self.find("teams", "id", owner["id"])
        known.clear()
        known.update(changed)
        return known

    def add_edge(self, body: dict[str, Any]) -> dict[str, Any]:
        AddLineageRequest.model_validate(body)
        collections = {type_: collection for collection, type_ in TYPES.items()}
        names = [
            self.find(collections[end["type"]], "id", end["id"])["fullyQualifiedName"]
            for end in (body["edge"]["fromEntity"], body["edge"]["toEntity"])
        ]
        if names not in self.edges:
            self.edges.append(names)
        return {}

    def put_all(self, bodies: list[dict[str, Any]]) -> dict[str, Any]:
        done: list[Any] = []
        failed: list[Any] = []
        for body in bodies:
            try:
                done.append(self.put("mlmodels", body))
            except (RejectedError, ValidationError) as error:
                failed.append({"request": body.get("name"), "status": 400, "message": str(error)})
        return result(done, failed)

    def delete_stale(self, body: dict[str, Any]) -> dict[str, Any]:
        BulkDeleteStaleRequest.model_validate(body)
        stale = [model for name, model in self.entities["mlmodels"].items() if name not in body["seenFqns"]]
        for entity in stale:
            entity["deleted"] = True
        return result(stale, [])


def result(done: list[dict[str, Any]], failed: list[dict[str, Any]]) -> dict[str, Any]:
    content = {
        "status": "failure" if failed else "success",
        "numberOfRowsProcessed": len(done + failed),
        "numberOfRowsPassed": len(done),
        "numberOfRowsFailed": len(failed),
        "successRequest": [{"request": entity["fullyQualifiedName"], "status": 200} for entity in done],
        "failedRequest": failed,
    }
    return json.loads(BulkOperationResult.model_validate(content).model_dump_json())


def check_names(body: dict[str, Any]) -> None:
    """Reject what the package's models leave to the server: ``entityName`` and ``columnName`` of its JSON schema."""
    columns = (body.get("dataModel") or {}).get("columns") or []
    for name in [part["name"] for part in (body, *columns, *(body.get("mlFeatures") or []))]:
        if not re.fullmatch(r'((?!::)[^"\n])+', name):
            raise RejectedError(400, f"Invalid name {name!r}")


STATE = State()


class Handler(BaseHTTPRequestHandler):
    """Routes of the API below /api/v1, and the tests' own."""

    def respond(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(length)
        body = json.loads(text) if text else None
        address = urlsplit(self.path)
        path = unquote(address.path)
        try:
            status, response = 200, self.own(path, body) if not path.startswith("/api/v1/") else self.api(path, body)
        except RejectedError as error:
            status, response = error.status, {"code": error.status, "message": str(error)}
        except ValidationError as error:
            status, response = 400, {"code": 400, "message": str(error)}
        if path.startswith("/api/v1/"):
            STATE.calls.append({"method": self.command, "path": path.removeprefix("/api/v1/"), "body": body})
        content = json.dumps(response).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = respond  # noqa: N815

    def own(self, path: str, body: Any) -> Any:
        if path == "/failures":
            STATE.failures.append(body)
        elif path == "/reset":
            STATE.reset()
        return vars(STATE)

    def api(self, path: str, body: Any) -> Any:
        path = path.removeprefix("/api/v1/")
        version = VERSION
        for failure in STATE.failures:
            if re.search(failure.get("path", ""), path) and failure.get("method", self.command) == self.command:
                time.sleep(failure.get("lag", 0))
                version = failure.get("version", version)
                if "status" in failure:
                    raise RejectedError(failure["status"], "a failure of this test")
        if path == "system/version":
            return {"version": version, "revision": "0", "timestamp": 0}
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise RejectedError(401, "Not Authorized! Token not present or not valid")
        return self.route(path, body)

    def route(self, path: str, body: Any) -> Any:
        special = {
            ("GET", f"services/testConnectionDefinitions/name/{DEFINITION['name']}"): lambda _: DEFINITION,
            ("PUT", "lineage"): STATE.add_edge,
            ("PUT", "mlmodels/bulk"): STATE.put_all,
            ("DELETE", "mlmodels/deleteStale"): STATE.delete_stale,
        }
        if (self.command, path) in special:
            return special[self.command, path](body)
        if self.command == "PUT" and path in COLLECTIONS:
            return STATE.put(path, body)
        if self.command == "GET" and path in COLLECTIONS:
            return {"data": list(STATE.entities[path].values()), "paging": {"total": len(STATE.entities[path])}}
        for collection in COLLECTIONS:
            if self.command == "GET" and path.startswith(f"{collection}/name/"):
                return STATE.find(collection, "fullyQualifiedName", path.removeprefix(f"{collection}/name/"))
            if self.command == "PATCH" and path.startswith(f"{collection}/"):
                return STATE.patch(collection, path.removeprefix(f"{collection}/"), body)
        raise RejectedError(404, f"HTTP 404 Not Found: {self.command} {path}")

    def log_message(self, *_: Any) -> None:
        """Log nothing: the tests print what was sent."""


if __name__ == "__main__":
    TOKEN = sys.stdin.readline().strip()
    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)  # noqa: T201
    sys.stdin.read()
