"""The MTU that the plan computes from an underlay is the largest that passes it, for three underlays and the default.

The narrow place is the access line of the site behind the NAT. Each underlay is set there and in the stack files of
both clusters, and one `pulumi up` of each has to be enough: the probe pods stay the same ones from the first to the
last underlay.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import pytest

from domain.mtu import VXLAN_OVERHEAD, MtuChain
from domain.places.hetzner.nodes import HETZNER_PRIVATE_MTU
from lab import line, machines
from lab.commands import wait_until
from lab.kubernetes import is_ready
from lab.project import Tools
from lab.pulumi_command import Pulumi
from lab.reporting import Silent
from lab.status import collect
from lab.topology import DEFAULT, VERIFY_NAMESPACE, HetznerSite, OnPremiseSite
from lab.verify.checks import World, all_checks
from lab.verify.judging import IP_ICMP_HEADERS
from lab.verify.results import CheckResult
from lab.verify.run import make, planned_chain, world_of
from lab.verify.workload import PLACEMENTS, PORT, Placement, ProbePod, Probes, probe_pod
from tests.domain.samples import REMOVE
from tests.link.assertions import told
from tests.link.changing import UNCHANGED, change_settings, changes_ahead, config_of, last_changes, stack_files_kept, up
from tests.link.conftest import raised_anew_next
from tests.link.inside_pod import forget_path_mtus, route_mtu, sending_up_to

pytestmark = [pytest.mark.link, pytest.mark.thorough]

UNDERLAYS: Final = (
    pytest.param(1500, id="ethernet"),
    # 1500, less 8 of PPPoE (RFC 2516) and 40 of the tunnel (RFC 6333)
    pytest.param(1452, id="ds-lite-over-pppoe"),
    pytest.param(1358, id="mobile"),  # what 3GPP TS 23.060 advises the terminals of a mobile network to use
    # Nothing is said of the underlay: the defaults, with which the lab is raised. The last one, so it stays.
    pytest.param(None, id="default"),
)
"""MTU of the line, in bytes; WireGuard's padding to 16 bytes shows with 1358, whose wt0 is no multiple of it."""
at_every_stage = pytest.mark.parametrize("stage", UNDERLAYS, indirect=True, scope="module")
at_computed_stages = pytest.mark.parametrize("stage", UNDERLAYS[:-1], indirect=True, scope="module")
"""Those at which the plan is the largest that passes; by default it is smaller than the line, and fits nearly any."""
PLANNED: Final[Mapping[int | None, MtuChain]] = {
    # Hetzner's private network takes 1450: that, and not wt0, is the bound over Ethernet.
    1500: MtuChain(netbird=1440, cilium=1450),
    1452: MtuChain(netbird=1392, cilium=1432),
    1358: MtuChain(netbird=1298, cilium=1338),
    None: MtuChain(netbird=1280, cilium=1280),
}

STACKS: Final = [site.name for site in DEFAULT.sites]
CHECKS: Final = [
    check for check in all_checks(DEFAULT) if not check.alone and not check.id.endswith(".session-affinity")
]
"""Which pod a client stays with is no matter of sizes, and was seen to fail here once, see docs/evidence.md."""
CLUSTERS: Final = (("de", "mn"), ("mn", "de"))
"""Both ways of the link that crosses the line."""
PINGS: Final = 3
SETTLE_SECONDS: Final = 240.0
"""As after any restart of a router; here both are made anew at about the same time. 55 s have been seen."""
STEADY_SECONDS: Final = 15.0
"""The pauses that were seen began within a few seconds after all had passed."""
PAUSE_SECONDS: Final = 30.0
"""After all has passed once; see :func:`wait_until_all_pass`."""
BUDGET_SECONDS: Final = 240.0
"""For one change of the MTU: two `pulumi up` beside each other, until the link carries packets of the new size."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The lab with one underlay: ``world`` has the probe pods, ``chain`` what the plan says for both clusters."""

    underlay: int | None
    chain: MtuChain
    world: World
    seconds: float
    """From the change of the files to the first packet of the planned size."""

    @property
    def line_mtu(self) -> int:
        """What the line takes."""
        return self.underlay or line.FULL_MTU


