"""Rules for machines on-premise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from domain.nodes import FIRST_GENERATION
from domain.overlay import PEER_NAME_LIMIT, router_hostname
from domain.places.on_premise.access import access_unclear, is_given, one_access
from domain.places.on_premise.model import Machine
from domain.problems import Problem
from domain.settings.draft import StackDraft, known, without_effect
from domain.values.forwarders import FORWARD_SERVERS_LIMIT

ROUTERS_LIMIT: Final = FORWARD_SERVERS_LIMIT


def _machines(draft: StackDraft) -> Sequence[Machine]:
    return known(draft.settings, "on_premise", "machines") or ()


def machines_in_network(draft: StackDraft) -> Iterator[Problem]:
    """Every machine's address is a host's address of the node CIDR."""
    nodes = known(draft.settings, "network", "node_cidr")
    if nodes is None:
        return
    for index, machine in enumerate(_machines(draft)):
        address, setting = known(machine, "address"), f"on_premise.machines.{index}.address"
        if address is None:
            continue
        if address not in nodes:
            yield Problem(
                draft.stack,
                setting,
                str(address),
                f"is not in network.node_cidr {nodes}",
                "correct it, or give the node CIDR that holds all machines",
            )
        elif address in (nodes[0], nodes[-1]):
            yield Problem(
                draft.stack,
                setting,
                str(address),
                f"is the network's own or broadcast address of {nodes}",
                "correct it",
            )


def machines_distinct(draft: StackDraft) -> Iterator[Problem]:
    """No two machines have the same name or address."""
    for field in ("name", "address"):
        seen: dict[str, int] = {}
        for index, machine in enumerate(_machines(draft)):
            value = known(machine, field)
            if value is None:
                continue
            if str(value) in seen:
                yield Problem(
                    draft.stack,
                    f"on_premise.machines.{index}.{field}",
                    str(value),
                    f"is that of on_premise.machines.{seen[str(value)]}, too",
                    "every machine needs its own",
                )
            else:
                seen[str(value)] = index


def routers_on_premise(draft: StackDraft) -> Iterator[Problem]:
    """One machine at least carries the link, and no more than a peer's DNS relay can ask."""
    machines = _machines(draft)
    if not machines or not all(hasattr(machine, "router") for machine in machines):
        return
    routers = [index for index, machine in enumerate(machines) if machine.router]
    if not routers:
        yield Problem(
            draft.stack,
            "on_premise.machines",
            "",
            "has no router; nothing would carry the link",
            "write router: true on one machine",
        )
    for index in routers if len(routers) > 1 else []:
        name = router_hostname(draft.stack, known(machines[index], "name") or "")
        if len(name) > PEER_NAME_LIMIT:
            yield Problem(
                draft.stack,
                f"on_premise.machines.{index}.router",
                "true",
                f"needs the name {name} in NetBird, where a name has at most {PEER_NAME_LIMIT} characters",
                "make another machine a router, or have one router alone, which needs no name of its own",
            )
    for index in routers[ROUTERS_LIMIT:]:
        yield Problem(
            draft.stack,
            f"on_premise.machines.{index}.router",
            "true",
            f"makes more than {ROUTERS_LIMIT} routers; CoreDNS asks no more of a peer's relays",
            f"write router: true on at most {ROUTERS_LIMIT} machines",
        )


def servers_on_premise(draft: StackDraft) -> Iterator[Problem]:
    """An odd number of machines runs the API, where the program raises the cluster."""
    machines = _machines(draft)
    if (
        is_given(draft.settings)
        or access_unclear(draft.settings)
        or not machines
        or not all(hasattr(machine, "role") for machine in machines)
    ):
        return
    if not all(machine.role for machine in machines):
        return
    count = sum(machine.role == "server" for machine in machines)
    if count == 0:
        yield Problem(
            draft.stack,
            "on_premise.machines",
            "",
            "has no server; nobody would run the API",
            "write role: server on at least one machine",
        )
    elif count % 2 == 0:
        yield Problem(
            draft.stack,
            "on_premise.machines",
            "",
            f"has {count} servers; etcd needs a majority, and an even number adds none that may be lost",
            f"make it {count - 1} or {count + 1}",
        )


def roles_with_ssh(draft: StackDraft) -> Iterator[Problem]:
    """Roles are there if and only if the program installs k3s on the machines."""
    over_ssh = known(draft.settings, "on_premise", "ssh") is not None
    if access_unclear(draft.settings):
        return
    for index, machine in enumerate(_machines(draft)):
        setting = f"on_premise.machines.{index}.role"
        if over_ssh and hasattr(machine, "role") and machine.role is None:
            yield Problem(
                draft.stack, setting, "", "is missing; k3s is installed by it", "write role: server, or role: agent"
            )
        elif not over_ssh and is_given(draft.settings) and known(machine, "role") is not None:
            yield without_effect(draft, setting, "an existing cluster has its roles")


def host_keys_with_ssh(draft: StackDraft) -> Iterator[Problem]:
    """Host keys are there if and only if the machines are reached over SSH."""
    over_ssh = known(draft.settings, "on_premise", "ssh") is not None
    if not over_ssh and not is_given(draft.settings):
        return
    for index, machine in enumerate(_machines(draft)):
        setting = f"on_premise.machines.{index}.host_key"
        if not hasattr(machine, "host_key"):
            continue
        if over_ssh and machine.host_key is None:
            yield Problem(
                draft.stack,
                setting,
                "",
                "is missing; a first connection can't be verified without it",
                "copy the line of /etc/ssh/ssh_host_ed25519_key.pub on the machine",
            )
        elif not over_ssh and machine.host_key is not None:
            yield without_effect(draft, setting, "nothing is reached over SSH")


def generations_with_ssh(draft: StackDraft) -> Iterator[Problem]:
    """Nodes are made anew only where the program installs k3s on the machines."""
    if known(draft.settings, "on_premise", "ssh") is not None or not is_given(draft.settings):
        return
    for index, machine in enumerate(_machines(draft)):
        if (known(machine, "generation") or FIRST_GENERATION) > FIRST_GENERATION:
            setting = f"on_premise.machines.{index}.generation"
            yield without_effect(draft, setting, "this program makes no node of an existing cluster anew")


def no_arm_machines(draft: StackDraft) -> Iterator[Problem]:
    """Machines of one's own are x86-64 ones, so there is no checksum of k3s for Arm. Of an existing cluster the whole
    section is refused.
    """
    machines, checksum = known(draft.settings, "on_premise"), known(draft.settings, "k3s", "sha256_arm64")
    if machines is not None and checksum is not None and not is_given(draft):
        reason = "machines of one's own are x86-64, and k3s.sha256 is the checksum for them"
        yield without_effect(draft, "k3s.sha256_arm64", reason)


ON_PREMISE_RULES: Final = (
    one_access,
    machines_in_network,
    machines_distinct,
    routers_on_premise,
    servers_on_premise,
    roles_with_ssh,
    host_keys_with_ssh,
    generations_with_ssh,
    no_arm_machines,
)
