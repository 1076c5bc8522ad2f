"""`lab status` judges by what a packet sees, and names the cause: each fault is made on the lab, told, and mended.

Status and the failed checks of `lab verify` have to name the same cause; after each fault the lab has to be in health,
without a cause. Probe pods run meanwhile on both kinds of nodes, so every way is probed.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from lab import machines
from lab.commands import wait_until
from lab.faults import FAULTS
from lab.kubernetes import Cluster, is_ready
from lab.netbird_api import NetBirdApi
from lab.project import Tools
from lab.reporting import Silent
from lab.status import NETBIRD_NAMESPACE, Cause, Status, collect, router_pods
from lab.topology import DEFAULT
from lab.verify.causes import with_causes
from lab.verify.checks import World, all_checks
from lab.verify.run import make, world_of
from tests.link.assertions import in_health, told
from tests.link.breaking import LabToBreak
from tests.link.changing import policy_body

pytestmark = pytest.mark.link

REPOSITORY = Path(__file__).resolve().parents[2]
CHECKS = {check.id: check for check in all_checks(DEFAULT)}
TOLD_SECONDS = 60.0
"""Until a fault that was made shows: NetBird's agents hear of a change, CoreDNS finds a relay silent."""
HEALTHY_SECONDS = 150.0


@pytest.fixture(scope="module")
def world(tools: Tools) -> Iterator[World]:
    """Probe pods on a router's node and another one in every cluster."""
    with world_of(DEFAULT, tools, Silent()) as made:
        in_health(DEFAULT, tools, within_seconds=HEALTHY_SECONDS)
        yield made


class Lab(LabToBreak):
    """What a test does with the lab: break it, look until it is told, see that it is mended."""

    def look(self) -> Status:
        return collect(DEFAULT, self.tools)

    def breaks(self, name: str, fault: str) -> None:
        FAULTS[fault].make(self.router(name))

    def until(self, condition: Callable[[Status], bool], what: str, seconds: float) -> Status:
        seen: list[Status] = []

        def reached() -> Status | None:
            seen.append(self.look())
            return seen[-1] if condition(seen[-1]) else None

        return wait_until(reached, what=what, deadline_seconds=seconds, state=lambda: told(seen[-1]), every_seconds=0.5)

    def healthy(self) -> Status:
        """Waits for health."""
        return in_health(DEFAULT, self.tools, within_seconds=HEALTHY_SECONDS)

    def told(self, source: str, target: str, cause: str, **verdict: str) -> tuple[Status, Cause]:
        """Waits until the first cause of a direction is this one, and its verdict as given."""

        def first(status: Status) -> bool:
            link = status.link(source, target)
            return [found.id for found in link.causes[:1]] == [cause] and all(
                getattr(link, name) == value for name, value in verdict.items()
            )

        status = self.until(first, f"{source} → {target}: {cause} {verdict}", TOLD_SECONDS)
        return status, status.link(source, target).causes[0]

    def verified(self, status: Status, *identifiers: str) -> str:
        """The cause that the checks of `lab verify` carry, which all have to fail and to agree."""
        checks = [CHECKS[identifier] for identifier in identifiers]
        results = with_causes(list(zip(checks, make(checks, self.world, Silent()), strict=True)), status)
        assert [result.status for result in results] == ["fail"] * len(identifiers), results
        (cause,) = {result.cause.partition("; then ")[0] for result in results}
        assert all(result.fix and "lab status" not in result.fix for result in results)
        return cause

    def routers_ready(self, name: str) -> None:
        """Waits until the API knows of every router pod that it is ready."""
        wait_until(
            lambda: (pods := router_pods(self.clusters[name])) and all(map(is_ready, pods)),
            what=f"the router pods of {name} are ready",
            deadline_seconds=HEALTHY_SECONDS,
            every_seconds=1.0,
        )

    def new_router(self, name: str) -> None:
        """A new agent lays everything anew."""
        cluster = self.clusters[name]
        for pod in router_pods(cluster):
            cluster.kubectl("delete", "pod", pod["metadata"]["name"], "-n", NETBIRD_NAMESPACE, deadline_seconds=90)


