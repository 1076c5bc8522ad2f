"""Whether a cluster that somebody else runs can take Cilium and the link, by what its API says.

It owns the rules for the cluster before the first `up`: afterwards Cilium is the program's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any, Final

from domain.places.on_premise.model import Machine
from domain.problems import Problem, shown

NETWORKS: Final = {
    "kube-flannel-ds": "flannel",
    "calico-node": "Calico",
    "canal": "Canal",
    "weave-net": "Weave Net",
    "kindnet": "kindnet",
    "kube-router": "kube-router",
    "antrea-agent": "Antrea",
    "ovnkube-node": "OVN-Kubernetes",
}
"""DaemonSets of other networks of pods, by name, with whose they are."""
FLANNEL: Final = "flannel.alpha.coreos.com/backend-type"
"""The annotation that flannel leaves on a Node; in k3s it is the only trace, since flannel runs within k3s itself."""
WITHOUT: Final = "take a cluster without one, or take it out first"
WITHOUT_FLANNEL: Final = (
    "take it out first (k3s: --flannel-backend=none --disable-network-policy); where it is gone, its mark stays on the "
    f"Nodes: `kubectl annotate nodes --all {FLANNEL}-`"
)
PLACES_SHOWN: Final = 5


@dataclass(frozen=True)
class GivenCluster:
    """``nodes`` and ``daemon_sets`` are lists of objects as the API gives them."""

    nodes: Sequence[Mapping[str, Any]]
    daemon_sets: Sequence[Mapping[str, Any]]

    @property
    def names(self) -> list[str]:
        """Of the Nodes."""
        return [node["metadata"]["name"] for node in self.nodes]


def given_cluster_problems(
    stack: str, found: GivenCluster, machines: Sequence[Machine], pod_cidr: IPv4Network
) -> list[Problem]:
    """Everything that keeps the cluster from becoming one of the fleet."""
    return [
        *_machines_are_nodes(stack, found, machines),
        *_pods_are_where_the_settings_say(stack, found, pod_cidr),
        *_no_other_network(stack, found),
    ]


def given_cluster_remarks(stack: str, found: GivenCluster) -> list[str]:
    """What a person should know and nothing fails by."""
    if not any(daemon_set["metadata"]["name"] == "kube-proxy" for daemon_set in found.daemon_sets):
        return []
    return [
        (
            f"{stack}: kube-proxy runs in the cluster as well, and Cilium serves the services now; it may go: "
            "`kubectl -n kube-system delete daemonset kube-proxy`, and its rules with the next reboot of each node"
        )
    ]


def _machines_are_nodes(stack: str, found: GivenCluster, machines: Sequence[Machine]) -> list[Problem]:
    names = found.names
    there = ", ".join([shown(name) for name in names[:PLACES_SHOWN]] + ["..."] * (len(names) > PLACES_SHOWN)) or "none"
    return [
        Problem(
            stack,
            f"on_premise.machines.{index}.name",
            machine.name,
            "has no Node of its name in the cluster",
            f"take one of these: {there}",
        )
        for index, machine in enumerate(machines)
        if machine.name not in names
    ]


def _pods_are_where_the_settings_say(stack: str, found: GivenCluster, pod_cidr: IPv4Network) -> list[Problem]:
    """Cilium gives pods addresses of Node.spec.podCIDR (ipam.mode kubernetes), and peers route to network.pod_cidr."""
    outside = []
    for node in found.nodes:
        cidr = _network(str(node.get("spec", {}).get("podCIDR") or ""))
        if cidr is not None and not cidr.subnet_of(pod_cidr):
            outside.append(f"{shown(node['metadata']['name'])} has {cidr}")
    if not outside:
        return []
    some = ", ".join(outside[:PLACES_SHOWN]) + (", ..." if len(outside) > PLACES_SHOWN else "")
    rule = f"is not where the pods of this cluster are: {some}; peers would route to addresses of nobody"
    fix = "write the range that the cluster was made with (--cluster-cidr of k3s, --pod-network-cidr of kubeadm)"
    return [Problem(stack, "network.pod_cidr", str(pod_cidr), rule, fix)]


def _network(text: str) -> IPv4Network | None:
    try:
        return IPv4Network(text)
    except ValueError:
        return None


def _no_other_network(stack: str, found: GivenCluster) -> list[Problem]:
    names = {daemon_set["metadata"]["name"] for daemon_set in found.daemon_sets}
    networks = {whose for name, whose in NETWORKS.items() if name in names}
    if any(FLANNEL in (node["metadata"].get("annotations") or {}) for node in found.nodes):
        networks.add("flannel")
    return [
        Problem(
            stack,
            "on_premise.kubeconfig",
            "",
            f"leads to a cluster with {whose} as its network of pods, and Cilium can't stand beside it",
            WITHOUT_FLANNEL if whose == "flannel" else WITHOUT,
        )
        for whose in sorted(networks)
    ]
