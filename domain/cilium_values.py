"""Values for Cilium's chart: ours, on which the link stands, merged with the user's. Owns both lists and their
reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from domain.names import K3S_LOCAL_API_PORT, NETBIRD_INTERFACE
from domain.plan import AddressPlan
from domain.settings import StackSettings

CHART: Final = "cilium"
REPOSITORY: Final = "https://helm.cilium.io/"
NAMESPACE: Final = "kube-system"


@dataclass(frozen=True)
class Clash:
    """A value that the user may not set: its path with dots, what he set, what it must be (None: left out), and why."""

    path: str
    value: Any
    needed: Any
    reason: str


def defaults() -> dict[str, Any]:
    """Ours where the chart's default is not wanted, but where the user may decide otherwise."""
    return {
        "operator": {"replicas": 1},  # the chart's second one stays pending where there is one node
        "hubble": {"enabled": False},
        "envoy": {"enabled": False},
        "l7Proxy": False,  # NetBird sets src_valid_mark on the router, and L7 policies fail there (netbird#4575)
        "rollOutCiliumPods": True,
        "k8sServiceHost": "127.0.0.1",
        "k8sServicePort": K3S_LOCAL_API_PORT,
    }


def required(mtu: int) -> dict[str, Any]:
    """Ours, on which the link stands; a user's value that differs is refused."""
    return {
        "kubeProxyReplacement": True,
        "ipam": {"mode": "kubernetes"},
        "k8s": {"requireIPv4PodCIDR": True},
        "routingMode": "tunnel",
        "tunnelProtocol": "vxlan",
        "bpf": {"masquerade": True},
        "egressGateway": {"enabled": True},
        "devices": f"{NETBIRD_INTERFACE[:-1]}+",
        "forceDeviceDetection": True,
        "MTU": mtu,
        "loadBalancer": {"acceleration": "disabled", "mode": "snat"},
    }


_REASONS: Final = {
    "kubeProxyReplacement": "k3s runs without kube-proxy, and the egress gateway needs it",
    "ipam.mode": "pods take their addresses from network.pod_cidr through k3s",
    "k8s.requireIPv4PodCIDR": "pods take their addresses from network.pod_cidr through k3s",
    "routingMode": "the MTU chain counts on the tunnel",
    "tunnelProtocol": "the MTU chain counts on VXLAN",
    "bpf.masquerade": "the egress gateway needs it",
    "egressGateway.enabled": "pods leave for the peer through it",
    "devices": "wt0 has to be a device of Cilium, else packets leave with the pod's own address",
    "forceDeviceDetection": "the nodes' own interfaces have to be found besides wt0",
    "MTU": "it is the setting cilium.mtu",
    "loadBalancer.acceleration": "wt0 takes no native XDP",
    "loadBalancer.mode": "DSR replies would not come back through the router",
}

_FORBIDDEN: Final[Mapping[str, tuple[Any, str]]] = {
    "ciliumEndpointSlice.enabled": (False, "the egress gateway doesn't start with it"),
    "clustermesh.useAPIServer": (False, "Cluster Mesh excludes the egress gateway"),
    "clustermesh.config.enabled": (False, "Cluster Mesh excludes the egress gateway"),
    "enableIPv4Masquerade": (True, "the egress gateway needs it"),
    "encryption.type": ("wireguard", "IPsec reads NetBird's packet marks as its own"),
    "identityAllocationMode": ("crd", "the egress gateway needs identities in Kubernetes"),
    "installNoConntrackIptablesRules": (False, "NetBird's masquerade needs connection tracking"),
    "ipv4.enabled": (True, "clusters and links are IPv4"),
    "ipv6.enabled": (False, "clusters and links are IPv4 only"),
    "socketLB.enabled": (True, "without it pods don't reach services"),
}
"""Values of the chart that we leave alone and that must not be changed to anything but the first of the pair."""

_NO_OBJECT: Final = "(not an object)"

_CLUSTER_ACCESS: Final = ("k8sServiceHost", "k8sServicePort")
"""On nodes that we set up, k3s's own load balancer; an existing cluster may have none, and its user knows better."""


def cilium_values(plan: AddressPlan, settings: StackSettings) -> dict[str, Any]:
    """All values for the chart: the user's over our defaults, and what the link needs over both."""
    return _merged(_merged(defaults(), settings.cilium.values), required(plan.mtu.cilium))


def clashes(user: Mapping[str, Any], mtu: int, *, installs_k3s: bool) -> list[Clash]:
    """The user's values that would break the link, in the order of their paths."""
    found: list[Clash] = []
    fixed = _leaves(required(mtu))
    reasons = dict(_REASONS)
    if installs_k3s:
        for name in _CLUSTER_ACCESS:
            fixed[name] = defaults()[name]
            reasons[name] = "k3s serves the API there on every node"
    for path, needed in fixed.items():
        given, value = _at(user, path)
        if given and not _same(value, needed):
            found.append(Clash(path, value, needed, reasons[path]))
    for path, (needed, reason) in _FORBIDDEN.items():
        given, value = _at(user, path)
        if given and not _same(value, needed):
            found.append(Clash(path, value, needed, reason))
    return sorted(found, key=lambda clash: clash.path)


def fixed_values() -> list[Clash]:
    """Every value that must not be changed, by its path, with what it must be and why; for the reference."""
    needed = {path: (value, _REASONS[path]) for path, value in _leaves(required(0)).items()}
    needed["MTU"] = ("cilium.mtu", _REASONS["MTU"])
    needed |= _FORBIDDEN
    return [Clash(path, None, value, reason) for path, (value, reason) in sorted(needed.items())]


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for name, value in above.items():
        old = result.get(name)
        result[name] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def _leaves(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            leaves |= _leaves(value, f"{prefix}{name}.")
        else:
            leaves[f"{prefix}{name}"] = value
    return leaves


def _at(values: Mapping[str, Any], path: str) -> tuple[bool, Any]:
    """Whether the path is given, and its value; :data:`_NO_OBJECT` where something else stands in its way."""
    value: Any = values
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return True, _NO_OBJECT
        if name not in value:
            return False, None
        value = value[name]
    return True, value


def _same(value: Any, needed: Any) -> bool:
    """Equal and of one type: to the chart, true and 1 are different."""
    return type(value) is type(needed) and value == needed
