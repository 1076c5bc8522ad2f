"""Just enough of a Kubernetes client to look at objects, delete and apply them beside the engine (see helm_records.py).

It takes what k3s writes into a kubeconfig: certificate authority, client certificate or token, ``tls-server-name``. A
kubeconfig that runs a program to log in (``exec``) is not supported; callers get UnsupportedKubeconfigError and go on.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from domain.kubeconfig import KubeconfigError, access
from domain.names import FIELD_MANAGER

TIMEOUT_SECONDS: Final = 30.0
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""An answer without spec and status: a schema of a resource kind can have a hundred kilobytes."""


class UnsupportedKubeconfigError(Exception):
    """The kubeconfig logs in by a means that this client does not speak."""


class KubernetesError(Exception):
    """The API server refused a request, or can't be reached: then ``status`` is None."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class _Connection(http.client.HTTPSConnection):
    """HTTPS whose certificate may be for another name than the address (``tls-server-name`` of a kubeconfig)."""

    def __init__(self, host: str, port: int, *, context: ssl.SSLContext, server_name: str) -> None:
        super().__init__(host, port, timeout=TIMEOUT_SECONDS)
        self._tls = context
        self._server_name = server_name

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._server_name)


class KubernetesClient:
    """Requests to the API server of one context of a kubeconfig (its current context if none is given)."""

    def __init__(self, kubeconfig: str, context: str | None = None) -> None:
        try:
            found = access(kubeconfig, context)
            self._host, self._port = found.address
        except KubeconfigError as error:
            raise UnsupportedKubeconfigError(str(error)) from None
        cluster, user = found.cluster, found.user
        if "certificate-authority-data" not in cluster:
            raise UnsupportedKubeconfigError("the cluster has no certificate-authority-data")
        self._headers = {"Accept": "application/json"}
        if "token" in user:
            self._headers["Authorization"] = f"Bearer {user['token']}"
        elif "client-certificate-data" not in user:
            raise UnsupportedKubeconfigError("the user has neither client-certificate-data nor token")
        self._context = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
        )
        if "client-certificate-data" in user:
            _load_client_certificate(self._context, user)
        self._server_name = cluster.get("tls-server-name") or self._host

    def get(self, path: str, *, accept: str | None = None) -> dict[str, Any] | None:
        """One object, None when there is none. Raises KubernetesError."""
        try:
            return self.request("GET", path, accept=accept)
        except KubernetesError as error:
            if error.status == 404:
                return None
            raise

    def apply(self, path: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Server-side apply: what the manifest says is so, whoever said otherwise before. Raises KubernetesError."""
        query = f"fieldManager={FIELD_MANAGER}&force=true"
        return self.request("PATCH", f"{path}?{query}", body=manifest, content_type="application/apply-patch+yaml")

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        accept: str | None = None,
    ) -> dict[str, Any]:
        """One request. Raises KubernetesError for a refusal and when the server can't be reached."""
        headers = self._headers | ({"Accept": accept} if accept else {})
        if body is not None:
            headers["Content-Type"] = content_type
        answer: dict[str, Any] = json.loads(self._ask(method, path, headers, body))
        return answer

    def text(self, path: str) -> str:
        """What is no JSON: a log. Raises as :meth:`request` does."""
        return self._ask("GET", path, self._headers, None).decode("utf-8", "replace")

    def _ask(self, method: str, path: str, headers: Mapping[str, str], body: Mapping[str, Any] | None) -> bytes:
        connection = _Connection(self._host, self._port, context=self._context, server_name=self._server_name)
        where = f"Kubernetes API at {self._host}:{self._port}: {method} {path}"
        try:
            with contextlib.closing(connection):
                connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
                response = connection.getresponse()
                text = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise KubernetesError(f"{where}: {error or type(error).__name__}") from None
        if response.status >= 400:
            raise KubernetesError(f"{where}: {response.status} {_said(text) or response.reason}", response.status)
        return text


def _said(text: bytes) -> str:
    """The message of a Status object, "" for anything else that answers."""
    try:
        answer = json.loads(text)
    except ValueError:
        return ""
    return str(answer.get("message") or "") if isinstance(answer, dict) else ""


def _load_client_certificate(context: ssl.SSLContext, user: Mapping[str, Any]) -> None:
    """OpenSSL's bindings read a key from a file only: an unreadable one for others, gone before this returns."""
    handle, path = tempfile.mkstemp(prefix="isthmus-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(base64.b64decode(user["client-certificate-data"]))
            file.write(b"\n")
            file.write(base64.b64decode(user["client-key-data"]))
        context.load_cert_chain(path)
    finally:
        Path(path).unlink()
