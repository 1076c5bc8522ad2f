"""The first look: which machines, routers and pods a cluster has, found where they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Final

from domain.names import ROUTER_LABEL, ROUTER_LABEL_VALUE
from lab.kubernetes import Cluster
from lab.project import Tools
from lab.status import asking, reading
from lab.status.asking import Json, MachineAnswer, Objects
from lab.status.results import Placement
from lab.status.routers import is_router
from lab.topology import Site, Topology

SCAN_SECONDS: Final = 3.0


@dataclass(frozen=True, kw_only=True)
class Pod:
    """A pod that runs on a machine, whatever the API says of it."""

    name: str
    node: str
    placement: Placement
    netns: str
    address: str
    serves_dns: bool
    stands_in: bool = False
    """It is no pod: the node's own network, or Cilium's address there, where there is no pod."""


@dataclass(frozen=True, kw_only=True)
class RouterNode:
    """A node that carries a router, or should."""

    node: str
    node_ip: str
    pod: str
    """The router's pod; empty without one."""
    wt0: str
    """The address of wt0; empty without one."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A cluster as the first look shows it."""

    site: Site
    objects: Objects
    machines: Mapping[str, bool]
    """Its machines, and whether they run."""
    routers: tuple[RouterNode, ...]
    pods: tuple[Pod, ...]
    cilium_hosts: Mapping[str, str]
    """Cilium's own address on each node that has one; it lies in the pod CIDR."""

    def source(self, placement: Placement) -> Pod | None:
        """Who asks from a placement: a pod, or on a router the node itself, whose packets take the same way from wt0
        on. What another node itself sends is not steered to the router, so nothing stands in for a pod there.
        """
        if (pod := self._pod(placement)) is not None or placement == "other":
            return pod
        node = next((router for router in self.routers if router.wt0 and self.machines.get(router.node)), None)
        if node is None:
            return None
        return _stand_in("the node itself", node.node, "router", node.wt0)

    def target(self, placement: Placement) -> Pod | None:
        """Who is asked at a placement: a pod, or on a node that is no router's Cilium's own address there, to which the
        way is that to a pod. To a router's own addresses NetBird lets nobody, so nothing stands in for a pod there.
        """
        if (pod := self._pod(placement)) is not None or placement == "router":
            return pod
        routers = {router.node for router in self.routers}
        node = next((name for name in sorted(self.cilium_hosts) if name not in routers), None)
        return None if node is None else _stand_in("Cilium's own address", node, "other", self.cilium_hosts[node])

    def _pod(self, placement: Placement) -> Pod | None:
        """The pod that stands for a placement: one that serves names before any other."""
        found = [pod for pod in self.pods if pod.placement == placement]
        return min(found, key=lambda pod: (not pod.serves_dns, pod.name, pod.address), default=None)

    def has_nodes(self, placement: Placement) -> bool:
        """Whether there is a machine at that placement at all."""
        routers = {router.node for router in self.routers}
        return any((name in routers) == (placement == "router") for name in self.machines)


def _stand_in(name: str, node: str, placement: Placement, address: str) -> Pod:
    return Pod(name=name, node=node, placement=placement, netns="", address=address, serves_dns=False, stands_in=True)


def first_look(lab: Topology, tools: Tools, running: Mapping[str, bool], pool: Executor) -> dict[str, Seen]:
    """Every cluster of the lab by name."""
    scans = {
        name: pool.submit(asking.machine, name, {"scan": True}, seconds=SCAN_SECONDS)
        for name, runs in running.items()
        if runs
    }
    objects = {site.name: pool.submit(asking.objects, Cluster(name=site.name, tools=tools)) for site in lab.sites}
    return {site.name: _seen(site, objects[site.name].result(), running, scans) for site in lab.sites}


def _seen(
    site: Site, objects: Objects, running: Mapping[str, bool], scans: Mapping[str, Future[MachineAnswer]]
) -> Seen:
    names = {str(node["metadata"]["name"]) for node in objects.nodes}
    own = {name: runs for name, runs in running.items() if name in names or name.startswith(f"{site.name}-")}
    answers = {name: scans[name].result() for name, runs in own.items() if runs}
    routers = tuple(_routers(objects, answers))
    return Seen(
        site=site,
        objects=objects,
        machines=own,
        routers=routers,
        pods=tuple(_pods(objects, answers, {router.node for router in routers})),
        cilium_hosts={name: answer.cilium_host for name, answer in answers.items() if answer.cilium_host},
    )


def _routers(objects: Objects, answers: Mapping[str, MachineAnswer]) -> Sequence[RouterNode]:
    """By label and by pod; where the API does not answer by what the machines have."""
    pods: dict[str, Json] = {str(pod["spec"].get("nodeName", "")): pod for pod in objects.pods if is_router(pod)}
    labelled = {
        str(node["metadata"]["name"])
        for node in objects.nodes
        if node["metadata"].get("labels", {}).get(ROUTER_LABEL) == ROUTER_LABEL_VALUE
    }
    names = (labelled | set(pods)) - {""}
    if not objects.reachable:
        names = {name for name, answer in answers.items() if answer.wt0}
    addresses = reading.addresses(objects.nodes)
    return [
        RouterNode(
            node=name,
            node_ip=addresses.get(name, ""),
            pod=str(pods[name]["metadata"]["name"]) if name in pods else "",
            wt0=answers[name].wt0 if name in answers else "",
        )
        for name in sorted(names)
    ]


def _pods(objects: Objects, answers: Mapping[str, MachineAnswer], routers: set[str]) -> Sequence[Pod]:
    """Pods with a network of their own; one that the API does not know is about to go."""
    known = {
        str(pod["status"].get("podIP", "")): f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        for pod in objects.pods
        if not pod["spec"].get("hostNetwork") and "deletionTimestamp" not in pod["metadata"]
    }
    return [
        Pod(
            name=known.get(str(pod["address"]), ""),
            node=node,
            placement="router" if node in routers else "other",
            netns=str(pod["netns"]),
            address=str(pod["address"]),
            serves_dns=bool(pod["serves_dns"]),
        )
        for node, answer in sorted(answers.items())
        for pod in answer.pods
        if str(pod["address"]) in known or not objects.reachable
    ]
