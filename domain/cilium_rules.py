"""Rules for the further values of Cilium's chart (``cilium.values``), beyond those that the link is built on.

It owns which of them keep an agent or the operator from running, leave nodes out, or make the chart fail. What the link
itself needs, and must therefore be one certain value, is ``cilium_values.py``'s; what the chart does not have at all,
``cilium_chart.py``'s. Sources: the chart's templates and the agent's own checks at its start, release 1.19.6.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from domain.cilium_chart import nested, unknown_values
from domain.cilium_forms import FORM_RULES, objects_only
from domain.cilium_values import NO_OBJECT, clashes, fixed_values, offers_cluster_ips, past_the_chart, value_at
from domain.names import ROUTER_LABEL
from domain.places.registry import is_given, node_count
from domain.problems import Problem, shown
from domain.settings.draft import StackDraft, known
from domain.tunnel_port import ports_differ

_NO_START: Final = "the agent does not start with it"
_NO_PODS: Final = "pods take their addresses from network.pod_cidr through k3s"
_RIGHTS: Final = "without it the chart's own pods may do nothing"
_CONF: Final = "the nodes find Cilium by the file that it writes itself"
KEPT: Final[Mapping[str, tuple[tuple[Any, ...], str]]] = {
    "enableMasqueradeRouteSource": ((False,), f"{_NO_START} beside BPF masquerade"),
    "underlayProtocol": (("ipv4",), "the egress gateway does not start with another"),
    "preflight.enabled": ((False,), "with it the chart leaves the agents away"),
    "namespaceOverride": (("", "kube-system"), "the program has Cilium in kube-system"),
    "updateStrategy.type": (("RollingUpdate",), "with another, agents that run never take a change over"),
    "operator.hostNetwork": ((True,), "the operator has to run before pods have a network"),
    "operator.skipCRDCreation": ((False,), "the agents wait for the kinds of resources that the operator makes"),
    "operator.image.suffix": (("",), "there is no other image of the operator for k3s"),
    "sleepAfterInit": ((False,), "with it the agents only sleep"),
    "cleanState": ((False,), "every start of an agent would cut all connections of its node"),
    "cleanBpfState": ((False,), "every start of an agent would cut all connections of its node"),
    "etcd.enabled": ((False,), "Cilium keeps its state in Kubernetes, and nobody runs an etcd for it"),
    "disableEndpointCRD": ((False,), "the egress gateway finds the pods by these resources"),
    "enableNonDefaultDenyPolicies": (
        (True,),
        "the policy that keeps pods from the servers' user data would cut them off from everything",
    ),
    "policyAuditMode": ((False,), "no policy would be enforced, and pods could read the servers' user data"),
    "k8s.requireIPv6PodCIDR": ((False,), "nodes have no IPv6 range, and the agent would wait for one for ever"),
    "nat46x64Gateway.enabled": ((False,), "clusters and links are IPv4 only"),
    "rbac.create": ((True,), _RIGHTS),
    "serviceAccounts.cilium.create": ((True,), _RIGHTS),
    "serviceAccounts.cilium.automount": ((True,), _RIGHTS),
    "serviceAccounts.operator.create": ((True,), _RIGHTS),
    "serviceAccounts.operator.automount": ((True,), _RIGHTS),
    "cni.customConf": ((False,), _CONF),
    "cni.configMap": (("",), _CONF),
    "cni.uninstall": ((False,), "with it an agent that ends takes the network of its node's pods along"),
    "bpf.datapathMode": (
        ("veth",),
        "others need a newer kernel than that of Debian 12, and the link was tried with none",
    ),
    "aksbyocni.enabled": ((False,), _NO_PODS),
    "alibabacloud.enabled": ((False,), _NO_PODS),
    "azure.enabled": ((False,), _NO_PODS),
    "gke.enabled": ((False,), _NO_PODS),
    "egressMasqueradeInterfaces": (("",), f"{_NO_START} beside BPF masquerade"),
    "affinity.nodeAffinity": ((), "an agent has to run on every node"),
    "affinity.podAffinity": ((), "an agent has to run on every node"),
}
"""Values with all that they may be besides empty, and why; the first is the chart's own."""

