"""The few calls that a keeper makes to Kubernetes' API, with the rights of its service account. They block: the process
makes them in a thread.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import ssl
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from keeper.decision import NamePolicy
from keeper.seen import PolicySeen

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PATIENCE_SECONDS: Final = 2.0
POLICIES: Final = "/apis/cilium.io/v2/ciliumegressgatewaypolicies"
NODES: Final = "/api/v1/nodes"
HOSTNAME: Final = "kubernetes.io/hostname"
MANAGER: Final = "isthmus-keeper"
STAMP: Final = "isthmus.dev/keeper"
"""Annotation of a policy: which interface of which node it was last looked at for."""
NETBIRD_NAMESPACE: Final = "netbird"
AGENT_PREFIX: Final = "networkrouter-"
"""Of the names of the agents' pods, which the operator makes."""
EVENT_NAMESPACE: Final = "default"
"""Where events about things without a namespace have to be, as those about nodes."""


class ApiProblem(Exception):
    """The API has refused, or does not answer."""


class Conflict(ApiProblem):
    """What was to be changed has been changed by somebody else meanwhile."""


class Missing(ApiProblem):
    """There is no such object."""


class Api:
    """One connection, which is made anew when it fails. One call at a time."""

    def __init__(self, host: str, port: int, account: Path = ACCOUNT) -> None:
        self._host, self._port, self._account = host, port, account
        self._lock = threading.Lock()
        self._connection: http.client.HTTPSConnection | None = None

    def hostnames(self, nodes: Iterable[str]) -> dict[str, str]:
        """The label by which a policy names a node, of those that are there: it need not be the Node's name."""
        found = {}
        for node in nodes:
            with contextlib.suppress(Missing):
                labels = self._call("GET", f"{NODES}/{node}")["metadata"].get("labels") or {}
                found[node] = str(labels.get(HOSTNAME, node))
        return found

    def policies(self, wanted: Mapping[str, str], hostnames: Mapping[str, str]) -> dict[str, PolicySeen]:
        """``wanted`` is {peer: name of its policy}, ``hostnames`` what the method of this name gives; the result is
        {peer: policy} of those that are there.
        """
        listed = self._call("GET", POLICIES)
        found = {item["metadata"]["name"]: item for item in listed["items"]}
        return {peer: policy_seen(found[name], hostnames) for peer, name in wanted.items() if name in found}

    def name_policy(self, name: str, action: NamePolicy, hostnames: Mapping[str, str]) -> PolicySeen:
        """Changes the policy if it is still the version that was seen; Conflict if it is not."""
        path = f"{POLICIES}/{name}?fieldManager={MANAGER}"
        changed = self._call("PATCH", path, policy_patch(action, hostnames), "application/merge-patch+json")
        return policy_seen(changed, hostnames)

    def restart_agent(self, node: str) -> list[str]:
        """Deletes NetBird's pods on the node at once; the names of those. Its Deployment makes another there."""
        path = f"/api/v1/namespaces/{NETBIRD_NAMESPACE}/pods"
        listed = self._call("GET", f"{path}?fieldSelector=spec.nodeName%3D{node}")
        names = [item["metadata"]["name"] for item in listed["items"]]
        names = [name for name in names if name.startswith(AGENT_PREFIX)]
        for name in names:
            # A second: it is broken, so there is nothing to say goodbye to.
            self._call("DELETE", f"{path}/{name}", {"gracePeriodSeconds": 1})
        return names

    def event(self, node: str, reason: str, message: str, *, warning: bool = False) -> None:
        """An Event about the node, as ``kubectl describe node`` shows it."""
        self._call(
            "POST", f"/api/v1/namespaces/{EVENT_NAMESPACE}/events", event(node, reason, message, warning=warning)
        )

    def _call(self, method: str, path: str, body: object = None, kind: str = "application/json") -> Any:
        headers = {"Accept": "application/json", "Authorization": f"Bearer {self._token()}", "User-Agent": MANAGER}
        content = None
        if body is not None:
            content, headers["Content-Type"] = json.dumps(body).encode(), kind
        with self._lock:
            try:
                return self._answer(method, path, content, headers)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                raise ApiProblem(f"{method} {path}: {type(error).__name__}: {error}") from error

    def _answer(self, method: str, path: str, content: bytes | None, headers: dict[str, str]) -> Any:
        # A connection that has been idle may be closed from the other side; then one more try by a new one.
        for fresh in (self._connection is None, True):
            if self._connection is None:
                context = ssl.create_default_context(cafile=str(self._account / "ca.crt"))
                self._connection = http.client.HTTPSConnection(
                    self._host, self._port, timeout=PATIENCE_SECONDS, context=context
                )
            try:
                self._connection.request(method, path, content, headers)
                answer = self._connection.getresponse()
                text = answer.read()
            except TimeoutError:
                raise
            except (OSError, http.client.HTTPException):
                self.close()
                if fresh:
                    raise
                continue
            if answer.status >= 300:
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    text = str(json.loads(text)["message"]).encode()
                problem = f"{method} {path}: {answer.status} {text.decode(errors='replace')[:300]}"
                raise _PROBLEMS.get(answer.status, ApiProblem)(problem)
            return json.loads(text)
        raise AssertionError("unreachable")

    def _token(self) -> str:
        # Read each time: the kubelet replaces it.
        try:
            return (self._account / "token").read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ApiProblem(f"the service account's token: {error}") from error

    def close(self) -> None:
        """Ends the connection; the next call makes another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


_PROBLEMS: Final[Mapping[int, type[ApiProblem]]] = {404: Missing, 409: Conflict}


def api_of_environment() -> Api | None:
    """The API as every pod is told of it, None outside a cluster."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    return Api(host, int(port)) if host and port else None


def policy_seen(item: Mapping[str, Any], hostnames: Mapping[str, str]) -> PolicySeen:
    """What matters of a CiliumEgressGatewayPolicy."""
    selector = item["spec"].get("egressGateway", {}).get("nodeSelector", {}).get("matchLabels", {})
    metadata = item["metadata"]
    called = {hostname: node for node, hostname in hostnames.items()}
    named = selector.get(HOSTNAME)
    return PolicySeen(
        called.get(named, named), metadata["resourceVersion"], (metadata.get("annotations") or {}).get(STAMP, "")
    )


def policy_patch(action: NamePolicy, hostnames: Mapping[str, str]) -> dict[str, Any]:
    """A merge patch. The version in it is the condition: the API answers 409 when it is another."""
    patch: dict[str, Any] = {"metadata": {"resourceVersion": action.version, "annotations": {STAMP: action.stamp}}}
    if action.node is not None:
        patch["spec"] = {
            "egressGateway": {"nodeSelector": {"matchLabels": {HOSTNAME: hostnames.get(action.node, action.node)}}}
        }
    return patch


def event(node: str, reason: str, message: str, *, warning: bool) -> dict[str, Any]:
    """An Event of core/v1."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{MANAGER}-", "namespace": EVENT_NAMESPACE},
        "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": node, "uid": node},
        "reason": reason,
        "message": message[:1000],
        "type": "Warning" if warning else "Normal",
        "source": {"component": MANAGER, "host": node},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
