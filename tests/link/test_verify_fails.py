"""Each check of `lab verify` is seen to fail when its part is broken, and to pass beside it, and again afterwards."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from lab import machines
from lab.commands import wait_until
from lab.kubernetes import Cluster
from lab.netbird_api import NetBirdApi
from lab.project import Tools
from lab.reporting import Silent
from lab.topology import DEFAULT, VERIFY_NAMESPACE
from lab.verify.checks import World, all_checks
from lab.verify.results import CheckResult
from lab.verify.run import make, world_of
from lab.verify.throughput import POD_PORT
from lab.verify.workload import BACKEND_LABEL, BACKENDS, EMPTY, PLACEMENTS, STICKY
from tests.link.changing import policy_body
from tests.link.inside_pod import inside_pod, sending_up_to

pytestmark = pytest.mark.link

CHECKS = {check.id: check for check in all_checks(DEFAULT)}
PLACES = [f"{source}-{target}" for source in ("router", "other") for target in ("router", "other")]
SETTLE_SECONDS = 90.0


@pytest.fixture(scope="module")
def world(tools: Tools) -> Iterator[World]:
    """Probe pods for the whole module: a break is between two looks at the same pods."""
    with world_of(DEFAULT, tools, Silent()) as made:
        yield made


SEEN_TO_FAIL: set[str] = set()


def look(world: World, *identifiers: str) -> dict[str, CheckResult]:
    results = {
        result.id: result for result in make([CHECKS[identifier] for identifier in identifiers], world, Silent())
    }
    SEEN_TO_FAIL.update(result.id for result in results.values() if result.status == "fail")
    return results


def wait_for(world: World, wanted: str, *identifiers: str, saying: str = "") -> dict[str, CheckResult]:
    """Looks until all of these checks have the wanted status and say that; what was seen last is in the error.

    Whoever asks in the very moment of a break may fail otherwise than everybody does afterwards.
    """
    last: dict[str, CheckResult] = {}

    def seen() -> dict[str, CheckResult] | None:
        last.update(look(world, *identifiers))
        reached = all(result.status == wanted and saying in result.observed for result in last.values())
        return dict(last) if reached else None

    return wait_until(
        seen,
        what=f"{', '.join(identifiers)}: {wanted} {saying}".strip(),
        deadline_seconds=SETTLE_SECONDS,
        state=lambda: "; ".join(f"{name}: {result.status}, {result.observed}" for name, result in last.items()),
        every_seconds=0.5,
    )


@contextlib.contextmanager
def broken(do: Callable[[], object], undo: Callable[[], object]) -> Iterator[None]:
    """Breaks something for the block, and mends it whatever happens."""
    do()
    try:
        yield
    finally:
        undo()


def way(prefix: str, *kinds: str) -> list[str]:
    return [f"{prefix}.{place}.{kind}" for place in PLACES for kind in kinds]


def plain(found: Mapping[str, Any]) -> dict[str, Any]:
    """An object without what the server adds, so that it can be made again."""
    metadata = {key: found["metadata"][key] for key in ("name", "namespace", "labels") if key in found["metadata"]}
    return {**{key: found[key] for key in ("apiVersion", "kind", "spec", "data") if key in found}, "metadata": metadata}


def get(cluster: Cluster, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.kubectl("get", *arguments, "--output=json").stdout)
    return found


def test_everything_passes_before_anything_is_broken(world: World) -> None:
    quick = [name for name in CHECKS if not name.endswith("throughput")]
    bad = {name: verdict for name, verdict in look(world, *quick).items() if verdict.status != "pass"}
    assert bad == {}


def test_the_probes_ask_for_names_by_glibc(world: World, clusters: Mapping[str, Cluster]) -> None:
    command = ["python3", "-c", "import platform; print(platform.libc_ver()[0])"]
    for name, cluster in clusters.items():
        pod = world.probes[name].pod("other").name
        assert cluster.execute(VERIFY_NAMESPACE, pod, "probe", command).strip() == "glibc"


def test_without_the_egress_policy_pods_of_other_nodes_do_not_reach_the_peer(
    world: World, clusters: Mapping[str, Cluster]
) -> None:
    de = clusters["de"]
    policy = plain(get(de, "ciliumegressgatewaypolicies", "isthmus-to-mn"))
    # From the router's own node the agent's route and masquerade carry packets without the policy.
    connecting = [name for name in way("de-mn", "icmp", "tcp", "http", "pod-name", "mtu") if ".other-" in name]
    with broken(
        lambda: de.kubectl("delete", "ciliumegressgatewaypolicies", "isthmus-to-mn"),
        lambda: de.apply([policy]),
    ):
        failed = wait_for(world, "fail", "de.egress-policy", "de-mn.other-other.icmp")
        assert failed["de.egress-policy"].observed.startswith("policies lead to nothing")
        seen = look(world, *connecting, "mn.egress-policy", "de.own-zone", *way("mn-de", "icmp"))
        assert {name for name, result in seen.items() if result.status == "fail"} == set(connecting)
    wait_for(world, "pass", "de.egress-policy", *connecting)


def test_a_policy_that_covers_netbirds_range_is_found(world: World, clusters: Mapping[str, Cluster]) -> None:
    de = clusters["de"]
    policy = plain(get(de, "ciliumegressgatewaypolicies", "isthmus-to-mn"))
    policy["metadata"]["name"] = "too-wide"
    policy["spec"]["destinationCIDRs"] = ["100.64.0.0/10"]
    with broken(lambda: de.apply([policy]), lambda: de.kubectl("delete", "ciliumegressgatewaypolicies", "too-wide")):
        failed = wait_for(world, "fail", "de.egress-policy")
        assert "a policy for 100.64.0.0/10 covers NetBird's 100.64.0.0/10" in failed["de.egress-policy"].observed
        assert look(world, "mn.egress-policy")["mn.egress-policy"].status == "pass"
    wait_for(world, "pass", "de.egress-policy")


def switching(netbird: NetBirdApi, name: str) -> Callable[..., None]:
    """Switches a policy of NetBird, and its rule, off and on."""
    policy = netbird.named("policies", name)
    assert policy is not None
    whole = netbird.call("GET", f"/api/policies/{policy['id']}")

    def put(*, enabled: bool) -> None:
        netbird.call("PUT", f"/api/policies/{policy['id']}", policy_body(whole, enabled=enabled))

    return put


def test_without_netbirds_policy_the_routers_do_not_let_pods_through(world: World, netbird: NetBirdApi) -> None:
    put = switching(netbird, "isthmus-de-to-mn-pods")
    with broken(lambda: put(enabled=False), lambda: put(enabled=True)):
        wait_for(world, "fail", *way("de-mn", "icmp", "tcp"))
        seen = look(world, *way("mn-de", "icmp", "tcp"), "de.egress-policy")
        assert all(result.status == "pass" for result in seen.values()), seen
    wait_for(world, "pass", *way("de-mn", "icmp", "tcp", "http"))


def of_services(prefix: str, *kinds: str) -> list[str]:
    return [f"{prefix}.{place}-{backend}.{kind}" for place in PLACEMENTS for backend in BACKENDS for kind in kinds]


def test_without_netbirds_policy_for_services_pods_alone_are_reached(world: World, netbird: NetBirdApi) -> None:
    put = switching(netbird, "isthmus-de-to-mn-services")
    touched = [
        *of_services("de-mn", "cluster-ip", "cluster-ip-udp", "cluster-ip-name"),
        *(f"de-mn.{place}.session-affinity" for place in PLACEMENTS),
    ]
    with broken(lambda: put(enabled=False), lambda: put(enabled=True)):
        wait_for(world, "fail", *touched)
        # No route, so the guard of the asking node refuses, and no client waits: as soon as de's agent has heard of it,
        # which may be after mn's.
        wait_for(world, "fail", "de-mn.other-other.cluster-ip", saying="refused")
        seen = look(world, *way("de-mn", "tcp", "pod-name"), *of_services("mn-de", "cluster-ip"))
        assert all(result.status == "pass" for result in seen.values()), seen
    wait_for(world, "pass", *touched)


def test_a_service_that_got_an_endpoint_is_not_refused(world: World, clusters: Mapping[str, Cluster]) -> None:
    def select(backend: str) -> None:
        patch = json.dumps({"spec": {"selector": {BACKEND_LABEL: backend}}})
        clusters["mn"].kubectl("patch", "service", EMPTY, "-n", VERIFY_NAMESPACE, f"--patch={patch}")

    touched = [f"de-mn.{place}.service-refused" for place in PLACEMENTS]
    with broken(lambda: select("router"), lambda: select("nowhere")):
        wait_for(world, "fail", *touched)
    wait_for(world, "pass", *touched)


def test_a_service_without_affinity_spreads_its_clients(world: World, clusters: Mapping[str, Cluster]) -> None:
    def affinity(kind: str) -> None:
        patch = json.dumps({"spec": {"sessionAffinity": kind}})
        clusters["mn"].kubectl("patch", "service", STICKY, "-n", VERIFY_NAMESPACE, f"--patch={patch}")

    touched = [f"de-mn.{place}.session-affinity" for place in PLACEMENTS]
    with broken(lambda: affinity("None"), lambda: affinity("ClientIP")):
        wait_for(world, "fail", *touched)
    wait_for(world, "pass", *touched)


def test_a_port_that_is_closed_fails_tcp_and_http_but_not_icmp(world: World, clusters: Mapping[str, Cluster]) -> None:
    mn = clusters["mn"]
    closed = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "closed", "namespace": VERIFY_NAMESPACE},
        "spec": {
            "endpointSelector": {},
            "enableDefaultDeny": {"ingress": False},
            "ingressDeny": [
                {"fromEntities": ["all"], "toPorts": [{"ports": [{"port": "8080", "protocol": "TCP"}]}]},
            ],
        },
    }
    touched = way("de-mn", "tcp", "http", "pod-name")
    with broken(
        lambda: mn.apply([closed]),
        lambda: mn.kubectl("delete", "ciliumnetworkpolicies", "closed", "-n", VERIFY_NAMESPACE),
    ):
        wait_for(world, "fail", *touched, "de-mn.router.service-name", "de-mn.other.service-name")
        seen = look(world, *way("de-mn", "icmp"), *way("mn-de", "tcp"))
        assert all(result.status == "pass" for result in seen.values()), seen
    wait_for(world, "pass", *touched)


def test_a_smaller_tunnel_loses_packets_of_the_planned_size(world: World) -> None:
    router = world.probes["mn"].router.node

    def set_mtu(size: int) -> None:
        machines.exec(router, ["ip", "link", "set", "wt0", "mtu", str(size)], check=True)

    before = int(machines.exec(router, ["cat", "/sys/class/net/wt0/mtu"], check=True).stdout)
    with broken(lambda: set_mtu(1200), lambda: set_mtu(before)):
        # Echoes have the size of their requests, so the way back is as good a place to break as the way there.
        failed = wait_for(world, "fail", *way("de-mn", "mtu"))
        assert all("0 of 3 packets of 1230 bytes came back" in result.observed for result in failed.values())
        assert look(world, "de-mn.router-router.icmp")["de-mn.router-router.icmp"].status == "pass"
    wait_for(world, "pass", *way("de-mn", "mtu"))


def test_pods_that_may_send_larger_packets_are_found(world: World) -> None:
    pods = [world.probes[name].pod("router") for name in ("de", "mn")]
    planned = min(world.pod_mtu.values())

    with sending_up_to(planned + 20, pods):
        passed = f"3 of 3 of {planned + 1}"
        wait_for(world, "fail", "de-mn.router-router.mtu", "mn-de.router-router.mtu", saying=passed)
        # One end alone does not do: the reply of a pod with the planned size is lost.
        seen = look(world, "de-mn.router-other.mtu", "de-mn.other-other.mtu")
        assert all(result.status == "pass" for result in seen.values()), seen
    wait_for(world, "pass", "de-mn.router-router.mtu", "mn-de.router-router.mtu")


def test_without_the_relay_the_peers_names_fail_and_addresses_do_not(
    world: World, clusters: Mapping[str, Cluster]
) -> None:
    de = clusters["de"]
    relay = next(found for found in de.get("daemonsets", namespace="*") if "relay" in found["metadata"]["name"])
    name, namespace = relay["metadata"]["name"], relay["metadata"]["namespace"]

    def patch(selector: str | None) -> None:
        value = json.dumps({"spec": {"template": {"spec": {"nodeSelector": {"broken": selector}}}}})
        de.kubectl("patch", "daemonset", name, "-n", namespace, "--type=merge", f"--patch={value}")

    def without() -> None:
        patch("on-purpose")
        # Else CoreDNS serves what it knows for as long as stale answers may be served.
        restart_dns(de)

    named = [*way("de-mn", "pod-name"), "de-mn.router.service-name", "de-mn.other.service-name"]
    with broken(without, lambda: patch(None)):
        wait_for(world, "fail", *named)
        seen = look(world, *way("de-mn", "http"), "de.own-zone", "mn-de.other-other.pod-name")
        assert [result.status for name, result in seen.items() if name in way("de-mn", "http")] == ["pass"] * 4
        assert seen["de.own-zone"].status == "pass"
    # The relay answers the peer as well, which has noticed.
    wait_for(world, "pass", *named, *way("mn-de", "pod-name"))


def test_without_its_own_zone_a_cluster_does_not_answer_for_it(world: World, clusters: Mapping[str, Cluster]) -> None:
    de, mn = clusters["de"], clusters["mn"]
    custom = plain(get(mn, "configmap", "coredns-custom", "-n", "kube-system"))
    zone = DEFAULT.site("mn").ranges.dns_zone
    without = {
        **custom,
        "data": {key: text.replace(zone, "elsewhere.internal") for key, text in custom["data"].items()},
    }

    def spoil() -> None:
        replace(mn, without)
        restart_dns(de)

    with (
        owners_kept(mn, "configmap", "coredns-custom", "kube-system"),
        broken(spoil, lambda: replace(mn, custom)),
    ):
        wait_for(world, "fail", "mn.own-zone", "de-mn.other.service-name")
        assert look(world, "de.own-zone")["de.own-zone"].status == "pass"
    wait_for(world, "pass", "mn.own-zone", "de-mn.other.service-name")


@contextlib.contextmanager
def owners_kept(cluster: Cluster, kind: str, name: str, namespace: str) -> Iterator[None]:
    """Fields that the block changed by hand, and changed back, are afterwards no more kubectl's but Pulumi's alone:
    else a later `pulumi up` with another value meets a conflict, as it should.
    """
    before = get(cluster, kind, name, "-n", namespace, "--show-managed-fields")["metadata"]["managedFields"]
    try:
        yield
    finally:
        patch = json.dumps({"metadata": {"managedFields": before}})
        cluster.kubectl("patch", kind, name, "-n", namespace, "--type=merge", f"--patch={patch}")
    assert get(cluster, kind, name, "-n", namespace, "--show-managed-fields")["metadata"]["managedFields"] == before


def replace(cluster: Cluster, found: Mapping[str, Any]) -> None:
    """Replaces a ConfigMap's data and has CoreDNS read it at once: its own look at the file takes up to two minutes."""
    patch = json.dumps({"data": found["data"]})
    name, namespace = found["metadata"]["name"], found["metadata"]["namespace"]
    cluster.kubectl("patch", "configmap", name, "-n", namespace, "--type=merge", f"--patch={patch}")
    restart_dns(cluster)


