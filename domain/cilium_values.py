"""Values for Cilium's chart: ours, on which the link stands, merged with the user's. Owns both lists and their
reasons.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from domain.merging import merged
from domain.names import K3S_LOCAL_API_PORT, VXLAN_PORT
from domain.overlay import NETBIRD_INTERFACE
from domain.places.registry import StackSettings
from domain.plan import AddressPlan

CHART: Final = "cilium"
REPOSITORY: Final = "https://helm.cilium.io/"
NAMESPACE: Final = "kube-system"


@dataclass(frozen=True)
class Clash:
    """A value that the user may not set: its path with dots, what is set, what it must be, and why. ``overrides`` is
    the path of the value that it would change past the chart, and which must be so; empty where it is that value.
    """

    path: str
    value: Any
    needed: Any
    reason: str
    overrides: str = ""


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
        # An egress policy that moves to another router is followed within this; the chart's second is what a fail-over
        # would cost at least.
        "egressGateway": {"reconciliationTriggerInterval": "100ms"},
    }


def required(mtu: int, *, cluster_ips: bool = True) -> dict[str, Any]:
    """Ours, on which the link stands; a user's value that differs is refused. ``cluster_ips``: peers reach services."""
    bpf = {"lbExternalClusterIP": True} if cluster_ips else {}
    services = {"enableNoServiceEndpointsRoutable": False} if cluster_ips else {}
    return {
        **services,
        "kubeProxyReplacement": True,
        "ipam": {"mode": "kubernetes"},
        "k8s": {"requireIPv4PodCIDR": True},
        "routingMode": "tunnel",
        "tunnelProtocol": "vxlan",
        "bpf": {"masquerade": True, **bpf},
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
    "bpf.lbExternalClusterIP": "peers reach services by it, and its setting is link.cluster_ips",
    "enableNoServiceEndpointsRoutable": (
        "the answer that Cilium makes for a service without endpoints has an Ethernet header, and is none on wt0; with "
        "this the guard answers"
    ),
    "egressGateway.enabled": "pods leave for the peer through it",
    "devices": "wt0 has to be a device of Cilium, else packets leave with the pod's own address",
    "forceDeviceDetection": "the nodes' own interfaces have to be found besides wt0",
    "MTU": "it is the setting cilium.mtu",
    "loadBalancer.acceleration": "wt0 takes no native XDP",
    "loadBalancer.mode": "DSR replies would not come back through the router",
}

_FORBIDDEN: Final[Mapping[str, tuple[Any, str]]] = {
    "agent": (True, "it is the network of the pods"),
    "autoDirectNodeRoutes": (False, "the agent doesn't start with it beside a tunnel"),
    "ciliumEndpointSlice.enabled": (False, "the egress gateway doesn't start with it"),
    "clustermesh.useAPIServer": (False, "Cluster Mesh excludes the egress gateway"),
    "clustermesh.config.enabled": (False, "Cluster Mesh excludes the egress gateway"),
    "cni.chainingMode": ("none", "Cilium is the only network of the pods"),
    "cni.chainingTarget": (None, "Cilium is the only network of the pods"),
    "cni.install": (True, "it is how the nodes find Cilium"),
    "enableIPv4Masquerade": (True, "the egress gateway needs it"),
    "encryption.enabled": (
        False,
        (
            "WireGuard takes 80 bytes of a packet, which the MTU chain doesn't count, and IPsec reads NetBird's packet "
            "marks as its own; the link itself is encrypted by NetBird"
        ),
    ),
    "eni.enabled": (False, "pods take their addresses from network.pod_cidr through k3s"),
    "identityAllocationMode": ("crd", "the egress gateway needs identities in Kubernetes"),
    "installNoConntrackIptablesRules": (False, "NetBird's masquerade needs connection tracking"),
    "ipMasqAgent.enabled": (
        False,
        "private addresses would see the pods' own, which nothing outside of the cluster can answer",
    ),
    "ipv4.enabled": (True, "clusters and links are IPv4"),
    "ipv6.enabled": (False, "clusters and links are IPv4 only"),
    "operator.enabled": (True, "it makes the kinds of resources that the agents and the link wait for"),
    "policyEnforcementMode": (
        "default",
        "with always, pods that no policy names reach nobody, and with never, pods could read the servers' user data",
    ),
    "socketLB.enabled": (True, "without it pods don't reach services"),
    "tunnelPort": (VXLAN_PORT, "it is the setting cilium.tunnel_port"),
}
"""Values of the chart that we leave alone and that must not be changed to anything but the first of the pair."""