_LOCAL_API: Final = "the agents reach the API by k3s's own load balancer"
_PATHS: Final = "k3s looks for it there"
KEPT_ON_OUR_NODES: Final[Mapping[str, tuple[tuple[Any, ...], str]]] = {
    "k8s.apiServerURLs": (("",), _LOCAL_API),
    "k8sServiceHostRef.name": (("",), _LOCAL_API),
    "k8sServiceLookupConfigMapName": (("",), _LOCAL_API),
    "kubeConfigPath": (("",), _LOCAL_API),
    "cni.confPath": (("/etc/cni/net.d",), _PATHS),
    "cni.binPath": (("/opt/cni/bin",), _PATHS),
    **dict.fromkeys(
        ("priorityClassName", "operator.priorityClassName"),
        (
            ("", "system-node-critical", "system-cluster-critical"),
            "a new cluster has no other class, and without its class no pod starts",
        ),
    ),
}
"""The same for clusters that the program raises; whoever brings a cluster along knows it better."""

AGENT_OPTIONS: Final[Mapping[str, str]] = {
    "egress-masquerade-interfaces": f"{_NO_START} beside BPF masquerade",
    "enable-masquerade-to-route-source": f"{_NO_START} beside BPF masquerade",
    "underlay-protocol": KEPT["underlayProtocol"][1],
    "clean-cilium-state": KEPT["cleanState"][1],
    "clean-cilium-bpf-state": KEPT["cleanBpfState"][1],
    "kvstore": KEPT["etcd.enabled"][1],
    "kvstore-opt": KEPT["etcd.enabled"][1],
    "disable-endpoint-crd": KEPT["disableEndpointCRD"][1],
    "enable-non-default-deny-policies": KEPT["enableNonDefaultDenyPolicies"][1],
    "policy-audit-mode": KEPT["policyAuditMode"][1],
    "k8s-require-ipv6-pod-cidr": KEPT["k8s.requireIPv6PodCIDR"][1],
    "datapath-mode": KEPT["bpf.datapathMode"][1],
    "local-router-ipv4": f"{_NO_START} beside a tunnel",
    "enable-srv6": "clusters and links are IPv4 only",
    "skip-crd-creation": KEPT["operator.skipCRDCreation"][1],
    "ipv4-native-routing-cidr": "packets to it would keep the pods' own addresses, which nothing outside can answer",
}
"""What goes past the chart into the configuration of agent or operator and must not, with the reason."""

Values = Mapping[str, Any]


def cilium_values_kept(draft: StackDraft) -> Iterator[Problem]:
    """No value for Cilium's chart keeps its pods from running, or leaves nodes out."""
    if not (values := _values(draft)):
        return
    told = {clash.path.partition(".")[0] for clash in fixed_values()}
    kept = dict(KEPT) | (dict(KEPT_ON_OUR_NODES) if _ours(draft) else {})
    for path, (allowed, reason) in kept.items():
        given, value = value_at(values, path)
        if not given or _empty(value) or any(type(value) is type(choice) and value == choice for choice in allowed):
            continue
        if value == NO_OBJECT and path.partition(".")[0] in told:
            continue
        rule = f"must be {shown(allowed[0])}: {reason}" if allowed and allowed[0] != "" else f"must be empty: {reason}"
        yield _problem(draft, path, value, rule, "remove it")
    for path, name, _ in past_the_chart(values):
        if (unwanted := AGENT_OPTIONS.get(name)) is not None:
            said = "" if path.endswith(name) else name
            yield Problem(draft.stack, f"cilium.values.{path}", said, f"is not for you to set: {unwanted}", "remove it")


def cilium_on_every_node(draft: StackDraft) -> Iterator[Problem]:
    """An agent runs on every node, and the operator on one that exists."""
    if not (values := _values(draft)):
        return
    _, selector = value_at(values, "nodeSelector")
    if not _empty(selector) and selector != {"kubernetes.io/os": "linux"}:
        yield _problem(
            draft, "nodeSelector", selector, "leaves nodes out; an agent has to run on every node", "remove it"
        )
    given, tolerations = value_at(values, "tolerations")
    if given and not any(_tolerates_all(toleration) for toleration in _entries(tolerations)):
        rule = "leaves out every node with a taint; an agent has to run on every node"
        yield _problem(draft, "tolerations", tolerations, rule, "remove it, or keep {operator: Exists} in it")
    given, tolerations = value_at(values, "operator.tolerations")
    if given and not any(
        _tolerates_all(toleration) or _key(toleration) == _NOT_READY for toleration in _entries(tolerations)
    ):
        rule = "keeps the operator from nodes that are not ready, which they are not before it has run"
        fix = f"remove it, or keep {{key: {_NOT_READY}, operator: Exists}} in it"
        yield _problem(draft, "operator.tolerations", tolerations, rule, fix)
    _, selector = value_at(values, "operator.nodeSelector")
    for name in selector if isinstance(selector, Mapping) and _ours(draft) else ():
        if name not in _LABELS:
            rule = f"names {shown(name)}, a label that no node of a new cluster has; the operator would run nowhere"
            yield _problem(draft, "operator.nodeSelector", selector, rule, f"take one of {', '.join(_LABELS)}")


