"""Brings label, agents and egress policies of a cluster that runs to the routers of its settings, in each ``up``.

It owns the reading and the doing; what is done when is ``domain/router_moves.py``'s. It is a wait that acts: every look
takes the next step from what is there, so one that was interrupted goes on in the next ``up``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from components.keeper_words import without_way
from components.kubernetes_client import KubernetesClient, KubernetesError
from components.route_waits import GUARDS_PATH, guard_state
from components.waiting import Seen, Wait
from components.waits import GUARDS, KEEPERS, is_ready, quoted
from domain.egress_policy import OWN_POLICIES
from domain.names import FIELD_MANAGER, KEEPER_MANAGER, ROUTER_LABEL, ROUTER_LABEL_VALUE
from domain.netbird import NAMESPACE
from domain.overlay import router_name
from domain.router_moves import Action, Label, Pin, RemoveAgent, RoutersNow, Scale, next_step, settled
from domain.router_rollout import ROUTER_POD_LABEL

MOVE_SECONDS: Final = 900.0
"""A machine that joins, or an agent's image that a slow line brings."""
HOSTNAME: Final = "kubernetes.io/hostname"
"""The label by which a policy names a node. On a cluster of others its value need not be the Node's name."""
MERGE: Final = "application/merge-patch+json"


def routers_in_place(client: KubernetesClient, cluster: str, wanted: Sequence[str]) -> Wait:
    """The routers of the settings, and no others, have the label and an agent, as far as is possible before the
    operator is told of them. ``wanted`` are names of nodes.
    """

    def look() -> Seen:
        now, names = routers_now(client, cluster, wanted)
        step = next_step(wanted, now)
        for action in step.actions:
            _act(client, cluster, action, names)
        return Seen(step.done, step.state)

    def why(_seen: Seen) -> str:
        return (
            f"`kubectl -n {NAMESPACE} get pods -o wide` and `kubectl -n {NAMESPACE} logs -l "
            f"{ROUTER_POD_LABEL}={cluster} -c netbird --prefix` say what the agents are at, `kubectl -n "
            f"{KEEPERS.namespace} logs -l {KEEPERS.selector} --prefix` what a router lacks; the routers that carried "
            "the link still do"
        )

    return Wait(f"the routers of {cluster} to take their places", look, why, MOVE_SECONDS)


def policies_settled(client: KubernetesClient, cluster: str, wanted: Sequence[str]) -> Wait:
    """Every egress policy names a router that works. One look: it waits for nothing."""

    def look() -> Seen:
        now, names = routers_now(client, cluster, wanted)
        actions = settled(wanted, now)
        for action in actions:
            _act(client, cluster, action, names)
        return Seen(True, "; ".join(map(str, actions)) or "every egress policy names its router")

    return Wait(f"the egress policies of {cluster}", look, lambda _seen: "", 0.0)


def routers_now(client: KubernetesClient, cluster: str, wanted: Sequence[str]) -> tuple[RoutersNow, Mapping[str, str]]:
    """What is there, and the hostname label of each node by the Node's name."""
    nodes = {node["metadata"]["name"]: node for node in client.request("GET", "/api/v1/nodes").get("items") or []}
    labels = {name: node["metadata"].get("labels") or {} for name, node in nodes.items()}
    names = {name: str(its.get(HOSTNAME) or name) for name, its in labels.items()}
    called = {hostname: name for name, hostname in names.items()}
    pods = [
        pod
        for pod in client.request("GET", _agents_path(cluster)).get("items") or []
        if pod["spec"].get("nodeName") and "deletionTimestamp" not in pod["metadata"]
    ]
    agents = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in pods}
    labelled = {name for name, its in labels.items() if its.get(ROUTER_LABEL) == ROUTER_LABEL_VALUE}
    policies = _policies(client)
    concerned = {*wanted, *labelled, *agents.values()} & {*nodes}
    ways = _ways(client, concerned) if policies else {}
    lacking = without_way(client, concerned) if policies else {}
    router = client.get(_router_path(cluster))
    return (
        RoutersNow(
            joined=frozenset(nodes),
            labelled=frozenset(labelled),
            agents=agents,
            ready=frozenset(pod["spec"]["nodeName"] for pod in pods if is_ready(pod)),
            gateways={name: called.get(at, at) if (at := _gateway(spec)) else None for name, spec in policies.items()},
            routed={
                name: frozenset(
                    node
                    for node, tunnelled in ways.items()
                    if {*spec["destinationCIDRs"]} <= tunnelled and _comes_through(lacking, node, name)
                )
                for name, spec in policies.items()
            },
            selectable=_selectable(client, labelled),
            wanted_agents=router["spec"].get("workloadOverride", {}).get("replicas") if router else None,
        ),
        names,
    )