_AGENT_SETTINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "kubeProxyReplacement": ("kube-proxy-replacement",),
    "ipam.mode": ("ipam",),
    "k8s.requireIPv4PodCIDR": ("k8s-require-ipv4-pod-cidr",),
    "routingMode": ("routing-mode",),
    "tunnelProtocol": ("tunnel-protocol",),
    "bpf.masquerade": ("enable-bpf-masquerade",),
    "bpf.lbExternalClusterIP": ("bpf-lb-external-clusterip",),
    "enableNoServiceEndpointsRoutable": ("enable-no-service-endpoints-routable",),
    "egressGateway.enabled": ("enable-egress-gateway", "enable-ipv4-egress-gateway"),
    "devices": ("devices",),
    "forceDeviceDetection": ("force-device-detection",),
    "MTU": ("mtu",),
    "loadBalancer.acceleration": ("bpf-lb-acceleration",),
    "loadBalancer.mode": ("bpf-lb-mode",),
    "autoDirectNodeRoutes": ("auto-direct-node-routes",),
    "ciliumEndpointSlice.enabled": ("enable-cilium-endpoint-slice",),
    "clustermesh.config.enabled": ("clustermesh-config",),
    "cni.chainingMode": ("cni-chaining-mode",),
    "cni.chainingTarget": ("cni-chaining-target",),
    "enableIPv4Masquerade": ("enable-ipv4-masquerade",),
    "encryption.enabled": ("enable-wireguard", "enable-ipsec"),
    "identityAllocationMode": ("identity-allocation-mode",),
    "installNoConntrackIptablesRules": ("install-no-conntrack-iptables-rules",),
    "ipMasqAgent.enabled": ("enable-ip-masq-agent",),
    "ipv4.enabled": ("enable-ipv4",),
    "ipv6.enabled": ("enable-ipv6",),
    "policyEnforcementMode": ("enable-policy",),
    "socketLB.enabled": ("bpf-lb-sock",),
    "tunnelPort": ("tunnel-port",),
}
"""What the values above become in the agent's own configuration
(https://docs.cilium.io/en/stable/cmdref/cilium-agent/). The chart lets through whatever else is written there, and it
counts over the chart's."""
PAST_THE_CHART: Final = ("extraConfig", "extraArgs", "extraEnv", "operator.extraArgs", "operator.extraEnv")
"""Values of the chart that reach the agent's or the operator's own configuration as they are."""

NO_OBJECT: Final = "(not an object)"

_CLUSTER_ACCESS: Final = ("k8sServiceHost", "k8sServicePort")
"""On nodes that we set up, k3s's own load balancer; an existing cluster may have none, and its user knows better."""


def cilium_values(plan: AddressPlan, settings: StackSettings) -> dict[str, Any]:
    """All values for the chart: the user's over our defaults, and what the link needs over both."""
    ours = required(plan.mtu.cilium, cluster_ips=offers_cluster_ips(settings.link.cluster_ips, settings.peers))
    values = merged(merged(defaults(), settings.cilium.values), ours)
    # The text "false" is true to a template of Helm, so what is right by its spelling becomes the value itself.
    for path, (needed, _) in _forbidden(settings.cilium.tunnel_port).items():
        given, value = value_at(settings.cilium.values, path)
        if given and isinstance(value, str) and isinstance(needed, bool | int):
            below: Any = needed
            for name in reversed(path.split(".")):
                below = {name: below}
            values = merged(values, below)
    return values if settings.cilium.tunnel_port == VXLAN_PORT else values | {"tunnelPort": settings.cilium.tunnel_port}


def api_address(values: Mapping[str, Any]) -> tuple[str, int] | None:
    """Host and port where nodes reach the API past its service, as the chart's values say; None where they don't."""
    host, port = values.get("k8sServiceHost"), values.get("k8sServicePort")
    if not isinstance(host, str) or host in ("", "auto") or isinstance(port, bool) or not str(port).isdecimal():
        return None
    return host, int(str(port))