_NOT_READY: Final = "node.kubernetes.io/not-ready"
_LABELS: Final = (
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "node-role.kubernetes.io/control-plane",
    ROUTER_LABEL,
)
"""Labels that nodes have from their first moment on."""


def cilium_operator_runs(draft: StackDraft) -> Iterator[Problem]:
    """As many operators run as nodes have room for, at least one: each takes ports of its node."""
    given, replicas = value_at(_values(draft), "operator.replicas")
    if not given:
        return
    nodes = node_count(draft)
    if isinstance(replicas, bool) or not isinstance(replicas, int) or replicas < 1:
        rule = "is no number of operators; without one there are no kinds of resources, for which the agents wait"
        yield _problem(draft, "operator.replicas", replicas, rule, "take 1 or more")
    elif nodes is not None and _ours(draft) and replicas > nodes:
        rule = f"is more than the {nodes} nodes; no two run on one node, and `up` would wait for the others"
        yield _problem(draft, "operator.replicas", replicas, rule, f"take at most {nodes}")


def cilium_of_one_release(draft: StackDraft) -> Iterator[Problem]:
    """Agents and operator are of the release that ``cilium.version`` says, from an image that can be named."""
    if not (values := _values(draft)):
        return
    version = known(draft.settings, "cilium", "version")
    for section in ("image", "operator.image"):
        _, tag = value_at(values, f"{section}.tag")
        if version is not None and not _empty(tag) and tag != f"v{version}":
            rule = f"is not v{version}; the chart is of one release with its images, which cilium.version says"
            yield _problem(draft, f"{section}.tag", tag, rule, "remove it, and write cilium.version")
        _, override = value_at(values, f"{section}.override")
        release = rf".+:v{re.escape(version or '')}(@sha256:[0-9a-f]{{64}})?"
        if version is not None and not _empty(override) and not re.fullmatch(release, str(override)):
            rule = f"does not end in :v{version}; the chart is of one release with its images"
            yield _problem(draft, f"{section}.override", override, rule, "remove it, and write cilium.version")
        _, repository = value_at(values, f"{section}.repository")
        if not _empty(repository) and not re.fullmatch(r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+", str(repository)):
            rule = "is not the name of an image alone; the chart adds the tag"
            yield _problem(draft, f"{section}.repository", repository, rule, "write it like quay.io/cilium/cilium")
        for name in ("digest", "genericDigest"):
            _, digest = value_at(values, f"{section}.{name}")
            if not _empty(digest) and not re.fullmatch(r"sha256:[0-9a-f]{64}", str(digest)):
                rule = "is not the digest of an image"
                yield _problem(draft, f"{section}.{name}", digest, rule, "write it like sha256:64 HEXADECIMAL DIGITS")


def cilium_chart_agrees(draft: StackDraft) -> Iterator[Problem]:
    """The values are such as the chart takes together."""
    if not (values := _values(draft)):
        return
    for path, (switch, needs) in _NEEDS.items():
        if switch(value_at(values, path)[1]) and value_at(values, needs)[1] is not True:
            rule = f"needs {needs}, without which the chart fails"
            yield _problem(draft, path, value_at(values, path)[1], rule, f"add {nested(needs, 'true')}, or remove it")
    _, name = value_at(values, "cluster.name")
    if not _empty(name) and not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", str(name)):
        rule = "is not a name of lower-case letters, digits and hyphens with at most 32 characters; the chart fails"
        yield _problem(draft, "cluster.name", name, rule, f"write it like {draft.stack}")
    given, number = value_at(values, "cluster.id")
    if given and (isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= 255):
        yield _problem(draft, "cluster.id", number, "is no number from 0 to 255; the agent does not start", "remove it")
    elif number and name in (None, "default"):
        yield _problem(draft, "cluster.id", number, "needs cluster.name, without which the chart fails", "add the name")
    _, issuer = value_at(values, "hubble.tls.auto.certManagerIssuerRef")
    certificates = value_at(values, "hubble.tls.auto.method")[1]
    if certificates == "certmanager" and _empty(issuer) and value_at(values, "hubble.enabled")[1] is True:
        rule = "needs hubble.tls.auto.certManagerIssuerRef, without which the chart fails"
        yield _problem(draft, "hubble.tls.auto.method", certificates, rule, "name the issuer, or remove it")
    pods = known(draft.settings, "network", "pod_cidr")
    _, native = value_at(values, "ipv4NativeRoutingCIDR")
    if pods is not None and not _empty(native) and native != str(pods):
        reason = AGENT_OPTIONS["ipv4-native-routing-cidr"]
        yield _problem(draft, "ipv4NativeRoutingCIDR", native, f"is not network.pod_cidr {pods}: {reason}", "remove it")


def _is_true(value: Any) -> bool:
    return value is True


_NEEDS: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "hubble.relay.enabled": (_is_true, "hubble.enabled"),
    "hubble.ui.enabled": (_is_true, "hubble.relay.enabled"),
    "ingressController.enabled": (_is_true, "l7Proxy"),
    "gatewayAPI.enabled": (_is_true, "l7Proxy"),
    "loadBalancer.l7.backend": (lambda value: value == "envoy", "l7Proxy"),
    "authentication.mutual.spire.enabled": (_is_true, "authentication.enabled"),
}
"""Values that the chart refuses to take, in the state on the left, without the one on the right."""


