"""One name in both clusters (``dns.fallback``), and the names of addresses (PTR), asked by pods of de: the own cluster
first where it has a pod that is ready, the peer otherwise, and an error and no denial while the peer is away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from lab import line
from lab.commands import wait_until
from lab.kubernetes import Cluster
from lab.project import Tools
from lab.pulumi_command import Pulumi
from lab.reporting import Silent
from lab.topology import DEFAULT, VERIFY_NAMESPACE
from lab.verify.checks import World
from lab.verify.run import world_of
from lab.verify.workload import BACKEND_LABEL
from tests.link.changing import UNCHANGED, change_settings, changes_ahead, stack_files_kept, up

pytestmark = [pytest.mark.link, pytest.mark.thorough, pytest.mark.timeout(900)]

ZONE: Final = "any.internal"
TAKEN_SECONDS: Final = 120.0
"""Until CoreDNS has read a changed ConfigMap: the kubelet brings it, and CoreDNS looks every 30 s."""
SOON_SECONDS: Final = 30.0
"""Until names follow what was made in a cluster, what is in caches included."""
FIRST_MS: Final = 2200.0
"""What a peer that is away may cost; as in ``test_names.py``."""
OWN_MS: Final = 100.0
"""A name of the own cluster, beside all that this machine does."""


@pytest.fixture(scope="module")
def world(tools: Tools, pulumi: Pulumi) -> Iterator[World]:
    """Probe pods, and de with the setting."""
    with world_of(DEFAULT, tools, Silent()) as made:
        with stack_files_kept(["de"]):
            change_settings("de", {"dns.fallback": {"zone": ZONE}})
            done = up(pulumi, ["de"])["de"]
            assert done.keys() - UNCHANGED == {"update"}, done
            yield made
        up(pulumi, ["de"])
        # Whoever is asked for the world's names answers now, and in a lab that is nobody.
        wait_until(
            lambda: ask(made, short("on-router")).get("rcode") != 0,
            what=f"{ZONE} is nobody's any more",
            deadline_seconds=TAKEN_SECONDS,
        )
        assert changes_ahead(pulumi, ["de"]) == {}


def short(service: str) -> str:
    return f"{service}.{VERIFY_NAMESPACE}.svc.{ZONE}"


def ask(world: World, name: str, kind: str = "A") -> dict[str, Any]:
    """From the node that is no router."""
    found: dict[str, Any] = world.sessions["de", "other"].ask("dns", name=name, type=kind, seconds=5)
    return found


def answers(world: World, name: str, records: list[str], *, seconds: float = SOON_SECONDS) -> dict[str, Any]:
    """What is said of that name once it is these records."""
    last: dict[str, Any] = {}

    def so() -> bool:
        nonlocal last
        last = ask(world, name)
        return last.get("rcode") == 0 and last["records"] == records

    wait_until(so, what=f"{name} is {records}", deadline_seconds=seconds, state=lambda: f"last answer {last}")
    return last


def service(name: str, backend: str) -> dict[str, Any]:
    """With the pod that has this label, which may be none."""
    metadata = {"name": name, "namespace": VERIFY_NAMESPACE}
    spec = {"selector": {BACKEND_LABEL: backend}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def address(cluster: Cluster, name: str) -> str:
    (found,) = [
        made["spec"]["clusterIP"]
        for made in cluster.get("services", namespace=VERIFY_NAMESPACE)
        if made["metadata"]["name"] == name
    ]
    return str(found)


def test_the_own_cluster_first_and_the_peer_otherwise(world: World, clusters: Mapping[str, Cluster]) -> None:
    de, mn = clusters["de"], clusters["mn"]
    mn.apply([service("there", "other"), service("moves", "other")])
    de.apply([service("moves", "nobody")])
    assert address(de, "on-router") != address(mn, "on-router")

    answers(world, short("on-router"), [address(de, "on-router")], seconds=TAKEN_SECONDS)
    answers(world, short("there"), [address(mn, "there")])
    answers(world, short("moves"), [address(mn, "moves")])
    assert ask(world, short("nowhere"))["rcode"] == 3

    de.apply([service("moves", "other")])
    answers(world, short("moves"), [address(de, "moves")])
    de.apply([service("moves", "nobody")])
    answers(world, short("moves"), [address(mn, "moves")])


def test_a_peer_that_is_away_costs_no_name_of_the_own_cluster_and_denies_none(world: World) -> None:
    router = world.probes["mn"].router.node
    known = answers(world, short("there"), ask(world, short("there"))["records"])
    assert known["records"]
    line.cut(router)
    try:
        unknown = [ask(world, short(f"never-asked-{number}")) for number in range(8)]
        own = [ask(world, short("on-router")) for _ in range(20)]
        still = [ask(world, short("there")) for _ in range(20)]
    finally:
        line.mend(router)
    assert [answer.get("rcode") for answer in unknown] == [2] * 8, unknown
    assert max(answer["ms"] for answer in unknown) <= FIRST_MS, unknown
    assert all(answer["rcode"] == 0 and answer["ms"] <= OWN_MS for answer in own), own
    # Served from what was known, one peer being all there are.
    assert all(answer["records"] == known["records"] for answer in still), still
    wait_until(
        lambda: ask(world, short("never-asked-0")).get("rcode") == 3,
        what="names that nobody has are denied again",
        deadline_seconds=SOON_SECONDS,
    )


def test_addresses_of_the_peer_have_the_names_of_its_zone(world: World, clusters: Mapping[str, Cluster]) -> None:
    """And each name has that address: of a service with a ClusterIP, and of a single pod."""
    probes = world.probes["mn"]
    named = {
        address(clusters["mn"], "on-router"): probes.service_host("on-router"),
        probes.pod("other").address: probes.pod_host(probes.pod("other")),
    }
    for at, name in named.items():
        reverse = ".".join(reversed(at.split("."))) + ".in-addr.arpa"
        found = ask(world, reverse, "PTR")
        assert found["rcode"] == 0, found
        assert name in found["records"], found
        assert all(ask(world, record)["records"] == [at] for record in found["records"]), found