@pytest.fixture
def lab(tools: Tools, clusters: Mapping[str, Cluster], netbird: NetBirdApi, world: World) -> Iterator[Lab]:
    """A lab in health: the first test begins with it, and each one ends with it."""
    made = Lab(tools=tools, clusters=clusters, netbird=netbird, world=world)
    yield made
    made.healthy()


@contextlib.contextmanager
def mended(undo: Callable[[], object]) -> Iterator[None]:
    """Whatever happens in the block, the fault is taken back."""
    try:
        yield
    finally:
        undo()


def isthmus_status() -> tuple[int, dict[str, Any], float]:
    """`./isthmus lab status --json`: exit code, what it says, seconds."""
    start = time.monotonic()
    done = subprocess.run(
        [str(REPOSITORY / "isthmus"), "lab", "status", "--json"], capture_output=True, text=True, timeout=120, cwd="/"
    )
    return done.returncode, json.loads(done.stdout), time.monotonic() - start


def test_in_health_every_probe_passes_no_cause_is_named_and_the_exit_code_is_0(lab: Lab) -> None:
    code, found, seconds = isthmus_status()
    assert (code, found["up"], found["whole"]) == (0, True, True)
    for link in found["links"]:
        ways = {(probe["source_placement"], probe["target_placement"]) for probe in link["probes"]}
        assert len(ways) == 4, "the probe pods stand on both kinds of nodes"
        assert all(probe["passed"] for probe in [*link["probes"], *link["name_probes"]])
        assert (link["verdict"], link["names"], link["causes"], link["not_probed"]) == ("up", "up", [], [])
    assert seconds < 10.0


GUARD: Final = "ISTHMUS-[G]UARD"
KEEPER: Final = "[k]eeper.pyz"
"""Patterns that find them. The brackets keep a pattern from finding the command that looks for it."""


@contextlib.contextmanager
def stopped(lab: Lab, name: str, program: str) -> Iterator[None]:
    """For the block guard or keeper of the router, by a signal: they mend in a moment what a person has to see.

    The kubelet starts one anew that is silent for a minute, so there may be none for a moment.
    """

    def send(signal: str) -> bool:
        """Whether somebody got it."""
        code = machines.exec(lab.router(name), ["pkill", "--signal", signal, "-f", program]).returncode
        # 2 and more are its own faults (pgrep(1)).
        assert code in (0, 1), f"pkill ended with code {code}"
        return code == 0

    with mended(lambda: send("CONT")):
        wait_until(lambda: send("STOP"), what=f"{program} runs on the router of {name}", deadline_seconds=60.0)
        yield


def test_netbirds_ip_rules_deleted_and_the_guard_leads(lab: Lab) -> None:
    """The keeper lays them again when it goes on."""
    with stopped(lab, "de", KEEPER):
        for priority in ("105", "110"):
            lab.on_router("de", "ip", "-4", "rule", "delete", "priority", priority)
        status = lab.look()
        assert [status.link(*ends).verdict for ends in (("de", "mn"), ("mn", "de"))] == ["up", "up"]
        assert "rules-missing" in {cause.id for cause in status.link("de", "mn").causes}


