"""What is seen and mended on a node, in a network of its own, against the kernel and what ``ip`` says."""

from __future__ import annotations

import asyncio
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from keeper import netlink
from keeper.mending import MendMemory, NodeFacts, faults, mend
from keeper.netlink import Changes, Netlink
from keeper.own_node import OwnNode
from lab.commands import wait_until

pytestmark = [pytest.mark.link, pytest.mark.usefixtures("own_network")]

RANGE = "10.52.0.0/16"


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def sh_of(text: str) -> str:
    return subprocess.run(["sh", "-ec", text], check=True, capture_output=True, text=True).stdout


def sh(text: str) -> None:
    subprocess.run(["sh", "-ec", text], check=True)


def a_router() -> None:
    """As NetBird leaves a node, and Cilium, which is not asked about programs here."""
    sh(
        "ip link add cilium_host type veth peer name cilium_net;"
        "ip link add wt0 type veth peer name far; ip link set far up;"
        "ip addr add 100.92.0.7/16 dev wt0; ip link set wt0 up;"
        f"ip route add {RANGE} dev wt0 table 7120; ip rule add priority 105 lookup main suppress_prefixlength 0;"
        "ip rule add priority 110 not fwmark 0x1bd00 lookup 7120; echo 1 >/proc/sys/net/ipv4/ip_forward"
    )
    # The carrier is there a moment after the command, and its coming is a change as well.
    wait_until(
        lambda: ip("link").count("state UP") == 2, what="Both ends are up", deadline_seconds=10, every_seconds=0.01
    )


def look() -> NodeFacts:
    return asyncio.run(OwnNode().look("wt0"))[0]


def settle(memory: MendMemory) -> tuple[MendMemory, tuple[str, ...], list[str]]:
    """Looks and mends until there is nothing to be done; the last faults, and what was mended."""
    node = OwnNode()
    done: list[str] = []
    for now in range(5):
        facts, _ = asyncio.run(node.look("wt0"))
        memory, actions = mend("wt0", memory, facts, float(now))
        for action in actions:
            node.mend(action, "wt0")
            done.append(action.what)
    return memory, faults("wt0", memory, facts, 0.0), done


def test_a_router_in_order() -> None:
    a_router()
    facts = look()
    assert facts.forwarding
    assert facts.interface is not None
    assert facts.interface.up
    assert facts.address == "100.92.0.7"
    assert [(rule.priority, rule.table) for rule in facts.rules] == [(105, 254), (110, 7120)]
    assert [route.to for route in facts.routes] == [RANGE]
    assert not facts.silent
    index = facts.interface.index
    assert OwnNode().routed([RANGE], index)
    assert not OwnNode().routed([RANGE, "10.99.0.0/16"], index)
    assert settle(MendMemory())[1:] == ((), [])


def test_a_node_without_a_tunnel() -> None:
    facts = look()
    assert (facts.interface, facts.address, facts.rules, facts.routes) == (None, "", (), ())
    assert "there is no wt0" in faults("wt0", MendMemory(), facts, 0.0)


def test_rules_that_others_take_away_are_laid_again_as_they_were() -> None:
    a_router()
    sh("ip rule add priority 101 to 10.52.0.0/16 lookup 7120")
    memory, _, _ = settle(MendMemory())
    before = ip("rule", "show")
    sh("ip rule del priority 105; ip rule del priority 110")
    assert "1bd00" not in ip("rule", "show")
    _, found, done = settle(memory)
    assert (found, done) == ((), ["ip rules"])
    assert ip("rule", "show") == before


def test_an_interface_that_was_set_down_comes_up_with_its_routes() -> None:
    a_router()
    memory, _, _ = settle(MendMemory())
    before = ip("route", "show", "table", "7120")
    sh("ip link set wt0 down")
    facts = look()
    assert faults("wt0", memory, facts, 0.0) == ("wt0 is down",)
    assert ip("route", "show", "table", "7120") == ""
    _, found, done = settle(memory)
    assert (found, done) == ((), ["interface"])
    assert ip("route", "show", "table", "7120") == before


def test_forwarding_that_was_switched_off_is_switched_on() -> None:
    a_router()
    memory, _, _ = settle(MendMemory())
    sh("echo 0 >/proc/sys/net/ipv4/ip_forward")
    assert faults("wt0", memory, look(), 0.0) == ("net.ipv4.ip_forward is 0",)
    _, found, done = settle(memory)
    assert (found, done) == ((), ["forwarding"])
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "1\n"


