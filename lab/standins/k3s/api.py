"""The Kubernetes API, as far as the stand-in itself uses it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import ssl
import time
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lab.standins.k3s.certificates import KeyPair
from lab.standins.k3s.journal import log

API_REQUEST_SECONDS = 10.0
SERVER_NAME = "kubernetes.default.svc"


RESOURCES = {
    "ServiceAccount": "serviceaccounts",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "ConfigMap": "configmaps",
    "Deployment": "deployments",
    "Service": "services",
}


def object_path(document: Mapping[str, Any]) -> str:
    """The API path of an object of one of the kinds in RESOURCES."""
    group = document["apiVersion"]
    metadata = document["metadata"]
    path = f"/api/{group}" if group == "v1" else f"/apis/{group}"
    if "namespace" in metadata:
        path += f"/namespaces/{metadata['namespace']}"
    return f"{path}/{RESOURCES[document['kind']]}/{urllib.parse.quote(metadata['name'])}"


class ApiError(Exception):
    """The API answered, but not with success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message}")
        self.status = status


class _Connection(http.client.HTTPSConnection):
    """Names the server by one of its certificate's names, since it is reached by 127.0.0.1 (see front.py)."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        super().__init__("127.0.0.1", port, timeout=API_REQUEST_SECONDS)
        self._tls = context

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=SERVER_NAME)


class Api:
    """A blocking client of the API at a port of 127.0.0.1, with a client certificate."""

    def __init__(self, port: int, authority: Path, pair: KeyPair) -> None:
        self._port = port
        self._context = ssl.create_default_context(cafile=str(authority))
        self._context.load_cert_chain(str(pair.certificate), str(pair.key))

    def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, content_type: str = "application/json"
    ) -> dict[str, Any]:
        """The answer's JSON (or {} when it is none); raises ApiError, OSError or HTTPException."""
        connection = _Connection(self._port, self._context)
        with contextlib.closing(connection):
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, {"Content-Type": content_type, "Accept": "application/json"})
            response = connection.getresponse()
            text = response.read()
        if response.status >= 300:
            message = text.decode(errors="replace")
            with contextlib.suppress(ValueError, AttributeError):
                message = json.loads(text).get("message", message)
            raise ApiError(response.status, message[:300])
        try:
            answer = json.loads(text)
        except ValueError:
            return {}
        return answer if isinstance(answer, dict) else {}

    def apply(self, document: Mapping[str, Any], manager: str = "k3s") -> None:
        """Server-side apply: the same object again changes nothing, an edit by hand is taken back."""
        path = f"{object_path(document)}?fieldManager={manager}&force=true"
        self.request("PATCH", path, document, "application/apply-patch+yaml")


async def until(what: str, attempt: Callable[[], Any], interval_seconds: float = 0.3) -> Any:
    """Call ATTEMPT in a thread until it raises no more; no deadline, as in k3s, but a line every 10 s."""
    said = time.monotonic()
    while True:
        try:
            return await asyncio.to_thread(attempt)
        except (ApiError, OSError, http.client.HTTPException) as error:
            if time.monotonic() - said > 10:
                said = time.monotonic()
                log(f"waiting for {what}: {error}")
        await asyncio.sleep(interval_seconds)
