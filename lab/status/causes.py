"""The causes that `lab status` can name, each with its title and its fix: what a person types next.

The fixes are templates. ``{cluster}`` is the cluster in which the cause is, ``{node}`` the machine, ``{pod}`` the
router's pod, ``{pid}`` a process there, ``{source}`` and ``{target}`` the ends of the direction that was judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lab.status.results import Kind

_NEW_ROUTER = (
    "kubectl --context {cluster} -n netbird delete pod {pod} (a new agent lays interface, rules, routes and packet "
    "filter anew)"
)
_HEAL = "pulumi refresh -s {owner} && pulumi up -s {owner} (what was changed by hand in NetBird is put right)"
_LOOK = (
    "./isthmus lab shell {node} -- ip route get {address} ; kubectl --context {cluster} -n kube-system exec ds/cilium "
    "-c cilium-agent -- cilium-dbg monitor --type drop"
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A cause as the catalogue has it."""

    title: str
    fix: str
    kind: Kind = "fault"


CATALOGUE: Final[Mapping[str, Entry]] = {
    "machine-off": Entry(title="machine off", fix="./isthmus lab up (it starts {node})"),
    "router-missing": Entry(
        title="no router",
        fix="kubectl --context {cluster} -n netbird get pods,networkrouters -o wide ; kubectl --context {cluster} get "
        "nodes -L isthmus.dev/router",
    ),
    "agent-frozen": Entry(title="router frozen", fix="./isthmus lab shell {node} -- kill -CONT {pid}"),
    "agent-stopped": Entry(
        title="NetBird agent does not run",
        fix="kubectl --context {cluster} -n netbird describe pod {pod} ; kubectl --context {cluster} -n netbird logs "
        "{pod} -c netbird --previous",
    ),
    "interface-away": Entry(title="wt0 away", fix=_NEW_ROUTER),
    "policy-missing": Entry(title="NetBird policy missing", fix=_HEAL),
    "policy-disabled": Entry(title="NetBird policy disabled", fix=_HEAL),
    "policy-changed": Entry(title="NetBird policy changed", fix=_HEAL),
    "resource-missing": Entry(title="NetBird resource missing", fix=_HEAL),
    "resource-disabled": Entry(title="NetBird resource disabled", fix=_HEAL),
    "routing-peer-missing": Entry(title="NetBird network without a routing peer", fix=_HEAL),
    "agent-disconnected": Entry(
        title="router not connected to NetBird",
        fix="kubectl --context {cluster} -n netbird logs {pod} -c netbird --tail=20 (is the management server reached, "
        "does the agent need to log in?)",
    ),
    "tunnel-down": Entry(
        title="no tunnel between the routers",
        fix="kubectl --context {source} -n netbird exec {pod} -c netbird -- netbird status --detail (ICE candidates, "
        "relay); do UDP and the relay's TCP get out of both networks?",
    ),
    "rules-missing": Entry(title="ip rules missing", fix=_NEW_ROUTER),
    "route-missing": Entry(title="route missing", fix=_NEW_ROUTER),
    "forwarding-off": Entry(
        title="forwarding off", fix="./isthmus lab shell {node} -- sysctl -w net.ipv4.ip_forward=1"
    ),
    "reverse-path-filter": Entry(
        title="reverse path filter strict",
        fix="./isthmus lab shell {node} -- sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.wt0.rp_filter=2",
    ),
    "masquerade-missing": Entry(title="masquerade missing", fix=_NEW_ROUTER),
    "masquerade-off": Entry(
        title="masquerade switched off in NetBird",
        fix="kubectl --context {cluster} -n netbird annotate networkrouters --all isthmus.dev/again=1 --overwrite (the "
        "operator writes masquerade into NetBird when it reconciles)",
    ),
    "egress-policy-missing": Entry(title="egress policy missing", fix="pulumi up --refresh -s {cluster}"),
    "egress-gateway-missing": Entry(
        title="egress policy finds no gateway",
        fix="kubectl --context {cluster} get nodes -L isthmus.dev/router ; pulumi up --refresh -s {cluster}",
    ),
    "programs-missing": Entry(
        title="Cilium is not on wt0 yet",
        fix="kubectl --context {cluster} -n kube-system get pods -l k8s-app=cilium -o wide (the agent on {node} comes "
        "to a new wt0 within some ten seconds) ; kubectl --context {cluster} -n kube-system delete pod -l "
        "k8s-app=cilium --field-selector spec.nodeName={node} (a new agent does it when it starts)",
    ),
    "egress-address-stale": Entry(
        title="egress policy has no or a stale source address",
        fix="kubectl --context {cluster} annotate ciliumegressgatewaypolicies --all isthmus.dev/again=1 --overwrite "
        "(Cilium looks at wt0 again)",
    ),
    "egress-entries-missing": Entry(
        title="egress map incomplete",
        fix="kubectl --context {cluster} -n kube-system get pods -l k8s-app=cilium -o wide (is Cilium's agent on "
        "{node} well?)",
    ),
    "peers-dropped": Entry(
        title="a packet filter drops what the peer's routers send",
        fix="./isthmus lab shell {node} -- nft --handle list chain {chain} (delete the rule, or take away the program "
        "that lays it: tailscaled drops 100.64.0.0/10, where NetBird's addresses are)",
    ),
    "unexplained": Entry(title="no cause was found", fix=_LOOK),
    "relay-away": Entry(
        title="DNS relay does not run",
        fix="kubectl --context {cluster} -n kube-system describe ds/isthmus-dns-relay ; kubectl --context {cluster} -n "
        "kube-system logs ds/isthmus-dns-relay",
    ),
    "relay-frozen": Entry(
        title="DNS relay frozen",
        fix="kubectl --context {cluster} -n kube-system delete pod -l app.kubernetes.io/name=isthmus-dns-relay --force",
    ),
    "relay-not-on-wt0": Entry(
        title="DNS relay does not listen on wt0",
        fix="kubectl --context {cluster} -n kube-system rollout restart ds/isthmus-dns-relay (it binds wt0's address "
        "when it starts)",
    ),
    "cluster-dns-away": Entry(
        title="cluster DNS does not run",
        fix="kubectl --context {cluster} -n kube-system describe deployment/coredns ; kubectl --context {cluster} -n "
        "kube-system logs deployment/coredns",
    ),
    "zone-missing": Entry(
        title="zone not in coredns-custom",
        fix="kubectl --context {cluster} -n kube-system get configmap coredns-custom -o yaml ; pulumi up --refresh -s "
        "{cluster}",
    ),
    "relay-unreached": Entry(
        title="the peer's DNS relay is not reached",
        fix="./isthmus lab shell {node} -- sh -c 'nft list ruleset ; iptables-legacy-save' (does another program drop "
        "what comes by wt0?) ; the same at {peer_node} ; kubectl --context {target} -n kube-system logs "
        "ds/isthmus-dns-relay",
    ),
    "names-unexplained": Entry(
        title="no cause was found for the names",
        fix="kubectl --context {source} -n kube-system logs ds/isthmus-dns-relay ; kubectl --context {target} -n "
        "kube-system logs deployment/coredns",
    ),
    "guard-missing": Entry(
        title="NetBird's packet filter is gone: what it keeps shut on wt0 is open", fix=_NEW_ROUTER, kind="security"
    ),
    "ports-open": Entry(title="ports of the node are open to the peer", fix=_NEW_ROUTER, kind="security"),
    "policy-widened": Entry(title="NetBird policy widened", fix=_HEAL, kind="security"),
    "kubelet-away": Entry(
        title="kubelet away", fix="./isthmus lab shell {node} -- systemctl restart {unit}", kind="remark"
    ),
    "kubelet-frozen": Entry(
        title="kubelet frozen", fix="./isthmus lab shell {node} -- kill -CONT {pid}", kind="remark"
    ),
    "node-not-ready": Entry(
        title="node not ready", fix="kubectl --context {cluster} describe node {node}", kind="remark"
    ),
    "management-away": Entry(
        title="NetBird's management does not answer",
        fix="tail /var/lib/isthmus-lab/logs/netbird-server.log ; ./isthmus lab up (it starts the server if it is off)",
        kind="remark",
    ),
}
"""By id. The order is that of the way: what stands nearer to the beginning explains more of what was lost."""