def _selectable(client: KubernetesClient, labelled: Collection[str]) -> frozenset[str]:
    """Nodes that Cilium's agents take for routers: they go by the labels of CiliumNodes (1.19,
    pkg/egressgateway/policy.go), which each agent brings from its own Node. Where there are none, Cilium is not at work
    yet, and all that have the label count.
    """
    known = (client.get(CILIUM_NODES) or {}).get("items")
    if not known:
        return frozenset(labelled)
    return frozenset(
        node["metadata"]["name"]
        for node in known
        if (node["metadata"].get("labels") or {}).get(ROUTER_LABEL) == ROUTER_LABEL_VALUE
    )


def _policies(client: KubernetesClient) -> dict[str, Mapping[str, Any]]:
    """Our egress policies; none where Cilium has no kind for them yet."""
    listed = client.get(POLICIES) or {}
    return {
        item["metadata"]["name"]: item["spec"]
        for item in listed.get("items") or []
        if item["metadata"]["name"].startswith(OWN_POLICIES)
    }


def _gateway(spec: Mapping[str, Any]) -> str | None:
    """The node that a policy names. None as well for a selector that is not as this program and the keepers write it:
    then it is written anew.
    """
    selector = spec["egressGateway"].get("nodeSelector") or {}
    labels = selector.get("matchLabels") or {}
    ours = labels.get(ROUTER_LABEL) == ROUTER_LABEL_VALUE and labels.keys() == {ROUTER_LABEL, HOSTNAME}
    return str(labels[HOSTNAME]) if ours and not selector.get("matchExpressions") else None


def _naming(selector: Mapping[str, Any], hostname: str) -> dict[str, Any]:
    """The merge patch by which a policy with this selector names the node, and nothing else."""
    others = dict.fromkeys(selector.get("matchLabels") or {})
    expressions = {"matchExpressions": None} if selector.get("matchExpressions") else {}
    return {"matchLabels": {**others, ROUTER_LABEL: ROUTER_LABEL_VALUE, HOSTNAME: hostname}, **expressions}


def _ways(client: KubernetesClient, nodes: set[str]) -> dict[str, set[str]]:
    """The ranges that each node sends by the tunnel, as its guard sees it."""
    guards = client.request("GET", f"{GUARDS_PATH}?labelSelector={quoted(GUARDS.selector)}").get("items") or []
    found = {}
    for pod in guards:
        node = pod["spec"].get("nodeName")
        if node not in nodes or not is_ready(pod):
            continue
        try:
            state = guard_state(client, pod["metadata"]["name"])
        except KubernetesError as error:
            if error.status is None:
                raise
            continue
        if state is not None and state.address:
            found[node] = {network for network, way in state.ways.items() if way == "tunnel"}
    return found


def _comes_through(lacking: Mapping[str, Collection[str] | None], node: str, policy: str) -> bool:
    """Whether the node is in order and has a tunnel to the policy's peer, as its keeper says. Where no keepers are,
    nobody says otherwise.
    """
    peers = lacking.get(node, ())
    return peers is not None and policy.removeprefix(OWN_POLICIES) not in peers


def _act(client: KubernetesClient, cluster: str, action: Action, names: Mapping[str, str]) -> None:
    match action:
        case Label(node, router):
            labels = {ROUTER_LABEL: ROUTER_LABEL_VALUE if router else None}
            _merge(client, f"/api/v1/nodes/{node}", {"metadata": {"labels": labels}})
        case Pin(policy, node):
            path = f"{POLICIES}/{policy}"
            there = (client.get(path) or {}).get("spec", {}).get("egressGateway", {}).get("nodeSelector") or {}
            change = {"spec": {"egressGateway": {"nodeSelector": _naming(there, names.get(node, node))}}}
            # In the keeper's name: which node a policy names is its field, whoever writes it.
            _merge(client, path, change, KEEPER_MANAGER)
        case Scale(agents):
            _merge(client, _router_path(cluster), {"spec": {"workloadOverride": {"replicas": agents}}})
        case RemoveAgent(pod, _):
            _gone(client, f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}")


POLICIES: Final = "/apis/cilium.io/v2/ciliumegressgatewaypolicies"
CILIUM_NODES: Final = "/apis/cilium.io/v2/ciliumnodes"


def _agents_path(cluster: str) -> str:
    return f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector={quoted(f'{ROUTER_POD_LABEL}={cluster}')}"


def _router_path(cluster: str) -> str:
    return f"/apis/netbird.io/v1alpha1/namespaces/{NAMESPACE}/networkrouters/{router_name(cluster)}"


def _merge(client: KubernetesClient, path: str, change: Mapping[str, Any], manager: str = FIELD_MANAGER) -> None:
    client.request("PATCH", f"{path}?fieldManager={manager}", body=change, content_type=MERGE)


def _gone(client: KubernetesClient, path: str) -> None:
    try:
        client.request("DELETE", path)
    except KubernetesError as error:
        if error.status != 404:
            raise
