"""Who is asked for `lab status`: the clusters' APIs by one `kubectl` each, the machines by one script, NetBird's API.

What does not answer is None or empty; nothing is changed anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from domain.corefile import CUSTOM_CONFIG_MAP
from domain.names import RELAY_PORT
from lab import machines, netbird_server
from lab.errors import LabError
from lab.kubernetes import Cluster
from lab.netbird_api import NetBirdApiError
from lab.status import reading
from lab.status.facts import NetBirdFacts
from lab.status.findings import ROUTE_TABLE

AGENT: Final = tuple(Path(__file__).with_name(f"{name}.py") for name in ("node_kernel", "node_filter", "node_agent"))
"""The parts of the script, in the order in which they are sent."""
SPARE_SECONDS: Final = 5.0
"""A machine's answer may take this much longer than the longest question to it: Python has to start on a busy core."""
API_SECONDS: Final = 4.0

Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Objects:
    """What a cluster's API has; nothing when it does not answer."""

    reachable: bool
    nodes: tuple[Json, ...] = ()
    pods: tuple[Json, ...] = ()
    policies: frozenset[str] | None = None
    zones: frozenset[str] | None = None
    servers: Mapping[str, bool] = field(default_factory=dict)
    """Of several servers each one's address, and whether it takes a connection; asked of the machines, not the API."""


@dataclass(frozen=True, kw_only=True)
class MachineAnswer:
    """What a machine has said; empty when it said nothing."""

    pods: Sequence[Json] = ()
    wt0: str = ""
    cilium_host: str = ""
    node: Json | None = None
    probes: Mapping[str, Json] = field(default_factory=dict)
    egress: Sequence[Json] | None = None


def objects(cluster: Cluster) -> Objects:
    """Nodes, pods, the egress policies' destinations and the zones of a cluster, by one call."""
    kinds = ["nodes", "pods", "configmaps"]
    found, said = _get(cluster, [*kinds, "ciliumegressgatewaypolicies"])
    policies_known = found is not None
    if "doesn't have a resource type" in said:
        # Without Cilium there is no such kind, and kubectl then gives nothing at all.
        found, said = _get(cluster, kinds)
    servers = cluster.answering()
    if found is None:
        return Objects(reachable=False, servers=servers)
    by_kind: dict[str, list[Json]] = {}
    for item in found:
        by_kind.setdefault(str(item["kind"]), []).append(item)
    custom = [
        config_map for config_map in by_kind.get("ConfigMap", []) if config_map["metadata"]["name"] == CUSTOM_CONFIG_MAP
    ]
    return Objects(
        reachable=True,
        nodes=tuple(by_kind.get("Node", [])),
        pods=tuple(by_kind.get("Pod", [])),
        policies=reading.destinations(by_kind.get("CiliumEgressGatewayPolicy", [])) if policies_known else None,
        zones=frozenset(key.removesuffix(".server") for config_map in custom for key in config_map.get("data") or ()),
        servers=servers,
    )


def _get(cluster: Cluster, kinds: Sequence[str]) -> tuple[list[Json] | None, str]:
    """The objects, or None and what kubectl said."""
    try:
        done = cluster.kubectl(
            *("get", ",".join(kinds), "--all-namespaces", "--output=json", f"--request-timeout={API_SECONDS:g}s"),
            check=False,
            deadline_seconds=API_SECONDS + 2,
        )
        if done.returncode != 0:
            return None, done.stderr
        items: list[Json] = json.loads(done.stdout)["items"]
    except (LabError, ValueError) as error:
        return None, str(error)
    return items, ""


def script() -> str:
    """What runs on a machine: all parts in one text, without what they import from each other."""
    lines = "\n".join(part.read_text(encoding="utf-8") for part in AGENT).splitlines()
    return "\n".join(line for line in lines if not line.startswith("from lab."))


def machine(name: str, request: Mapping[str, Any], *, seconds: float) -> MachineAnswer:
    """Asks the script on a machine; ``seconds`` is the longest question's deadline."""
    text = json.dumps({**request, "relay_port": RELAY_PORT, "route_table": ROUTE_TABLE})
    command = ["python3", "-S", "-E", "-c", script()]
    try:
        done = machines.exec(name, command, text=text, deadline_seconds=seconds + SPARE_SECONDS)
        answer = json.loads(done.stdout)
    except (LabError, OSError, ValueError):
        return MachineAnswer()
    own = answer.get("own") or {}
    return MachineAnswer(
        pods=answer.get("pods") or (),
        wt0=own.get("wt0", ""),
        cilium_host=own.get("cilium_host", ""),
        node=answer.get("node"),
        probes=answer.get("probes") or {},
        egress=answer.get("egress"),
    )


def netbird() -> NetBirdFacts:
    """Policies and networks of NetBird's management."""
    try:
        api = netbird_server.api()
        networks = [
            (api.list(f"networks/{network['id']}/resources"), api.list(f"networks/{network['id']}/routers"))
            for network in api.list("networks")
        ]
        return reading.netbird(policies=api.list("policies"), groups=api.list("groups"), networks=networks)
    except (LabError, NetBirdApiError, OSError):
        return NetBirdFacts(answers=False)