def test_what_can_not_be_written_is_an_error(tmp_path: Path) -> None:
    sh("echo 0 >/proc/sys/net/ipv4/ip_forward")
    file = tmp_path / "ip_forward"
    file.mkdir()
    node = OwnNode(forwarding=[file])
    (action,) = mend("wt0", MendMemory(), NodeFacts(forwarding=False), 0.0)[1]
    with pytest.raises(OSError, match="directory"):
        node.mend(action, "wt0")


@pytest.mark.skipif(shutil.which("nft") is None, reason="there is no nft here")
def test_netbirds_packet_filter_is_laid_again_when_it_is_flushed() -> None:
    a_router()
    sh(
        "nft add table ip netbird; nft add chain ip netbird netbird-rt-fwd;"
        "nft add rule ip netbird netbird-rt-fwd iifname wt0 drop; nft add table ip filter"
    )
    memory, found, done = settle(MendMemory())
    assert (memory.filtering, found, done) == (True, (), [])
    before = sh_of("nft list table ip netbird")
    sh("nft flush ruleset")
    assert faults("wt0", memory, look(), 0.0) == ("NetBird's packet filter is gone",)
    memory, found, done = settle(memory)
    assert (found, done) == ((), ["packet filter"])
    assert sh_of("nft list ruleset") == before
    # Its rules alone.
    sh("nft flush table ip netbird")
    assert faults("wt0", memory, look(), 0.0) == ("parts of NetBird's packet filter are gone",)
    assert settle(memory)[1:] == ((), ["packet filter"])
    assert sh_of("nft list ruleset") == before


@pytest.mark.skipif(shutil.which("iptables") is None, reason="there is no iptables here")
def test_netbirds_chains_of_iptables_are_missed_when_they_are_flushed() -> None:
    a_router()
    sh("iptables -N NETBIRD-RT-FWD-IN")
    memory, found, _ = settle(MendMemory())
    assert (memory.filtering, memory.tables, found) == (True, (), ())
    sh("iptables -X NETBIRD-RT-FWD-IN")
    facts = look()
    memory, actions = mend("wt0", memory, facts, 10.0)
    assert actions == ()
    memory, (action,) = mend("wt0", memory, facts, 11.0)
    assert (action.what, action.reason) == ("agent", "NetBird's packet filter was gone")
    # Not again and again.
    assert mend("wt0", memory, facts, 12.0)[1] == ()


@pytest.mark.skipif(shutil.which("iptables") is None, reason="there is no iptables here")
def test_chains_of_iptables_count_as_well() -> None:
    a_router()
    sh("iptables -N NETBIRD-RT-FWD-IN")
    assert look().filtering


@pytest.mark.parametrize(
    "change",
    [
        "ip link set wt0 down",
        "ip addr add 100.92.0.8/16 dev wt0",
        "ip rule del priority 110",
        f"ip route del {RANGE} dev wt0 table 7120",
        "echo 0 >/proc/sys/net/ipv4/ip_forward",
        "ip link del wt0",
    ],
)
def test_every_change_is_heard_of_at_once(change: str) -> None:
    a_router()
    changes = Changes()
    quiet(changes)
    sh(change)
    assert select.select([changes], [], [], 1)[0] == [changes]
    quiet(changes)
    changes.close()


def quiet(changes: Changes) -> None:
    """Takes what comes until nothing has for a moment. The kernel tells of a carrier on its own time, up to a second
    after the command that changed it.
    """

    def nothing_came() -> bool:
        changes.take()
        return not select.select([changes], [], [], 0.2)[0]

    wait_until(nothing_came, what="Nothing changes any more", deadline_seconds=10, every_seconds=0)


def test_a_look_costs_little() -> None:
    """On a node of a hundred pods: nothing that is asked grows with them."""
    a_router()
    sh("for n in $(seq 100); do ip link add lxc$n type veth peer name pod$n; ip route add 10.42.0.$n dev lo; done")
    node = OwnNode()
    facts, _ = asyncio.run(node.look("wt0"))
    assert facts.interface is not None
    start = time.process_time()
    for _ in range(50):
        asyncio.run(node.look("wt0"))
        node.routed([RANGE], facts.interface.index)
    assert (time.process_time() - start) / 50 < 0.01


def test_what_the_kernel_refuses_is_an_error_with_its_number() -> None:
    route = Netlink()
    with pytest.raises(OSError, match="No such device"):
        netlink.set_up(route, 4711)
    assert netlink.interface(route, "wt9") is None
    assert netlink.leaves_by(route, RANGE) == 0
    route.close()
