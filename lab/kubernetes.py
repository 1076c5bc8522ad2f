"""The clusters as a person at the workstation sees them: by `kubectl` and a kubeconfig with a context for each.

It owns that kubeconfig, which comes from the stacks' own outputs, so what works here works for the user as well.
"""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import yaml

from lab import private_files, project, topology
from lab.errors import CommandFailed
from lab.inside import call_inside
from lab.project import Tools
from lab.pulumi_command import Pulumi

DEADLINE_SECONDS = 20.0
CONNECT_SECONDS = 1.0
"""For a server to take a connection, before another one is asked: it is no further than the next room."""


def write_kubeconfig(pulumi: Pulumi, stacks: Sequence[str]) -> list[str]:
    """Writes the kubeconfig from the outputs of those stacks that have one, and returns their names."""
    found: dict[str, Mapping[str, Any]] = {}
    addresses: dict[str, Sequence[str]] = {}
    for stack in stacks:
        outputs = pulumi.outputs(stack, show_secrets=True)
        if text := outputs.get("kubeconfig"):
            found[stack] = yaml.safe_load(text) if isinstance(text, str) else text
            # Of servers at Hetzner the outputs say where they are, of others the stack file.
            addresses[stack] = outputs.get("api_addresses") or project.server_addresses(stack)
    private_files.write_secret(project.kubeconfig_file(), yaml.safe_dump(merged(found, addresses), sort_keys=False))
    return list(found)


def merged(
    kubeconfigs: Mapping[str, Mapping[str, Any]], addresses: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    """One kubeconfig of several; each one's current context becomes a context with the key's name.

    Of a cluster with several servers, of which ``addresses`` has those where they are reached, each has a context as
    well, ``NAME@ADDRESS``: `kubectl` knows one server a context, and that one may be away.
    """
    result: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "clusters": [],
        "users": [],
        "contexts": [],
        "current-context": next(iter(kubeconfigs), ""),
    }
    for name, kubeconfig in kubeconfigs.items():
        context = _named(kubeconfig["contexts"], kubeconfig["current-context"])["context"]
        cluster = _named(kubeconfig["clusters"], context["cluster"])["cluster"]
        user = _named(kubeconfig["users"], context["user"])["user"]
        result["clusters"].append({"name": name, "cluster": cluster})
        result["users"].append({"name": name, "user": user})
        result["contexts"].append({"name": name, "context": {"cluster": name, "user": name}})
        servers = (addresses or {}).get(name, ())
        for address in servers if len(servers) > 1 else ():
            entry = f"{name}@{address}"
            result["clusters"].append(
                {"name": entry, "cluster": {**cluster, "server": _at(cluster["server"], address)}}
            )
            result["contexts"].append({"name": entry, "context": {"cluster": entry, "user": name}})
    return result


def _at(url: str, address: str) -> str:
    return urlsplit(url)._replace(netloc=f"{address}:{urlsplit(url).port}").geturl()


def servers(kubeconfig: Mapping[str, Any], name: str) -> dict[str, tuple[str, int]]:
    """The contexts of a merged kubeconfig that lead to a cluster, its own first, and where to each: host and port."""
    found: dict[str, tuple[str, int]] = {}
    for entry in kubeconfig["clusters"]:
        if entry["name"] == name or entry["name"].startswith(f"{name}@"):
            url = urlsplit(entry["cluster"]["server"])
            found[entry["name"]] = (str(url.hostname), url.port or 443)
    return found


def _named(entries: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster by its context's name, which is the stack's."""

    name: str
    tools: Tools

    @property
    def context(self) -> str:
        """The context that leads to a server which takes a connection, of several the first one that does.

        It is the cluster's own, also where nobody takes any.
        """
        contexts = self._servers()
        if len(contexts) < 2:
            return self.name
        return next((context for context, (host, port) in contexts.items() if _answers(host, port)), self.name)

    def answering(self) -> dict[str, bool]:
        """The addresses of several servers, and whether each takes a connection; empty where there is one."""
        found = {host: port for context, (host, port) in self._servers().items() if context != self.name}
        return {host: _answers(host, port) for host, port in found.items()}

    def _servers(self) -> dict[str, tuple[str, int]]:
        try:
            return servers(yaml.safe_load(project.kubeconfig_file().read_text(encoding="utf-8")), self.name)
        except FileNotFoundError:
            return {}

    def command(self, *arguments: str) -> list[str]:
        """The whole command line of a `kubectl` call, to a server that lives."""
        return self._command(self.context, *arguments)

    def _command(self, context: str, *arguments: str) -> list[str]:
        return project.at_workstation([str(self.tools.kubectl), f"--context={context}", *arguments])

    def kubectl(
        self, *arguments: str, stdin: str = "", check: bool = True, deadline_seconds: float = DEADLINE_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Runs `kubectl` to its end; :class:`~lab.errors.CommandFailed` when it fails or does not end in time."""
        context = self.context
        shown = f"`kubectl --context={context} {shlex.join(arguments)}`"
        try:
            done = subprocess.run(
                self._command(context, *arguments),
                env=project.environment(self.tools),
                input=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=deadline_seconds,
            )
        except subprocess.TimeoutExpired:
            raise CommandFailed(f"{shown} did not end in {deadline_seconds:g} s") from None
        if check and done.returncode != 0:
            raise CommandFailed(f"{shown} ended with code {done.returncode}: {done.stderr.strip()[-1000:]}")
        return done

    def reachable(self) -> bool:
        """Whether the API server says that it is ready."""
        try:
            return self.kubectl("get", "--raw=/readyz", "--request-timeout=5s", check=False).returncode == 0
        except CommandFailed:
            return False

    def get(self, kind: str, *, namespace: str | None = None, selector: str | None = None) -> list[dict[str, Any]]:
        """All objects of a kind, in a namespace or in none or all of them (``namespace="*"``)."""
        arguments = ["get", kind, "--output=json"]
        if namespace == "*":
            arguments.append("--all-namespaces")
        elif namespace is not None:
            arguments.append(f"--namespace={namespace}")
        if selector is not None:
            arguments.append(f"--selector={selector}")
        items: list[dict[str, Any]] = json.loads(self.kubectl(*arguments).stdout)["items"]
        return items

    def apply(self, manifests: Sequence[Mapping[str, Any]]) -> None:
        """Applies objects on the server's side."""
        document = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
        self.kubectl(
            "apply", "--server-side", "--force-conflicts", "--filename=-", stdin=document, deadline_seconds=60.0
        )

    def execute(
        self,
        namespace: str,
        pod: str,
        container: str,
        command: Sequence[str],
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> str:
        """Runs a command in a container and returns what it wrote."""
        return self.kubectl(
            "exec",
            f"--namespace={namespace}",
            pod,
            f"--container={container}",
            "--",
            *command,
            deadline_seconds=deadline_seconds,
        ).stdout


def _answers(host: str, port: int) -> bool:
    """Whether somebody takes a connection from the workstation there."""

    def connect() -> None:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()

    try:
        call_inside(topology.WORKSTATION_NAMESPACE, connect)
    except OSError:
        return False
    return True


def is_ready(found: Mapping[str, Any]) -> bool:
    """Whether a Node or Pod has the condition Ready."""
    conditions = found.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def internal_ip(node: Mapping[str, Any]) -> str:
    """A Node's InternalIP, empty without one."""
    addresses = node.get("status", {}).get("addresses", [])
    return next((str(address["address"]) for address in addresses if address["type"] == "InternalIP"), "")