def _forbidden(tunnel_port: int) -> dict[str, tuple[Any, str]]:
    return dict(_FORBIDDEN) | {"tunnelPort": (tunnel_port, _FORBIDDEN["tunnelPort"][1])}


def offers_cluster_ips(setting: bool, peers: Collection[str]) -> bool:
    """Whether services are to be reached from outside: nobody is let in by default for whom there is no link."""
    return setting and bool(peers)


def clashes(
    user: Mapping[str, Any],
    mtu: int,
    *,
    installs_k3s: bool,
    tunnel_port: int = VXLAN_PORT,
    cluster_ips: bool = True,
) -> list[Clash]:
    """The user's values that would break the link, in the order of their paths."""
    found: list[Clash] = []
    fixed = _leaves(required(mtu, cluster_ips=cluster_ips))
    reasons = dict(_REASONS)
    if installs_k3s:
        for name in _CLUSTER_ACCESS:
            fixed[name] = defaults()[name]
            reasons[name] = "k3s serves the API there on every node"
    for path, needed in fixed.items():
        given, value = value_at(user, path)
        if given and not _same(value, needed):
            found.append(Clash(path, value, needed, reasons[path]))
    forbidden = _forbidden(tunnel_port)
    for path, (needed, reason) in forbidden.items():
        given, value = value_at(user, path)
        if given and not _same(value, needed):
            found.append(Clash(path, value, needed, reason))
    all_needed = {path: (needed, reasons[path]) for path, needed in fixed.items()} | forbidden
    owners = {name: path for path, names in _AGENT_SETTINGS.items() if path in all_needed for name in names}
    for path, name, value in past_the_chart(user):
        if (owner := owners.get(name)) is not None:
            found.append(Clash(path, value, *all_needed[owner], overrides=owner))
    return sorted(found, key=lambda clash: clash.path)


def past_the_chart(user: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Where the user writes into the agent's own configuration: path, name of the setting, what is written there."""
    for path in PAST_THE_CHART:
        _, value = value_at(user, path)
        if path == "extraConfig" and isinstance(value, Mapping):
            for name, given in value.items():
                yield f"{path}.{name}", str(name).lower(), given
        elif path.endswith("extraArgs") and isinstance(value, list | tuple):
            for index, argument in enumerate(value):
                yield f"{path}.{index}", re.split(r"[= ]", str(argument).lstrip("-"), maxsplit=1)[0], argument
        elif path.endswith("extraEnv") and isinstance(value, list | tuple):
            for index, variable in enumerate(value):
                name = str(variable.get("name", "")) if isinstance(variable, Mapping) else ""
                if name.startswith("CILIUM_"):
                    yield f"{path}.{index}", name.removeprefix("CILIUM_").lower().replace("_", "-"), name


def fixed_values() -> list[Clash]:
    """Every value that must not be changed, by its path, with what it must be and why; for the reference."""
    needed = {path: (value, _REASONS[path]) for path, value in _leaves(required(0)).items()}
    needed["MTU"] = ("cilium.mtu", _REASONS["MTU"])
    needed["bpf.lbExternalClusterIP"] = ("link.cluster_ips", _REASONS["bpf.lbExternalClusterIP"])
    needed |= _FORBIDDEN
    needed["tunnelPort"] = ("cilium.tunnel_port", _FORBIDDEN["tunnelPort"][1])
    return [Clash(path, None, value, reason) for path, (value, reason) in sorted(needed.items())]


def _leaves(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            leaves |= _leaves(value, f"{prefix}{name}.")
        else:
            leaves[f"{prefix}{name}"] = value
    return leaves


def value_at(values: Mapping[str, Any], path: str) -> tuple[bool, Any]:
    """Whether the path is given, and its value; :data:`NO_OBJECT` where something else stands in its way."""
    value: Any = values
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return True, NO_OBJECT
        if name not in value:
            return False, None
        value = value[name]
    return True, value


def _same(value: Any, needed: Any) -> bool:
    """Equal and of one type, since to the chart true and 1 are different; or the value's spelling as a text, which
    :func:`cilium_values` makes the value itself.
    """
    if isinstance(value, str) and isinstance(needed, bool | int):
        word = str(needed)
        return value in ((word, word.lower(), word.upper()) if isinstance(needed, bool) else (word,))
    return type(value) is type(needed) and bool(value == needed)