def cilium_values_there(draft: StackDraft) -> Iterator[Problem]:
    """Every value is one that the chart has, so that none is without effect."""
    for unknown in unknown_values(_values(draft), known(draft.settings, "cilium", "version")):
        yield Problem(draft.stack, f"cilium.values.{unknown.path}", "", unknown.rule, unknown.fix)


def cilium_values_allowed(draft: StackDraft) -> Iterator[Problem]:
    """No value for Cilium's chart breaks the link."""
    values, mtu = _values(draft), known(draft.settings, "cilium", "mtu")
    if not values or mtu is None:
        return
    port = known(draft.settings, "cilium", "tunnel_port")
    if port is None:
        port = values.get("tunnelPort")  # it has been refused already
    cluster_ips = offers_cluster_ips(
        known(draft.settings, "link", "cluster_ips") is not False, known(draft.settings, "peers") or ()
    )
    given = is_given(draft)
    for clash in clashes(values, mtu, installs_k3s=not given, tunnel_port=port, cluster_ips=cluster_ips):
        rule = f"must be {shown(clash.needed)}: {clash.reason}"
        if clash.overrides:
            rule = f"changes {clash.overrides}, which {rule}"
        yield Problem(draft.stack, f"cilium.values.{clash.path}", shown(clash.value), rule, "remove it")


def tunnel_and_wireguard(draft: StackDraft) -> Iterator[Problem]:
    """NetBird's WireGuard and Cilium's tunnel between the nodes have a UDP port each."""
    ports = known(draft.settings, "netbird", "wireguard_port"), known(draft.settings, "cilium", "tunnel_port")
    yield from ports_differ(draft.stack, *ports)


CILIUM_RULES: Final = (
    cilium_values_allowed,
    tunnel_and_wireguard,
    cilium_values_there,
    cilium_values_kept,
    cilium_on_every_node,
    cilium_operator_runs,
    cilium_of_one_release,
    cilium_chart_agrees,
    *FORM_RULES,
)


def _values(draft: StackDraft) -> Values:
    return objects_only(known(draft.settings, "cilium", "values") or {})


def _ours(draft: StackDraft) -> bool:
    """Whether the program makes the nodes, as far as one can tell."""
    return not is_given(draft)


def _problem(draft: StackDraft, path: str, value: Any, rule: str, fix: str) -> Problem:
    said = shown(value)
    if isinstance(value, str) and (said in ("true", "false") or said.isdigit()):
        said = f'"{said}"'
    return Problem(draft.stack, f"cilium.values.{path}", said, rule, fix)


def _empty(value: Any) -> bool:
    return value is None or value == "" or value == [] or value == {}


def _entries(value: Any) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list | tuple) else []


def _tolerates_all(entry: Mapping[str, Any]) -> bool:
    return entry.get("operator") == "Exists" and _empty(entry.get("key")) and _empty(entry.get("effect"))


def _key(entry: Mapping[str, Any]) -> Any:
    return entry.get("key") if _empty(entry.get("effect")) or entry.get("effect") == "NoSchedule" else None