@pytest.fixture(scope="module")
def site() -> OnPremiseSite:
    """The site whose line is changed."""
    return DEFAULT.workstation_site


@pytest.fixture(scope="module")
def world(tools: Tools, pulumi: Pulumi, site: OnPremiseSite, request: pytest.FixtureRequest) -> Iterator[World]:
    """Probe pods for the whole module. Line, stack files and clusters are afterwards what they were before; not the
    clusters where the next tests raise them anew.
    """
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(world_of(DEFAULT, tools, Silent()))
        if not raised_anew_next(request):
            stack.callback(_put_back, pulumi, made)
        stack.enter_context(stack_files_kept(STACKS))
        stack.enter_context(line.of_mtu(site, line.FULL_MTU))
        yield made


def _put_back(pulumi: Pulumi, world: World) -> None:
    """After a stage that failed, or a run of some stages only, the clusters are not as the stack files say."""
    up(pulumi, STACKS)
    chain = planned_chain(STACKS[0])
    wait_for_link(replace(world, pod_mtu=dict.fromkeys(STACKS, chain.pod)), chain)


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest, world: World, site: OnPremiseSite, pulumi: Pulumi) -> Stage:
    """The lab with this underlay, after one `pulumi up` of every stack."""
    underlay: int | None = request.param
    start = time.monotonic()
    line.set_mtu(site, underlay or line.FULL_MTU)
    for stack in STACKS:
        if underlay is not None:
            change_settings(stack, {"netbird.underlay_mtu": underlay})
        elif "underlay_mtu" in config_of(stack)["isthmus:netbird"]:
            change_settings(stack, {"netbird.underlay_mtu": REMOVE})
    up(pulumi, STACKS)
    chain = planned_chain(STACKS[0])
    planned = replace(world, pod_mtu=dict.fromkeys(STACKS, chain.pod))
    wait_for_link(planned, chain)
    seconds = time.monotonic() - start - STEADY_SECONDS
    return Stage(underlay=underlay, chain=chain, world=planned, seconds=seconds)


def wait_for_link(world: World, chain: MtuChain) -> None:
    """Waits until every wt0 and every probe pod have the planned MTU and all that has to has passed for
    :data:`STEADY_SECONDS` on end, by the direct path; what is missing is in the error.

    One way that carries the new size is not enough. A new wt0 has its tunnel by NetBird's relay first and directly some
    seconds later; each router's Cilium agent attaches its programs to it at its own time (on a busy machine one
    direction passed 13 s before the other); and names come last: the DNS relay has to find its address again, and
    CoreDNS keeps a failure for some seconds. Then the link may pause once more (:func:`wait_until_all_pass`).
    """
    tools = world.probes[STACKS[0]].cluster.tools
    last: list[str] = []
    since: list[float] = []
    """When all passed for the first time without a look since in which something did not."""

    def settled() -> bool:
        last[:] = [f"wt0 of {name}: {found}" for name in STACKS if (found := wt0_mtu(world, name)) != chain.netbird]
        last.extend(
            f"{name}/{pod.name}: {found}"
            for name in STACKS
            for pod in world.probes[name].pods
            if (found := route_mtu(pod)) != chain.pod
        )
        if not last:
            status = collect(DEFAULT, tools)
            if not status.in_health or any(link.path != "direct" for link in status.links):
                last.append(told(status))
        if not last:
            # Whoever tries the new size while a part of the way still has the old one is told so, and remembers it.
            forget_path_mtus([pod for name in STACKS for pod in world.probes[name].pods])
            last.extend(
                f"{identifier}: {verdict.observed}"
                for identifier, verdict in look(world, "").items()
                if verdict.status != "pass"
            )
        if last:
            since.clear()
            return False
        since[:] = since or [time.monotonic()]
        return time.monotonic() - since[0] >= STEADY_SECONDS

    wait_until(
        settled,
        what=f"The link has MTU {chain.netbird}, its pods {chain.pod}",
        deadline_seconds=SETTLE_SECONDS,
        state=lambda: "; ".join(last) or "all passed, not for long enough",
        every_seconds=0.5,
    )


def look(world: World, *endings: str) -> dict[str, CheckResult]:
    """All checks with such an ending."""
    return {
        result.id: result for result in make([check for check in CHECKS if check.id.endswith(endings)], world, Silent())
    }


