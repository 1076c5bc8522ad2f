"""Everything that an ``up`` waits for in the cluster, each with its deadline, what it says and what to do.

A node of which nothing was heard for a while holds up nothing: it is named, and what runs on the others counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from components.kubernetes_client import KubernetesClient
from components.waiting import Seen, Wait
from domain.names import FIELD_MANAGER
from domain.netbird import NAMESPACE
from domain.objects import cilium, dns_relay, guard, keeper
from domain.objects.router_pods import NAMESPACE as SYSTEM

CILIUM_SECONDS: Final = 900.0
"""The agents of all nodes: their image is half a gigabyte, and a slow machine starts one in minutes."""
GUARD_SECONDS: Final = 600.0
RELAY_SECONDS: Final = 600.0
KEEPER_SECONDS: Final = 600.0
"""The image of Python, and a start that takes a second or two."""
OPERATOR_SECONDS: Final = 540.0
"""Less than Helm waits for it (:data:`components.chart.RELEASE_TIMEOUT_SECONDS`), and the engine for its router."""


@dataclass(frozen=True)
class DaemonSet:
    """Of which the pods are looked at; ``selector`` finds them."""

    name: str
    selector: str
    namespace: str = SYSTEM


CILIUM: Final = DaemonSet(cilium.AGENTS, cilium.AGENTS_SELECTOR)
GUARDS: Final = DaemonSet(guard.NAME, f"app.kubernetes.io/name={guard.NAME}")
KEEPERS: Final = DaemonSet(keeper.NAME, f"app.kubernetes.io/name={keeper.NAME}")
RELAYS: Final = DaemonSet(dns_relay.NAME, f"app.kubernetes.io/name={dns_relay.NAME}")
FRONTS: Final = DaemonSet(dns_relay.FRONT, f"app.kubernetes.io/name={dns_relay.FRONT}")
OPERATOR: Final = "isthmus-netbird-operator"
"""The Deployment of the operator's chart."""
OPERATOR_PODS: Final = "app.kubernetes.io/name=netbird-operator"


def cilium_agents(client: KubernetesClient) -> Wait:
    """Cilium on all nodes that are there. Helm is no judge of it: the chart lets two agents be unavailable."""
    return _of_daemon_set(client, CILIUM, "Cilium's agents", CILIUM_SECONDS)


def guards(client: KubernetesClient) -> Wait:
    """The guard on all nodes that are there: before it no packet may find a way to a peer."""
    return _of_daemon_set(client, GUARDS, "the guard of each node", GUARD_SECONDS)


def keepers(client: KubernetesClient, config: str) -> Wait:
    """The keeper on the routers that are there. It is ready when it runs, whatever it sees of the links.

    ``config`` is a mark of what the keepers are told. It is put on their pods, since a kubelet brings a changed
    ConfigMap to a pod within a minute or more, and at once to one that has changed itself
    (https://kubernetes.io/docs/tasks/configure-pod-container/configure-pod-configmap/#mounted-configmaps-are-updated-automatically).
    """
    wait = _of_daemon_set(client, KEEPERS, "the keeper of each router", KEEPER_SECONDS)

    def look() -> Seen:
        seen = wait.look()
        if seen.done:
            _tell(client, config)
        return seen

    return replace(wait, look=look)


def _tell(client: KubernetesClient, config: str) -> None:
    path = f"/api/v1/namespaces/{KEEPERS.namespace}/pods"
    for pod in client.request("GET", f"{path}?labelSelector={quoted(KEEPERS.selector)}").get("items") or []:
        metadata = pod["metadata"]
        if (metadata.get("annotations") or {}).get(keeper.CONFIG_ANNOTATION) != config:
            change = {"metadata": {"annotations": {keeper.CONFIG_ANNOTATION: config}}}
            where = f"{path}/{metadata['name']}?fieldManager={FIELD_MANAGER}"
            client.request("PATCH", where, body=change, content_type="application/merge-patch+json")


def relays(client: KubernetesClient) -> Wait:
    """The DNS relay on the routers that are there."""
    return _of_daemon_set(client, RELAYS, "the DNS relay", RELAY_SECONDS)


