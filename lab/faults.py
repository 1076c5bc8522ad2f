"""What can happen to a router, made on a machine of the lab, and undone; for tests and `./isthmus benchmark failover`.

A fault is two functions of a machine's name. What needs a new agent afterwards, because nothing but an agent's start
lays it again, says so. Nothing here waits for health; whoever makes a fault looks for that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from domain.guard import RULE_PRIORITIES
from domain.overlay import NETBIRD_INTERFACE
from lab import line, machines
from lab.errors import LabError
from lab.status.findings import RULES

_AGENT: Final = ("pkill", "--exact", "netbird", "--signal")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that happens to the router on a machine."""

    name: str
    """For the command line and for programs."""
    title: str
    make: Callable[[str], None]
    undo: Callable[[str], None]
    takes_pods: bool = False
    """The pods of that machine go with it."""
    new_agent: bool = False
    """Undone only by a new agent, after :attr:`undo`: its pod is deleted."""


def _in(*command: str) -> Callable[[str], None]:
    """A command in the machine that has to succeed."""

    def run(node: str) -> None:
        machines.exec(node, command, check=True)

    return run


def _nothing(_: str) -> None:
    """There is nothing to undo."""


def _go_on(node: str) -> None:
    """The agent, if it is still there: the keeper has one that does not answer made anew."""
    if machines.exec(node, [*_AGENT, "CONT"]).returncode > 1:
        raise LabError(f"pkill failed on {node}")


def _power_on(node: str) -> None:
    machines.start(node)
    machines.wait_boot(node)


def _delete_rules(node: str) -> None:
    """NetBird's rules and the first of the guard's, which leads to the same table; the guard looks once a second."""
    for priority in sorted(RULES):
        machines.exec(node, ["ip", "-4", "rule", "delete", "priority", str(priority)], check=True)
    machines.exec(node, ["ip", "-4", "rule", "flush", "priority", str(RULE_PRIORITIES[0])], check=True)


_ALL: Final = (
    # The kubelet starts a killed agent again, at first at once and later after growing pauses; a new pod has none.
    Fault(name="agent-killed", title="agent killed", make=_in(*_AGENT, "KILL"), undo=_nothing, new_agent=True),
    Fault(
        name="machine-dead",
        title="machine without power",
        make=machines.cut_power,
        undo=_power_on,
        takes_pods=True,
    ),
    Fault(name="line-cut", title="line to the Internet cut", make=line.cut, undo=line.mend),
    Fault(
        name="forwarding-off",
        title="ip_forward=0",
        make=_in("sysctl", "-w", "net.ipv4.ip_forward=0"),
        undo=_in("sysctl", "-w", "net.ipv4.ip_forward=1"),
    ),
    Fault(
        name="wt0-down",
        title=f"{NETBIRD_INTERFACE} down",
        make=_in("ip", "link", "set", NETBIRD_INTERFACE, "down"),
        undo=_nothing,
        new_agent=True,
    ),
    Fault(name="rules-deleted", title="ip rules deleted", make=_delete_rules, undo=_nothing, new_agent=True),
    Fault(name="agent-stopped", title="agent stopped (SIGSTOP)", make=_in(*_AGENT, "STOP"), undo=_go_on),
    Fault(
        name="nft-flushed",
        title="nft flush ruleset",
        make=_in("nft", "flush", "ruleset"),
        undo=_nothing,
        new_agent=True,
    ),
)

FAULTS: Final[Mapping[str, Fault]] = {fault.name: fault for fault in _ALL}
"""Every fault by its name, in the order in which they are told."""
