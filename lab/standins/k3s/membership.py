"""What the servers of a cluster do for its nodes as these come and go.

As in k3s: whoever leads etcd gives learners their vote (every 15 s, manageLearners in its pkg/etcd/etcd.go), says on
each server's Node whether it has one, and takes a member out whose Node is deleted. A finalizer keeps such a Node until
then. Every server forgets the passwords of Nodes that it has seen go.
"""

from __future__ import annotations

import asyncio
import functools
import http.client
import urllib.parse
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from lab.standins.k3s.api import Api, ApiError, until
from lab.standins.k3s.etcd import Etcd, EtcdError, peer_url
from lab.standins.k3s.etcd import name as member_name
from lab.standins.k3s.forwarder import Balancer
from lab.standins.k3s.journal import log
from lab.standins.k3s.manifests import node_hosts_object
from lab.standins.k3s.passwords import forget
from lab.standins.k3s.settings import Settings

FINALIZER = "wrangler.cattle.io/managed-etcd-controller"
ADDRESS_ANNOTATION = "etcd.k3s.cattle.io/node-address"
NAME_ANNOTATION = "etcd.k3s.cattle.io/node-name"
VOTER_CONDITION = "EtcdIsVoter"
LOOK_SECONDS = 3.0
LEARNERS_SECONDS = 15.0
NODE_HOSTS_SECONDS = 15.0
ENDPOINTS_SECONDS = 5.0

_MISHAPS = (ApiError, EtcdError, OSError, http.client.HTTPException)
_MERGE = "application/merge-patch+json"
_STRATEGIC_MERGE = "application/strategic-merge-patch+json"
"""Conditions are merged by their type, so that those of the kubelet stay."""


def node_path(name: str) -> str:
    """The Node in the API."""
    return f"/api/v1/nodes/{urllib.parse.quote(name)}"


async def mark_server(api: Api, settings: Settings, *, several: bool) -> None:
    """Labels that a kubelet may not give itself (NodeRestriction), and who this node is among etcd's members."""
    metadata: dict[str, Any] = {"labels": {"node-role.kubernetes.io/control-plane": "true"}}
    if several:
        metadata["labels"]["node-role.kubernetes.io/etcd"] = "true"
        metadata["annotations"] = {ADDRESS_ANNOTATION: settings.node_ip, NAME_ANNOTATION: member_name()}
        metadata["finalizers"] = [FINALIZER]
    patch = functools.partial(api.request, "PATCH", node_path(settings.node_name), {"metadata": metadata}, _MERGE)
    await until("the node to be labelled", patch)


class Nodes:
    """Looks at the cluster's nodes as a server does."""

    def __init__(self, api: Api, etcd: Etcd | None, *, coredns: bool) -> None:
        self._api = api
        self._etcd = etcd
        self._coredns = coredns
        self._seen: set[str] = set()
        self._hosts: dict[str, Any] = {}

    async def keep(self) -> None:
        """Until it is cancelled."""
        loop = asyncio.get_running_loop()
        hosts_at = learners_at = loop.time()
        while True:
            try:
                listed = (await asyncio.to_thread(self._api.request, "GET", "/api/v1/nodes"))["items"]
                await asyncio.to_thread(self._forget, {node["metadata"]["name"] for node in listed})
                if self._etcd is not None:
                    promote = loop.time() >= learners_at
                    if promote:
                        learners_at = loop.time() + LEARNERS_SECONDS
                    await asyncio.to_thread(self._members, listed, promote=promote)
                if self._coredns and loop.time() >= hosts_at:
                    await asyncio.to_thread(self._node_hosts, listed)
                    hosts_at = loop.time() + NODE_HOSTS_SECONDS
            except _MISHAPS as error:
                log(f"nodes not looked at: {error}")
            await asyncio.sleep(LOOK_SECONDS)

    def _forget(self, there: set[str]) -> None:
        forget(self._api, sorted(self._seen - there))
        self._seen = there

    def _node_hosts(self, listed: list[Mapping[str, Any]]) -> None:
        document = node_hosts_object(listed)
        if document != self._hosts:
            self._api.apply(document, "k3s-node-hosts")
            self._hosts = document

    def _members(self, listed: list[Mapping[str, Any]], *, promote: bool) -> None:
        assert self._etcd is not None
        leaving = [node["metadata"] for node in listed if node["metadata"].get("deletionTimestamp")]
        leaving = [candidate for candidate in leaving if FINALIZER in (candidate.get("finalizers") or ())]
        if not (leaving or promote) or not self._etcd.leads():
            return
        members = self._etcd.members()
        for metadata in leaving:
            address = (metadata.get("annotations") or {}).get(ADDRESS_ANNOTATION, "")
            for member in members:
                if peer_url(address) in member.peer_urls:
                    log(f"removing the etcd member {member.name or '(not started)'} of {metadata['name']}")
                    self._etcd.remove(member)
            rest = [finalizer for finalizer in metadata["finalizers"] if finalizer != FINALIZER]
            self._api.request("PATCH", node_path(metadata["name"]), {"metadata": {"finalizers": rest}}, _MERGE)
        if promote:
            self._say_who_votes(listed)
            learners = [member for member in members if member.learner]
            for member in learners:
                self._etcd.promote(member)
                log(f"gave the etcd learner {member.name} its vote")
            if learners:
                self._say_who_votes(listed)

    def _say_who_votes(self, listed: list[Mapping[str, Any]]) -> None:
        """As a condition of the Nodes of members."""
        assert self._etcd is not None
        members = self._etcd.members()
        for node in listed:
            metadata = node["metadata"]
            address = (metadata.get("annotations") or {}).get(ADDRESS_ANNOTATION, "")
            member = next((candidate for candidate in members if peer_url(address) in candidate.peer_urls), None)
            if member is not None and (condition := voter_condition(node, learner=member.learner)) is not None:
                status = {"status": {"conditions": [condition]}}
                self._api.request("PATCH", f"{node_path(metadata['name'])}/status", status, _STRATEGIC_MERGE)


def voter_condition(node: Mapping[str, Any], *, learner: bool) -> dict[str, str] | None:
    """The condition for a server's Node; None where it says so already."""
    said = "False" if learner else "True"
    conditions = (node.get("status") or {}).get("conditions") or []
    if any(condition["type"] == VOTER_CONDITION and condition["status"] == said for condition in conditions):
        return None
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": VOTER_CONDITION,
        "status": said,
        "reason": "MemberIsLearner" if learner else "MemberNotLearner",
        "message": "",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }


async def keep_servers(api: Api, balancer: Balancer) -> None:
    """An agent's balancer learns the servers from the endpoints of default/kubernetes."""
    while True:
        try:
            endpoints = await asyncio.to_thread(api.request, "GET", "/api/v1/namespaces/default/endpoints/kubernetes")
            subsets = endpoints.get("subsets") or []
            balancer.learn([address["ip"] for subset in subsets for address in subset.get("addresses") or []])
        except _MISHAPS as error:
            log(f"servers not learned: {error}")
        await asyncio.sleep(ENDPOINTS_SECONDS)