def test_the_ip_rules_deleted(lab: Lab) -> None:
    with mended(lambda: lab.new_router("de")), stopped(lab, "de", KEEPER), stopped(lab, "de", GUARD):
        for priority in ("105", "110"):
            lab.on_router("de", "ip", "-4", "rule", "delete", "priority", priority)
        lab.on_router("de", "ip", "-4", "rule", "flush", "priority", "101")
        status, cause = lab.told("de", "mn", "rules-missing", verdict="down")
        assert (cause.where, cause.observed) == (
            f"{lab.router('de')}, router of de",
            "no ip rule with priority 105 and none with 110",
        )
        assert status.link("mn", "de").verdict == "up"
        assert lab.verified(status, "de-mn.other-other.icmp", "de-mn.router-router.tcp") == cause.sentence
        code, found, seconds = isthmus_status()
        assert (code, found["up"]) == (1, False)
        assert found["links"][0]["causes"][0]["id"] == "rules-missing"
        assert found["links"][0]["causes"][0]["fix"].startswith("kubectl --context de -n netbird delete pod ")
        assert seconds < 20.0


def test_the_packet_filter_flushed(lab: Lab) -> None:
    with mended(lambda: lab.new_router("mn")), stopped(lab, "mn", KEEPER):
        lab.breaks("mn", "nft-flushed")
        status, cause = lab.told("de", "mn", "masquerade-missing", verdict="partly")
        assert {probe.target_placement for probe in status.link("de", "mn").probes if not probe.passed} == {"other"}
        assert lab.verified(status, "de-mn.other-other.icmp", "de-mn.router-other.tcp") == cause.sentence
        # The other way loses nothing, and yet the node is open to the peer.
        back = status.link("mn", "de")
        assert back.verdict == "up"
        assert ("guard-missing", "security") in {(found.id, found.kind) for found in back.causes}
        assert not status.is_up


@pytest.mark.thorough
def test_forwarding_switched_off(lab: Lab) -> None:
    with stopped(lab, "mn", KEEPER), mended(lambda: FAULTS["forwarding-off"].undo(lab.router("mn"))):
        lab.breaks("mn", "forwarding-off")
        status, cause = lab.told("de", "mn", "forwarding-off")
        assert status.link("de", "mn").verdict in ("down", "partly")
        assert lab.verified(status, "de-mn.other-other.icmp") == cause.sentence


@contextlib.contextmanager
def policy(lab: Lab, name: str, **changes: Any) -> Iterator[None]:
    """The policy changed in NetBird for the block."""
    found = lab.netbird.named("policies", name)
    assert found is not None
    path = f"/api/policies/{found['id']}"
    whole = lab.netbird.call("GET", path)
    with mended(lambda: lab.netbird.call("PUT", path, policy_body(whole))):
        lab.netbird.call("PUT", path, policy_body(whole, **changes))
        yield


def test_a_policy_disabled_in_netbird(lab: Lab) -> None:
    with policy(lab, "isthmus-de-to-mn-pods", enabled=False):
        status, cause = lab.told("de", "mn", "policy-disabled", verdict="down")
        assert (cause.where, cause.fix.split(" (")[0]) == (
            "NetBird, isthmus-de-to-mn-pods",
            "pulumi refresh -s de && pulumi up -s de",
        )
        assert status.link("mn", "de").verdict == "up"
        assert lab.verified(status, "de-mn.other-other.icmp", "de-mn.router-other.http") == cause.sentence


def test_a_policy_widened_in_netbird_is_a_fault_though_everything_passes(lab: Lab) -> None:
    everybody = lab.netbird.named("groups", "All")
    assert everybody is not None
    own = lab.netbird.named("groups", "isthmus-mn-routers")
    assert own is not None
    with policy(lab, "isthmus-mn-to-de-pods", sources=[own["id"], everybody["id"]]):
        status, cause = lab.told("mn", "de", "policy-widened", verdict="up")
        assert (cause.kind, cause.observed) == ("security", "also lets in All")
        assert not status.is_up
        assert isthmus_status()[0] == 1