def fronts(client: KubernetesClient) -> Wait:
    """What the cluster's DNS asks on each node, before it is told to."""
    return _of_daemon_set(client, FRONTS, "the DNS front of each node", RELAY_SECONDS)


# --- DaemonSets -------------------------------------------------------------------------------------------------------


def _of_daemon_set(client: KubernetesClient, wanted: DaemonSet, what: str, deadline_seconds: float) -> Wait:
    def why(_seen: Seen) -> str:
        return (
            f"`kubectl -n {wanted.namespace} describe pods -l {wanted.selector}` and `kubectl -n {wanted.namespace} "
            f"logs -l {wanted.selector} --all-containers` say why"
        )

    return Wait(what, lambda: look_at_daemon_set(client, wanted), why, deadline_seconds)


def look_at_daemon_set(client: KubernetesClient, wanted: DaemonSet) -> Seen:
    """Whether all of its pods on nodes that are there run the newest template and are ready.

    One that is gone is not waited for: it was made before the wait began, unless this is a `destroy --run-program`
    after one that was broken off.
    """
    there = client.get(f"/apis/apps/v1/namespaces/{wanted.namespace}/daemonsets/{wanted.name}")
    if there is None:
        return Seen(True, "gone", (f"{wanted.name} is not in the cluster any more, and was not waited for",))
    pods = client.request("GET", f"/api/v1/namespaces/{wanted.namespace}/pods?labelSelector={quoted(wanted.selector)}")
    revisions = client.request(
        "GET",
        f"/apis/apps/v1/namespaces/{wanted.namespace}/controllerrevisions?labelSelector={quoted(wanted.selector)}",
    )
    nodes = client.request("GET", "/api/v1/nodes")
    return daemon_set_seen(there, pods, revisions, nodes)


def daemon_set_seen(
    there: Mapping[str, Any], pods: Mapping[str, Any], revisions: Mapping[str, Any], nodes: Mapping[str, Any]
) -> Seen:
    """The judgement, from the API's answers."""
    name, uid = there["metadata"]["name"], there["metadata"]["uid"]
    status = there.get("status") or {}
    away = nodes_away(nodes)
    newest = (
        max((revision["revision"], revision["metadata"]["name"]) for revision in _owned(revisions, uid))[1]
        if _owned(revisions, uid)
        else ""
    )
    own = _owned(pods, uid)
    on_away = {pod["spec"].get("nodeName") for pod in own} & set(away)
    live = [pod for pod in own if pod["spec"].get("nodeName") not in away]
    wanted = int(status.get("desiredNumberScheduled") or 0) - len(on_away)
    notes = tuple(f"node {node} is away {away[node]}; {name} there was not waited for" for node in sorted(on_away))
    if (status.get("observedGeneration") or 0) < there["metadata"].get("generation", 0):
        return Seen(False, f"{name} is new, and Kubernetes has not looked at it yet", notes)
    good = [pod for pod in live if _is_newest(pod, newest) and is_ready(pod)]
    state = f"{len(good)} of {wanted} ready"
    states = [_pod_state(pod, newest) for pod in live if pod not in good]
    if states:
        state += f"; {', '.join(sorted(states))}"
    return Seen(wanted > 0 and len(good) >= wanted and not states, state, notes)


def _owned(listed: Mapping[str, Any], uid: str) -> list[Mapping[str, Any]]:
    return [
        item
        for item in listed.get("items") or []
        if any(owner.get("uid") == uid for owner in item["metadata"].get("ownerReferences") or [])
    ]


