"""Just enough of a Kubernetes client to look at objects, delete and apply them beside the engine (see helm_records.py).

It takes what k3s writes into a kubeconfig: certificate authority, client certificate or token, ``tls-server-name``. A
kubeconfig that runs a program to log in (``exec``) is not supported; callers get UnsupportedKubeconfigError and go on.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from components.http_client import NOT_FOUND, HttpClient, NoAnswer, RequestError
from domain.kubeconfig import KubeconfigError, access
from domain.names import FIELD_MANAGER

TIMEOUT_SECONDS: Final = 30.0
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""An answer without spec and status: a schema of a resource kind can have a hundred kilobytes."""


class UnsupportedKubeconfigError(Exception):
    """The kubeconfig logs in by a means that this client does not speak."""


class KubernetesError(RequestError):
    """The API server refused a request, or can't be reached. Nothing is tried again here: who waits looks anew.

    ``causes`` are reason and message of each cause in its answer.
    """

    def __init__(self, message: str, status: int | None = None, causes: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message, status)
        self.causes = tuple(causes)


class _Connection(http.client.HTTPSConnection):
    """HTTPS whose certificate may be for another name than the address (``tls-server-name`` of a kubeconfig)."""

    def __init__(self, host: str, *, timeout: float, context: ssl.SSLContext, server_name: str) -> None:
        super().__init__(host, timeout=timeout)
        self._tls = context
        self._server_name = server_name

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._server_name)


class _ByName(urllib.request.HTTPSHandler):
    """Opens such connections."""

    def __init__(self, context: ssl.SSLContext, server_name: str) -> None:
        super().__init__(context=context)
        self._tls = context
        self._server_name = server_name

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """As of :class:`urllib.request.HTTPSHandler`."""

        def connection(host: str, /, *, timeout: float = TIMEOUT_SECONDS, **_: object) -> _Connection:
            return _Connection(host, timeout=timeout, context=self._tls, server_name=self._server_name)

        return self.do_open(connection, req)


class KubernetesClient:
    """Requests to the API server of one context of a kubeconfig (its current context if none is given)."""

    def __init__(self, kubeconfig: str, context: str | None = None) -> None:
        try:
            found = access(kubeconfig, context)
            host, port = found.address
        except KubeconfigError as error:
            raise UnsupportedKubeconfigError(str(error)) from None
        cluster, user = found.cluster, found.user
        if "certificate-authority-data" not in cluster:
            raise UnsupportedKubeconfigError("the cluster has no certificate-authority-data")
        headers = {"Accept": "application/json"}
        if "token" in user:
            headers["Authorization"] = f"Bearer {user['token']}"
        elif "client-certificate-data" not in user:
            raise UnsupportedKubeconfigError("the user has neither client-certificate-data nor token")
        tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        if "client-certificate-data" in user:
            _load_client_certificate(tls, user)
        self._where = f"Kubernetes API at {host}:{port}"
        self._http = HttpClient(
            f"https://{f'[{host}]' if ':' in host else host}:{port}",
            headers,
            timeout_seconds=TIMEOUT_SECONDS,
            # By no proxy: a cluster's API is reached as the addresses in the kubeconfig say.
            handlers=(urllib.request.ProxyHandler({}), _ByName(tls, cluster.get("tls-server-name") or host)),
        )

    def get(self, path: str, *, accept: str | None = None) -> dict[str, Any] | None:
        """One object, None when there is none. Raises KubernetesError."""
        try:
            return self.request("GET", path, accept=accept)
        except KubernetesError as error:
            if error.status == NOT_FOUND:
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
        headers = {"Accept": accept} if accept else {}
        answer: dict[str, Any] = json.loads(self._ask(method, path, headers, body, content_type))
        return answer

    def text(self, path: str) -> str:
        """What is no JSON: a log. Raises as :meth:`request` does."""
        return self._ask("GET", path).decode("utf-8", "replace")

    def _ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> bytes:
        where = f"{self._where}: {method} {path}"
        try:
            answer = self._http.ask(method, path, body, content_type=content_type, headers=headers)
        except NoAnswer as reason:
            raise KubernetesError(f"{where}: {reason}") from None
        if answer.refused:
            said = _status(answer.body)
            text = str(said.get("message") or "") or answer.reason
            raise KubernetesError(f"{where}: {answer.status} {text}", answer.status, _causes(said))
        return answer.body


def _status(text: bytes) -> Mapping[str, Any]:
    """The Status object of a refusal, empty for anything else that answers."""
    try:
        answer = json.loads(text)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _causes(status: Mapping[str, Any]) -> list[tuple[str, str]]:
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    return [
        (str(cause.get("reason") or ""), str(cause.get("message") or ""))
        for cause in causes or []
        if isinstance(cause, dict)
    ]


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