@pytest.mark.thorough
def test_a_resource_disabled_in_netbird(lab: Lab) -> None:
    pods = str(DEFAULT.site("mn").ranges.pods)
    found = [
        (network["id"], resource)
        for network in lab.netbird.list("networks")
        for resource in lab.netbird.list(f"networks/{network['id']}/resources")
        if resource["address"] == pods
    ]
    ((network, resource),) = found
    path = f"/api/networks/{network}/resources/{resource['id']}"
    body = {
        **{key: resource[key] for key in ("name", "description", "address") if key in resource},
        "groups": [group["id"] for group in resource["groups"]],
    }

    def put(*, enabled: bool) -> None:
        lab.netbird.call("PUT", path, {**body, "enabled": enabled})

    with mended(lambda: put(enabled=True)):
        put(enabled=False)
        status, cause = lab.told("de", "mn", "resource-disabled", verdict="down")
        assert lab.verified(status, "de-mn.other-other.icmp") == cause.sentence


@pytest.mark.thorough
def test_a_new_interface_that_cilium_has_not_seen(lab: Lab) -> None:
    """As after a change of the MTU, for as long as Cilium's agent takes; here its agent is stopped until it is told."""

    def agent_goes_on(*, on: bool) -> None:
        lab.on_router("de", "pkill", "--signal", "CONT" if on else "STOP", "cilium-agent")

    with mended(lambda: agent_goes_on(on=True)):
        agent_goes_on(on=False)
        pods = router_pods(lab.clusters["de"])
        lab.clusters["de"].kubectl(
            *("delete", "pod", "-n", NETBIRD_NAMESPACE, "--wait=false"), *(pod["metadata"]["name"] for pod in pods)
        )
        status, cause = lab.told("de", "mn", "programs-missing")
        assert status.link("de", "mn").verdict in ("down", "partly")
        assert (cause.where, cause.observed) == (
            f"{lab.router('de')}, router of de",
            "wt0 has none of Cilium's programs, or only some; Cilium's agent is stopped by a signal",
        )
        assert lab.verified(status, "de-mn.other-other.icmp") == cause.sentence


@pytest.mark.thorough
def test_the_interface_taken_down(lab: Lab) -> None:
    with mended(lambda: lab.new_router("mn")), stopped(lab, "mn", KEEPER):
        lab.breaks("mn", "wt0-down")
        for source, target in (("de", "mn"), ("mn", "de")):
            status, cause = lab.told(source, target, "interface-away", verdict="down")
            assert (cause.where, cause.observed) == (f"{lab.router('mn')}, router of mn", "wt0 is down")
        assert lab.verified(status, "de-mn.other-other.icmp", "mn-de.other-other.tcp") == cause.sentence


def test_a_router_frozen(lab: Lab) -> None:
    # The keeper has an agent made anew that does not answer for some seconds.
    with stopped(lab, "mn", KEEPER), mended(lambda: FAULTS["agent-stopped"].undo(lab.router("mn"))):
        lab.breaks("mn", "agent-stopped")
        status, cause = lab.told("de", "mn", "agent-frozen", verdict="down")
        assert cause.where == f"{lab.router('mn')}, router of mn"
        assert f"lab shell {lab.router('mn')} -- kill -CONT " in cause.fix
        assert lab.verified(status, "de-mn.other-other.icmp", "de-mn.router-router.tcp") == cause.sentence
        assert isthmus_status()[2] < 20.0


@pytest.mark.thorough
def test_the_egress_policy_deleted(lab: Lab) -> None:
    de = lab.clusters["de"]
    found = json.loads(de.kubectl("get", "ciliumegressgatewaypolicies", "isthmus-to-mn", "--output=json").stdout)
    metadata = {key: found["metadata"][key] for key in ("name", "labels", "annotations") if key in found["metadata"]}
    manifest = {**{key: found[key] for key in ("apiVersion", "kind", "spec")}, "metadata": metadata}
    with mended(lambda: de.apply([manifest])):
        de.kubectl("delete", "ciliumegressgatewaypolicies", "isthmus-to-mn")
        status, cause = lab.told("de", "mn", "egress-policy-missing")
        assert status.link("de", "mn").verdict in ("down", "partly")
        assert not status.link("de", "mn").policy
        assert lab.verified(status, "de-mn.other-other.icmp", "de.egress-policy") == cause.sentence