def wt0_mtu(world: World, cluster: str) -> int:
    """Of the cluster's router; 0 while it has no wt0."""
    done = machines.exec(world.probes[cluster].router.node, ["cat", "/sys/class/net/wt0/mtu"])
    return int(done.stdout) if done.returncode == 0 else 0


def replies(world: World, source: str, placement: Placement, target: ProbePod, length: int) -> int:
    """How many of :data:`PINGS` packets of ``length`` bytes that must not be broken up have their reply."""
    answer = world.sessions[source, placement].ask(
        "ping", address=target.address, count=PINGS, seconds=2, size=length - IP_ICMP_HEADERS, df=True
    )
    assert "error" not in answer, answer
    assert "too long" not in answer["text"], f"{source}/{placement} itself refuses {length} bytes: {answer['text']}"
    return int(answer["received"])


@at_every_stage
def test_the_plan_is_what_is_proved_here(stage: Stage) -> None:
    assert stage.chain == PLANNED[stage.underlay]
    assert {name: planned_chain(name) for name in STACKS} == dict.fromkeys(STACKS, stage.chain)


@at_every_stage
def test_one_up_brings_the_mtu_to_everything_in_place(stage: Stage, pulumi: Pulumi) -> None:
    assert stage.seconds < BUDGET_SECONDS
    for stack in STACKS:
        changes = last_changes(pulumi, stack)
        assert set(changes) <= {*UNCHANGED, "update"}, changes
    found = {f"{name}/{pod.name}": route_mtu(pod) for name in STACKS for pod in stage.world.probes[name].pods}
    assert found == dict.fromkeys(found, stage.chain.pod), "pods that were there before"
    assert {name: wt0_mtu(stage.world, name) for name in STACKS} == dict.fromkeys(STACKS, stage.chain.netbird)
    if stage.underlay is None:
        # The lab is as it was raised.
        assert changes_ahead(pulumi, STACKS) == {}


@at_every_stage
def test_the_planned_size_passes_everywhere_in_one_piece_and_one_byte_more_does_not(
    stage: Stage, site: OnPremiseSite
) -> None:
    with line.watched(line.ends(site), length=stage.chain.underlay) as crossed:
        wait_until_all_pass(stage.world)
        for source, target in CLUSTERS:
            transfer(stage.world, source, target)
        seen = crossed()
    assert {way: counts.fragments for way, counts in seen.items()} == {"out": 0, "in": 0}, (
        f"fragments on the line: {seen}"
    )


def wait_until_all_pass(world: World) -> None:
    """Waits until all checks pass in one look, the sizes among them.

    The link has been seen to pause once more after all had passed, for 5 to 9 s (docs/evidence.md). What is asked here
    is the size of what passes, so it is asked until the link carries; a size that is wrong is so in every look.
    """
    looks: list[dict[str, str]] = []

    def passed() -> bool:
        results = look(world, "").values()
        looks.append({result.id: result.observed for result in results if result.status != "pass"})
        return bool(results) and not looks[-1]

    wait_until(passed, what="Everything passes", deadline_seconds=PAUSE_SECONDS, state=lambda: str(looks[-1]))


def transfer(world: World, source: str, target: str) -> None:
    """A second of TCP from pod to pod, in segments as large as they get; begun anew as in :func:`wait_until_all_pass`
    until it passes.
    """
    address = world.probes[target].pod("other").address
    said: list[str] = []

    def done() -> bool:
        # A server that nobody has reached is still there, and another one beside it ends at once.
        started = world.sessions[target, "other"].ask("serve_iperf", port=5303)
        answer = world.sessions[source, "other"].ask("iperf", address=address, port=5303, seconds=1)
        said[:] = [f"{started}, {answer}"]
        return answer.get("ok") is True

    wait_until(done, what=f"TCP from {source} to {target}", deadline_seconds=PAUSE_SECONDS, state=lambda: said[-1])


@at_computed_stages
def test_one_byte_more_is_lost_even_when_the_pods_may_send_it(stage: Stage) -> None:
    """Between pods of other nodes, whose packets cross every layer of the chain."""
    world, planned = stage.world, stage.chain.pod
    pods = [world.probes[name].pod("other") for name in STACKS]
    found = {}
    with sending_up_to(planned + 1, pods):
        for source, target in CLUSTERS:
            pod = world.probes[target].pod("other")
            found[source] = tuple(replies(world, source, "other", pod, length) for length in (planned, planned + 1))
    assert found == dict.fromkeys(found, (PINGS, 0)), f"replies to packets of {planned} and {planned + 1} bytes"