def _is_newest(pod: Mapping[str, Any], newest: str) -> bool:
    revision = str((pod["metadata"].get("labels") or {}).get("controller-revision-hash", ""))
    return bool(revision) and newest.endswith(f"-{revision}")


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether the pod is ready and stays."""
    return "deletionTimestamp" not in pod["metadata"] and any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in (pod.get("status") or {}).get("conditions") or []
    )


def _pod_state(pod: Mapping[str, Any], newest: str) -> str:
    """``cilium-x7k2p on de-agent-1: ImagePullBackOff``."""
    where = f"{pod['metadata']['name']} on {pod['spec'].get('nodeName') or 'no node'}"
    if not _is_newest(pod, newest):
        return f"{where}: is being replaced"
    return _state_of(pod)


def _state_of(pod: Mapping[str, Any]) -> str:
    """Likewise, of a pod of whatever revision."""
    status = pod.get("status") or {}
    where = f"{pod['metadata']['name']} on {pod['spec'].get('nodeName') or 'no node'}"
    if "deletionTimestamp" in pod["metadata"]:
        return f"{where}: is being replaced"
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        for kind in ("waiting", "terminated"):
            found = (container.get("state") or {}).get(kind)
            if found and found.get("reason") not in (None, "Completed", "PodInitializing", "ContainerCreating"):
                detail = f" ({found['message'].splitlines()[0]})" if found.get("message") else ""
                return f"{where}: {container['name']}: {found['reason']}{detail}"
    return f"{where}: {'starting' if status.get('phase') in ('Pending', 'Running') else status.get('phase')}"


def nodes_away(nodes: Mapping[str, Any]) -> dict[str, str]:
    """Nodes that Kubernetes has not heard of for a while, with since when."""
    found = {}
    for node in nodes.get("items") or []:
        for condition in (node.get("status") or {}).get("conditions") or []:
            if condition["type"] == "Ready" and condition["status"] == "Unknown":
                found[node["metadata"]["name"]] = f"since {condition.get('lastTransitionTime')}"
    return found


def quoted(selector: str) -> str:
    """A label selector as a part of an address."""
    return selector.replace("/", "%2F").replace("=", "%3D")


# --- NetBird's operator ----------------------------------------------------------------------------------------------


def operator(client: KubernetesClient) -> Wait:
    """The operator's own process, while Helm waits for it."""
    return Wait("NetBird's operator", lambda: _operator_seen(client), _why_no_operator, OPERATOR_SECONDS)


def operators_router(client: KubernetesClient, name: str) -> Wait:
    """What the operator makes of the router object, while the engine waits for it; the operator itself first."""

    def look() -> Seen:
        path = f"/apis/netbird.io/v1alpha1/namespaces/{NAMESPACE}/networkrouters/{name}"
        router = client.get(path)
        if router is None:
            return Seen(False, f"there is no NetworkRouter {name} yet")
        there = _operator_seen(client)
        return Seen(False, there.state if not there.done else f"{_said_of(router)}; the operator runs")

    return Wait(f"NetBird's operator to make the router {name}", look, _why_no_operator, OPERATOR_SECONDS)


def _operator_seen(client: KubernetesClient) -> Seen:
    there = client.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{OPERATOR}")
    if there is None:
        return Seen(False, "Helm has not made it yet")
    pods = client.request("GET", f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector={quoted(OPERATOR_PODS)}")
    return operator_seen(there, pods)


def operator_seen(there: Mapping[str, Any], pods: Mapping[str, Any]) -> Seen:
    """The judgement, from the API's answers: whether the newest pod is ready, and what is with those that are not."""
    status = there.get("status") or {}
    wanted = int(there["spec"].get("replicas", 1))
    ready = min(int(status.get("updatedReplicas") or 0), int(status.get("readyReplicas") or 0))
    if wanted == 0:
        return Seen(False, "somebody has scaled it to zero")
    states = sorted(_state_of(pod) for pod in pods.get("items") or [] if not is_ready(pod))
    state = "; ".join([f"{ready} of {wanted} ready", *states])
    observed = (status.get("observedGeneration") or 0) >= there["metadata"].get("generation", 0)
    return Seen(observed and ready >= wanted and not states, state)


def _said_of(router: Mapping[str, Any]) -> str:
    for condition in (router.get("status") or {}).get("conditions") or []:
        if condition["type"] == "Ready" and condition["status"] != "True":
            return f"it is not ready: {condition.get('message') or condition.get('reason')}"
    return "it has not been looked at"


def _why_no_operator(_seen: Seen) -> str:
    return (
        f"`kubectl -n {NAMESPACE} describe pods -l {OPERATOR_PODS}` and `kubectl -n {NAMESPACE} logs "
        f"deployment/{OPERATOR}` say why; `kubectl -n {NAMESPACE} scale deployment/{OPERATOR} --replicas=1` if "
        "somebody has scaled it to zero"
    )