def restart_dns(cluster: Cluster) -> None:
    """CoreDNS with an empty cache."""
    cluster.kubectl("rollout", "restart", "deployment/coredns", "-n", "kube-system")
    cluster.kubectl(
        "rollout", "status", "deployment/coredns", "-n", "kube-system", "--timeout=60s", deadline_seconds=70
    )


def test_a_slow_pod_fails_the_throughput(world: World) -> None:
    pod = world.probes["mn"].pod("router")
    rules = (
        "add table inet slow; add chain inet slow in { type filter hook input priority 0; }; "
        f"add rule inet slow in tcp dport {POD_PORT} limit rate over 20 mbytes/second drop"
    )

    with broken(lambda: inside_pod(pod, f"nft '{rules}'"), lambda: inside_pod(pod, "nft delete table inet slow")):
        verdict = look(world, "de-mn.throughput")["de-mn.throughput"]
        assert verdict.status == "fail"
        assert float(verdict.observed.partition(":")[0]) < 0.9
    # That it passes again would take half a minute; in test_joined.py it was seen to pass.


def test_the_measurement_leaves_no_policy_in_netbird(netbird: NetBirdApi) -> None:
    assert netbird.named("policies", "isthmus-verify-tunnel") is None


def kind(identifier: str) -> tuple[str, str]:
    """Where a check's packets start (router, other, or nowhere in particular) and what it is about."""
    _, *place, what = identifier.split(".")
    return "".join(place).partition("-")[0], what


def test_every_kind_of_check_was_seen_to_fail_from_every_place() -> None:
    """Of what the tests above have broken; a kind of check that is new needs a break of its own."""
    assert sorted({kind(name) for name in CHECKS} - {kind(name) for name in SEEN_TO_FAIL}) == []