@at_every_stage
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_redirect_into_wt0_takes_ten_bytes_less_than_wt0(stage: Stage, placement: Placement) -> None:
    """What :data:`domain.mtu.REDIRECT_MARGIN` says, to the byte; towards the router's own node, where VXLAN is no
    bound.
    """
    world, limit = stage.world, stage.chain.limit
    found = {}
    for source, target in CLUSTERS:
        if placement == "other" and isinstance(DEFAULT.site(source), HetznerSite) and not fits_private_network(limit):
            continue
        ends = [world.probes[source].pod(placement), world.probes[target].pod("router")]
        with sending_up_to(limit + 1, ends):
            found[source] = tuple(replies(world, source, placement, ends[1], length) for length in (limit, limit + 1))
    assert found == dict.fromkeys(found, (PINGS, 0)), f"replies to packets of {limit} and {limit + 1} bytes"


def fits_private_network(pod_packet: int) -> bool:
    """Whether VXLAN takes it between two Hetzner servers."""
    return pod_packet + VXLAN_OVERHEAD <= HETZNER_PRIVATE_MTU


@at_computed_stages
@pytest.mark.parametrize(("source", "target"), CLUSTERS)
def test_a_larger_wt0_would_not_pass_the_line_in_one_piece(
    stage: Stage, site: OnPremiseSite, source: str, target: str
) -> None:
    router, pod = stage.world.probes[source].router.node, stage.world.probes[target].pod("router")
    way = "out" if source == site.name else "in"
    planned = stage.chain.netbird

    def send(length: int) -> tuple[bool, line.Arrived]:
        with line.watched(line.ends(site), length=stage.line_mtu) as crossed:
            machines.exec(router, ping(pod.address, length))
            seen = crossed()
        return seen[way].of_length > 0, seen[way]

    whole, seen = send(planned)
    assert whole, f"{planned} bytes through wt0: {seen}"
    assert seen.fragments == 0, f"{planned} bytes through wt0: {seen}"
    set_wt0(router, planned + 1)
    try:
        whole, seen = send(planned + 1)
    finally:
        set_wt0(router, planned)
    assert seen.fragments > 0, f"{planned + 1} bytes through wt0: {seen}"


def ping(address: str, length: int) -> list[str]:
    size = str(length - IP_ICMP_HEADERS)
    return ["ping", "-n", "-c", str(PINGS), "-i", "0.2", "-w", "2", "-M", "do", "-s", size, address]


def set_wt0(router: str, size: int) -> None:
    machines.exec(router, ["ip", "link", "set", "wt0", "mtu", str(size)], check=True)


@at_computed_stages
def test_a_new_pod_has_the_planned_mtu(stage: Stage) -> None:
    with ThreadPoolExecutor() as pool:
        found = dict(zip(STACKS, pool.map(mtu_of_new_pod, map(stage.world.probes.__getitem__, STACKS)), strict=True))
    assert found == dict.fromkeys(STACKS, stage.chain.pod)


def mtu_of_new_pod(probes: Probes) -> int:
    """The MTU of the default route of a pod that is made for this and removed again, on the router's node."""
    cluster, name = probes.cluster, "new"
    cluster.apply([probe_pod(name, {}, probes.router.node, PORT, {})])

    def ready() -> bool:
        pods = cluster.get("pods", namespace=VERIFY_NAMESPACE)
        return any(is_ready(pod) for pod in pods if pod["metadata"]["name"] == name)

    try:
        wait_until(ready, what=f"The new pod of {cluster.name} is ready", deadline_seconds=60, every_seconds=0.3)
        shown = cluster.execute(VERIFY_NAMESPACE, name, "probe", ["ip", "route", "show", "default"])
    finally:
        cluster.kubectl("delete", "pod", name, "-n", VERIFY_NAMESPACE, "--wait=true", deadline_seconds=60)
    return int(shown.partition(" mtu ")[2].split()[0])