def test_a_dns_relay_frozen_costs_names_and_no_packet(lab: Lab) -> None:
    relay = "pgrep -x coredns | while read p; do [ /proc/$p/ns/net -ef /proc/self/ns/net ] && kill -{} $p; done; true"
    with mended(lambda: lab.on_router("mn", "sh", "-c", relay.format("CONT"))):
        lab.on_router("mn", "sh", "-c", relay.format("STOP"))
        status, cause = lab.told("de", "mn", "relay-frozen", verdict="up", names="down")
        assert cause.where == f"{lab.router('mn')}, router of mn"
        assert not status.is_up


@pytest.mark.thorough
def test_a_rule_that_drops_netbirds_addresses_costs_names_and_no_packet(lab: Lab) -> None:
    """Tailscale lays it on a machine. What is forwarded passes; what the node itself gets from its peers does not."""
    rule = ("ts-input", "-s", "100.64.0.0/10", "!", "-i", "tailscale0", "-j", "DROP")

    def undo() -> None:
        for command in (("-D", "INPUT", "-j", "ts-input"), ("-F", "ts-input"), ("-X", "ts-input")):
            lab.on_router("mn", "iptables", *command)

    with mended(undo):
        for command in (("-N", "ts-input"), ("-A", *rule), ("-I", "INPUT", "-j", "ts-input")):
            lab.on_router("mn", "iptables", *command)
        for source, target in (("de", "mn"), ("mn", "de")):
            status, cause = lab.told(source, target, "peers-dropped", verdict="up", names="down")
            assert cause.where == f"{lab.router('mn')}, router of mn"
            (address,) = (
                router.netbird_ip for cluster in status.clusters if cluster.name == "de" for router in cluster.routers
            )
            assert f"from the router of de or go there ({address})" in cause.observed
            assert 'iifname != "tailscale0" ip saddr 100.64.0.0/10 counter packets ' in cause.observed


@pytest.mark.thorough
def test_a_kubelet_away_takes_no_packet_down(lab: Lab) -> None:
    node = lab.router("mn")

    def not_ready() -> bool:
        return any(
            found["metadata"]["name"] == node and not is_ready(found) for found in lab.clusters["mn"].get("nodes")
        )

    with mended(lambda: machines.exec(node, ["systemctl", "start", "k3s-agent.service"], check=True)):
        machines.exec(node, ["systemctl", "stop", "k3s-agent.service"], check=True)
        wait_until(not_ready, what=f"{node} is not ready", deadline_seconds=120.0, every_seconds=1.0)
        code, found, _ = isthmus_status()
        for link in found["links"]:
            first = link["causes"][0]
            assert (link["verdict"], first["id"], first["where"]) == ("up", "kubelet-away", f"{node} of mn")
            # Names are lost where Kubernetes takes the only pod that serves them out of its Service.
            lost = link["names"] != "up"
            assert (first["kind"], first["explains_names"]) == (("fault", True) if lost else ("remark", False))
        named = all(link["names"] == "up" for link in found["links"])
        assert (code, found["up"], found["whole"]) == (0 if named else 1, named, False)
    # The link is in health before the kubelet has told the API of every pod; what comes next needs the pod as well.
    lab.routers_ready("mn")


@pytest.mark.thorough
def test_the_peers_router_switched_off(lab: Lab) -> None:
    node = lab.router("mn")
    with mended(lambda: machines.start(node)):
        machines.stop(node, graceful=False)
        status, cause = lab.told("de", "mn", "machine-off", verdict="down")
        assert (cause.where, cause.observed) == (f"{node} of mn", "the machine does not run")
        assert status.link("mn", "de").verdict == "down"
        assert isthmus_status()[2] < 20.0
    machines.wait_boot(node)
    lab.routers_ready("mn")
