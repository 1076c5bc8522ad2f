"""Routers come back by themselves with the same NetBird address, and the link with them, without a `pulumi up`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import pytest

from lab import machines
from lab.commands import wait_until
from lab.faults import FAULTS
from lab.kubernetes import Cluster
from lab.status import NETBIRD_NAMESPACE, Status, router_pods
from tests.link.assertions import ALL_BUT_THROUGHPUT, all_passed, told
from tests.link.conftest import Verify
from tests.link.from_power_on import ROUNDS_BEFORE_GUARD, sending

pytestmark = pytest.mark.link

BACK_SECONDS = 120.0
REBOOT_SECONDS = 240.0


def addresses(status: Status) -> dict[str, str]:
    return {cluster.name: cluster.routers[0].netbird_ip for cluster in status.clusters}


def wait_up(status: Callable[[], Status], *, within: float) -> Status:
    """Waits until the whole lab is well."""
    last: list[str] = []

    def up() -> Status | None:
        found = status()
        last[:] = [told(found)]
        return found if found.is_whole else None

    return wait_until(
        up, what="the lab is up again", deadline_seconds=within, state=lambda: "; ".join(last), every_seconds=1.0
    )


def router_node(status: Status, cluster: str) -> str:
    return next(candidate.routers[0].node for candidate in status.clusters if candidate.name == cluster)


@pytest.mark.parametrize("name", ["de", pytest.param("mn", marks=pytest.mark.thorough)])
def test_the_agent_is_killed(name: str, status: Callable[[], Status], run_verify: Verify) -> None:
    before = wait_up(status, within=BACK_SECONDS)
    FAULTS["agent-killed"].make(router_node(before, name))
    after = wait_up(status, within=BACK_SECONDS)
    assert addresses(after) == addresses(before)
    all_passed(run_verify("icmp", "service-name", "egress-policy"))


@pytest.mark.parametrize("name", [pytest.param("de", marks=pytest.mark.thorough), "mn"])
def test_the_pod_is_deleted(
    name: str, status: Callable[[], Status], clusters: Mapping[str, Cluster], run_verify: Verify
) -> None:
    before = wait_up(status, within=BACK_SECONDS)
    cluster = clusters[name]
    old = router_pods(cluster)[0]["metadata"]
    cluster.kubectl("delete", "pod", old["name"], "-n", NETBIRD_NAMESPACE, deadline_seconds=90)
    after = wait_up(status, within=BACK_SECONDS)
    assert addresses(after) == addresses(before)
    assert [pod["metadata"]["uid"] for pod in router_pods(cluster)] != [old["uid"]]
    assert len(router_pods(cluster)) == 1
    all_passed(run_verify("icmp", "service-name", "egress-policy"))


@pytest.mark.parametrize(("name", "graceful"), [pytest.param("mn", True, marks=pytest.mark.thorough), ("de", False)])
def test_the_machine_is_rebooted(name: str, graceful: bool, status: Callable[[], Status], run_verify: Verify) -> None:
    """The wires are watched all the while (conftest.py): the packets it sends from the start are on none."""
    before = wait_up(status, within=BACK_SECONDS)
    node = router_node(before, name)
    with sending(name, node) as sender:
        start = time.monotonic()
        machines.reboot(node, graceful=graceful)
        after = wait_up(status, within=REBOOT_SECONDS)
        assert addresses(after) == addresses(before)
        all_passed(run_verify("icmp", "tcp", "service-name", "pod-name", "egress-policy", "own-zone"))
        assert time.monotonic() - start < REBOOT_SECONDS
        assert sender.rounds_before_guard() > ROUNDS_BEFORE_GUARD


def test_every_check_passes_afterwards(run_verify: Verify) -> None:
    all_passed(run_verify(*ALL_BUT_THROUGHPUT))
