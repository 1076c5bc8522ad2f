"""Rules between settings: of one stack, and between the address ranges of several. One named function a rule.

It owns what has to fit together; single values are ``rules.py``'s. Every rule works on a draft, so one wrong value
hides no other mistake: where a part that a rule needs was refused, the rule is silent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from domain.cilium_rules import CILIUM_RULES
from domain.cilium_values import clashes
from domain.hetzner_rules import HETZNER_RULES
from domain.k3s_flags import FLAG_RULES
from domain.k3s_rules import CREDENTIALS, K3S_RULES
from domain.mtu import (
    ETHERNET_MTU,
    HETZNER_PRIVATE_MTU,
    REDIRECT_MARGIN,
    VXLAN_OVERHEAD,
    WIREGUARD_OVERHEAD,
    MtuChain,
    largest_netbird_mtu,
)
from domain.names import RELAY_SERVICE_OFFSET
from domain.netbird import FORBIDDEN_ENVIRONMENT
from domain.plain_secrets import SECRET_RULES
from domain.plan import AGENT_OFFSET, SERVER_OFFSET
from domain.problems import Problem, shown
from domain.range_rules import HETZNER_GATEWAY, example_subnet
from domain.settings import (
    CLUSTER_SECRET,
    HCLOUD_TOKEN,
    HETZNER_SERVER_LIMIT,
    KUBECONFIG,
    NETBIRD_API_TOKEN,
    SECRETS,
    SSH_PRIVATE_KEY,
    Machine,
    Secret,
    StackDraft,
    known,
)
from domain.tunnel_port import ports_differ
from domain.zone_rules import ZONE_RULES

NODE_POD_PREFIX: Final = 24
"""Kubernetes gives every node a range of this size out of the pod CIDR."""
HETZNER_NODE_PREFIX: Final = 26
"""The smallest node CIDR at Hetzner that holds the fixed places of all servers."""

Rule = Callable[[StackDraft], Iterator[Problem]]


def stack_problems(draft: StackDraft) -> list[Problem]:
    """Everything that does not fit within the stack, except for its ranges (:func:`range_problems`)."""
    return [problem for rule in STACK_RULES for problem in rule(draft)]


# --- where the cluster stands ----------------------------------------------------------------------------------------


def one_place(draft: StackDraft) -> Iterator[Problem]:
    """A cluster stands at Hetzner or on-premise."""
    hetzner, on_premise = known(draft.settings, "hetzner"), known(draft.settings, "on_premise")
    if hetzner is None and on_premise is None:
        yield Problem(
            draft.stack, "hetzner", "", "is missing, and so is on_premise; exactly one of them is needed", "add one"
        )
    elif hetzner is not None and on_premise is not None:
        yield Problem(
            draft.stack, "on_premise", "", "stands beside hetzner; a stack is one cluster in one place", "remove one"
        )


def one_access(draft: StackDraft) -> Iterator[Problem]:
    """Machines on-premise are reached over SSH, or the cluster is given."""
    section = known(draft.settings, "on_premise")
    if not hasattr(section, "ssh") or not hasattr(section, "kubeconfig"):
        return
    if section.ssh is None and section.kubeconfig is None:
        yield Problem(
            draft.stack,
            "on_premise",
            "",
            "has neither ssh nor kubeconfig; exactly one of them is needed",
            "add ssh: {user: root}, or kubeconfig: {context: NAME} for a cluster that exists",
        )
    elif section.ssh is not None and section.kubeconfig is not None:
        yield Problem(
            draft.stack,
            "on_premise.kubeconfig",
            "",
            "stands beside ssh; the cluster is either raised over SSH or exists",
            "remove one of them",
        )


def _given(draft: StackDraft) -> bool:
    """True for an existing cluster, as far as one can tell."""
    return known(draft.settings, "on_premise", "kubeconfig") is not None


def _access_unclear(draft: StackDraft) -> bool:
    """True where a refused value, or both of ssh and kubeconfig, hides whether the program installs k3s."""
    section = known(draft.settings, "on_premise")
    if section is None:
        return False
    if not hasattr(section, "ssh") or not hasattr(section, "kubeconfig"):
        return True
    return section.ssh is not None and section.kubeconfig is not None


def _place_unclear(draft: StackDraft) -> bool:
    places = [known(draft.settings, name) for name in ("hetzner", "on_premise")]
    return places.count(None) != 1 or _access_unclear(draft)


def k3s_where_installed(draft: StackDraft) -> Iterator[Problem]:
    """The section k3s is there if and only if the program installs k3s."""
    k3s = known(draft.settings, "k3s")
    if _access_unclear(draft):
        return
    if _given(draft):
        if k3s is not None:
            yield _without_effect(draft, "k3s", "an existing cluster keeps its own version")
        for name in ("k3s", "registries"):
            if known(draft.settings, "mirrors", name):
                yield _without_effect(
                    draft, f"mirrors.{name}", "nothing is installed on the nodes of an existing cluster"
                )
    elif k3s is None:
        yield Problem(
            draft.stack, "k3s", "", "is missing", "write it like {version: v1.34.9+k3s1, sha256: 64 HEX DIGITS}"
        )


def hcloud_only_at_hetzner(draft: StackDraft) -> Iterator[Problem]:
    """The provider's settings have no effect elsewhere."""
    if known(draft.settings, "hetzner") is not None or known(draft.settings, "on_premise") is None:
        return
    for name in ("endpoint", "pollInterval", "pollFunction"):
        if known(draft.settings, "hcloud", name) is not None:
            yield _without_effect(draft, f"hcloud:{name}", "nothing of this stack is at Hetzner")


def _without_effect(draft: StackDraft, setting: str, reason: str) -> Problem:
    return Problem(draft.stack, setting, "", f"has no effect: {reason}", "remove it")


def needed_secrets(draft: StackDraft) -> tuple[Secret, ...]:
    """The secrets of this kind of stack; of an unclear kind, those that every stack needs."""
    secrets = [NETBIRD_API_TOKEN]
    if _place_unclear(draft):
        return tuple(secrets)
    if not _given(draft):
        secrets.insert(0, CLUSTER_SECRET)
    if known(draft.settings, "hetzner") is not None:
        secrets.append(HCLOUD_TOKEN)
    if known(draft.settings, "on_premise", "ssh") is not None:
        secrets.append(SSH_PRIVATE_KEY)
    if _given(draft):
        secrets.append(KUBECONFIG)
    return tuple(secrets)


def secrets_there(draft: StackDraft) -> Iterator[Problem]:
    """Every secret that is needed is there, and no other."""
    needed = needed_secrets(draft)
    for secret in needed:
        if secret.key not in draft.secrets:
            command = secret.command.format(stack=draft.stack)
            yield Problem(
                draft.stack, secret_setting(secret), "", f"is missing; {secret.purpose}", f"set it: `{command}`"
            )
    if _place_unclear(draft):
        return
    for key in sorted(draft.secrets):
        if key in SECRETS and SECRETS[key] not in needed:
            setting = secret_setting(SECRETS[key])
            yield Problem(
                draft.stack,
                setting,
                "",
                "has no effect in a stack of this kind",
                f"remove it: `pulumi config rm {setting} -s {draft.stack}`",
            )


def secret_setting(secret: Secret) -> str:
    """How a message names the secret: ours without the namespace, the provider's with it."""
    return secret.key.removeprefix("isthmus:")


HCLOUD_TOKEN_LENGTH: Final = 64
"""The Hetzner provider refuses any other."""


CONTEXTS_SHOWN: Final = 10
"""Contexts of a kubeconfig that a message lists at most."""


def secret_value_problems(stack: str, values: Mapping[str, str], context: str | None = None) -> list[Problem]:
    """What is wrong with the form of secrets, given in plain as key -> value. Only lengths show, and names of contexts,
    no value. ``context`` is ``on_premise.kubeconfig.context``.
    """
    # Here, because a plan looks at no secret and does without the cryptography that the module brings along.
    from domain.keys import cluster_secret_fault, ssh_private_key_fault
    from domain.kubeconfig import KubeconfigError, context_names

    faults = {
        CLUSTER_SECRET: cluster_secret_fault,
        HCLOUD_TOKEN: _hcloud_token_fault,
        SSH_PRIVATE_KEY: ssh_private_key_fault,
    }
    problems: list[Problem] = []
    for secret, fault_of in faults.items():
        value = values.get(secret.key)
        if value is not None and (fault := fault_of(value)) is not None:
            fix = f"set it anew: `{secret.command.format(stack=stack)}`"
            problems.append(Problem(stack, secret_setting(secret), "", fault, fix))
    kubeconfig = values.get(KUBECONFIG.key)
    if kubeconfig is None or context is None:
        return problems
    try:
        names = context_names(kubeconfig)
    except KubeconfigError as error:
        fix = f"set it anew: `{KUBECONFIG.command.format(stack=stack)}`"
        problems.append(Problem(stack, secret_setting(KUBECONFIG), "", str(error), fix))
        return problems
    if context not in names:
        there = ", ".join(shown(name) for name in names[:CONTEXTS_SHOWN])
        more = ", ..." if len(names) > CONTEXTS_SHOWN else ""
        rule = "is no context of the secret kubeconfig"
        problems.append(
            Problem(stack, "on_premise.kubeconfig.context", shown(context), rule, f"its contexts are: {there}{more}")
        )
    return problems


def _hcloud_token_fault(value: str) -> str | None:
    if len(value) == HCLOUD_TOKEN_LENGTH:
        return None
    return f"has {len(value)} characters; Hetzner's tokens have {HCLOUD_TOKEN_LENGTH}"


# --- addresses within the stack --------------------------------------------------------------------------------------


def cluster_dns_in_services(draft: StackDraft) -> Iterator[Problem]:
    """The DNS service has an address of the service CIDR that nothing else has."""
    given, services = known(draft.settings, "network", "cluster_dns"), known(draft.settings, "network", "service_cidr")
    if given is None or services is None:
        return
    setting, default = "network.cluster_dns", f"leave it out, or take {services[10]}"
    if given not in services:
        yield Problem(draft.stack, setting, str(given), f"is not in network.service_cidr {services}", default)
    elif given in (services[0], services[-1]):
        yield Problem(draft.stack, setting, str(given), f"is the first or last address of {services}", default)
    elif given == services[1]:
        yield Problem(draft.stack, setting, str(given), "is the address of the Kubernetes API's service", default)
    elif given == services[RELAY_SERVICE_OFFSET]:
        yield Problem(draft.stack, setting, str(given), "is the address of the DNS relay's service", default)


def pods_for_every_node(draft: StackDraft) -> Iterator[Problem]:
    """The pod CIDR holds a /24 for every node."""
    pods, nodes = known(draft.settings, "network", "pod_cidr"), _node_count(draft)
    if pods is None or nodes is None:
        return
    room = 1 << max(0, NODE_POD_PREFIX - pods.prefixlen)
    if nodes > room:
        prefix = NODE_POD_PREFIX - (nodes - 1).bit_length()
        yield Problem(
            draft.stack,
            "network.pod_cidr",
            str(pods),
            f"holds a /{NODE_POD_PREFIX} for {room} nodes, and there are {nodes}",
            f"take a /{prefix}",
        )


def _node_count(draft: StackDraft) -> int | None:
    machines = known(draft.settings, "on_premise", "machines")
    if machines is not None:
        return len(machines)
    servers = known(draft.settings, "hetzner", "control_plane", "count")
    workers = known(draft.settings, "hetzner", "workers", "count")
    return None if servers is None or workers is None else servers + workers


def nodes_in_hetzner_network(draft: StackDraft) -> Iterator[Problem]:
    """The node CIDR is a subnet of the Hetzner network, large enough for the servers' fixed places."""
    nodes, network = known(draft.settings, "network", "node_cidr"), known(draft.settings, "hetzner", "network_cidr")
    if nodes is None or known(draft.settings, "hetzner") is None:
        return
    if network is not None and not nodes.subnet_of(network):
        yield Problem(
            draft.stack,
            "network.node_cidr",
            str(nodes),
            f"is not in hetzner.network_cidr {network}, whose subnet it is",
            f"take {example_subnet(network)}",
        )
    if nodes.prefixlen > HETZNER_NODE_PREFIX:
        yield Problem(
            draft.stack,
            "network.node_cidr",
            str(nodes),
            f"is too small: servers lie from the {SERVER_OFFSET}th, workers from the {AGENT_OFFSET}st address on",
            f"take a /{HETZNER_NODE_PREFIX} or larger",
        )


def no_hetzner_gateway(draft: StackDraft) -> Iterator[Problem]:
    """No range of a Hetzner cluster holds the gateway of the servers' public interface."""
    if known(draft.settings, "hetzner") is None:
        return
    for setting in ("network.pod_cidr", "network.service_cidr", "hetzner.network_cidr"):
        network = known(draft.settings, *setting.split("."))
        if network is not None and HETZNER_GATEWAY in network:
            yield Problem(
                draft.stack,
                setting,
                str(network),
                f"holds {HETZNER_GATEWAY}, the gateway of every Hetzner server",
                "take a range of 10.0.0.0/8",
            )


# --- Hetzner ---------------------------------------------------------------------------------------------------------


def one_router_at_hetzner(draft: StackDraft) -> Iterator[Problem]:
    """Exactly one router."""
    routers = known(draft.settings, "hetzner", "routers")
    if routers is not None and routers != 1:
        reason = (
            "gives nothing that would carry the link"
            if routers < 1
            else "asks for more than one; fail-over between routers is not built, a second one would carry nothing"
        )
        yield Problem(draft.stack, "hetzner.routers", shown(routers), reason, "write 1, or leave it out")


def server_counts(draft: StackDraft) -> Iterator[Problem]:
    """An odd number of servers runs the API, and a placement group holds all servers."""
    servers = known(draft.settings, "hetzner", "control_plane", "count")
    workers = known(draft.settings, "hetzner", "workers", "count")
    if servers is not None and servers % 2 == 0:
        yield Problem(
            draft.stack,
            "hetzner.control_plane.count",
            str(servers),
            "is even; etcd needs a majority, and an even number adds a machine that may fail but none that may be lost"
            if servers
            else "leaves nobody to run the API",
            f"take {servers - 1} or {servers + 1}" if servers else "take 1",
        )
    if servers is not None and workers is not None and servers + workers > HETZNER_SERVER_LIMIT:
        yield Problem(
            draft.stack,
            "hetzner.workers.count",
            str(workers),
            f"makes {servers + workers} servers; a spread placement group holds {HETZNER_SERVER_LIMIT}",
            f"take at most {HETZNER_SERVER_LIMIT - servers}",
        )


_LABEL_KEY: Final = re.compile(r"([a-z0-9.-]{1,200}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?", re.ASCII)


OWN_LABELS: Final = "isthmus"
"""Labels that start with this are the program's own."""


def hetzner_labels(draft: StackDraft) -> Iterator[Problem]:
    """Labels as Hetzner takes them (https://docs.hetzner.cloud/reference/cloud#labels), and none of ours."""
    labels = known(draft.settings, "hetzner", "labels")
    for name, value in (labels or {}).items():
        setting = f"hetzner.labels.{shown(name)}"
        if not _LABEL_KEY.fullmatch(name):
            yield Problem(draft.stack, setting, "", "is not a name that a label may have", "write it like team")
        elif not _LABEL_VALUE.fullmatch(value):
            yield Problem(
                draft.stack, setting, shown(value), "is not a value that a label may have", "write it like platform"
            )
        elif name.startswith(OWN_LABELS):
            yield Problem(draft.stack, setting, "", "is a label of this program", "take another name")


# --- machines on-premise ---------------------------------------------------------------------------------------------


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


def one_router_on_premise(draft: StackDraft) -> Iterator[Problem]:
    """Exactly one machine carries the link."""
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
    for index in routers[1:]:
        yield Problem(
            draft.stack,
            f"on_premise.machines.{index}.router",
            "true",
            "makes a second router; fail-over between routers is not built, it would carry nothing",
            "write router: true on one machine only",
        )


def servers_on_premise(draft: StackDraft) -> Iterator[Problem]:
    """An odd number of machines runs the API, where the program raises the cluster."""
    machines = _machines(draft)
    if (
        _given(draft)
        or _access_unclear(draft)
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
    if _access_unclear(draft):
        return
    for index, machine in enumerate(_machines(draft)):
        setting = f"on_premise.machines.{index}.role"
        if over_ssh and hasattr(machine, "role") and machine.role is None:
            yield Problem(
                draft.stack, setting, "", "is missing; k3s is installed by it", "write role: server, or role: agent"
            )
        elif not over_ssh and _given(draft) and known(machine, "role") is not None:
            yield _without_effect(draft, setting, "an existing cluster has its roles")


def host_keys_with_ssh(draft: StackDraft) -> Iterator[Problem]:
    """Host keys are there if and only if the machines are reached over SSH."""
    over_ssh = known(draft.settings, "on_premise", "ssh") is not None
    if not over_ssh and not _given(draft):
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
            yield _without_effect(draft, setting, "nothing is reached over SSH")


# --- MTU, charts, peers ----------------------------------------------------------------------------------------------


def mtu_chain(draft: StackDraft) -> Iterator[Problem]:
    """What a pod may send passes wt0, and what a node may send passes the network between the nodes."""
    cilium, netbird = known(draft.settings, "cilium", "mtu"), known(draft.settings, "netbird", "mtu")
    if cilium is None:
        return
    if netbird is not None and not (chain := MtuChain(netbird=netbird, cilium=cilium)).fits:
        largest = chain.limit + VXLAN_OVERHEAD
        yield Problem(
            draft.stack,
            "cilium.mtu",
            str(cilium),
            f"lets pods send packets of {chain.pod} bytes, and wt0 with netbird.mtu {netbird} takes {chain.limit}: "
            f"cilium.mtu - {VXLAN_OVERHEAD} <= netbird.mtu - {REDIRECT_MARGIN}",
            f"take at most {largest}, or raise netbird.mtu",
        )
    if known(draft.settings, "hetzner") is not None and cilium > HETZNER_PRIVATE_MTU:
        yield Problem(
            draft.stack,
            "cilium.mtu",
            str(cilium),
            f"is more than {HETZNER_PRIVATE_MTU}, the MTU of Hetzner's private networks",
            f"take at most {HETZNER_PRIVATE_MTU}",
        )


def netbird_in_underlay(draft: StackDraft) -> Iterator[Problem]:
    """WireGuard's packets pass the path between the routers in one piece."""
    netbird, given = known(draft.settings, "netbird", "mtu"), known(draft.settings, "netbird", "underlay_mtu")
    if netbird is None or not hasattr(draft.settings.netbird, "underlay_mtu"):
        return
    underlay = given or ETHERNET_MTU
    if netbird + WIREGUARD_OVERHEAD > underlay:
        said = (
            f"netbird.underlay_mtu says {underlay}"
            if given
            else f"an underlay takes {underlay}, if nothing else is said"
        )
        yield Problem(
            draft.stack,
            "netbird.mtu",
            str(netbird),
            f"makes packets of {netbird + WIREGUARD_OVERHEAD} bytes, since WireGuard adds {WIREGUARD_OVERHEAD}; {said}",
            f"take at most {largest_netbird_mtu(underlay)}, or correct netbird.underlay_mtu",
        )


def forward_zones_foreign(draft: StackDraft) -> Iterator[Problem]:
    """A forwarded zone is not the cluster's own nor within it, and its servers are not services of the cluster: names
    would go round. It may be above the own one: CoreDNS takes the zone with the most labels.
    """
    zone, services = known(draft.settings, "network", "dns_zone"), known(draft.settings, "network", "service_cidr")
    for name, servers in (known(draft.settings, "dns", "forward_zones") or {}).items():
        setting = f"dns.forward_zones.{name}"
        if zone is not None and f".{name}".endswith(f".{zone}"):
            what = f"is {zone}" if name == zone else f"lies in {zone}"
            rule = f"{what}, the zone of this cluster; its names would not be found any more"
            yield Problem(draft.stack, setting, "", rule, "forward only zones of others")
        for index, server in enumerate(servers):
            if services is not None and server in services:
                rule = f"is in network.service_cidr {services}; a question would come back here"
                yield Problem(draft.stack, f"{setting}.{index}", str(server), rule, "name a DNS server outside")


def cilium_values_allowed(draft: StackDraft) -> Iterator[Problem]:
    """No value for Cilium's chart breaks the link."""
    values, mtu = known(draft.settings, "cilium", "values"), known(draft.settings, "cilium", "mtu")
    if not values or mtu is None:
        return
    port = known(draft.settings, "cilium", "tunnel_port")
    if port is None:
        port = values.get("tunnelPort")  # it has been refused already
    for clash in clashes(values, mtu, installs_k3s=not _given(draft), tunnel_port=port):
        rule = f"must be {shown(clash.needed)}: {clash.reason}"
        if clash.overrides:
            rule = f"changes {clash.overrides}, which {rule}"
        yield Problem(draft.stack, f"cilium.values.{clash.path}", shown(clash.value), rule, "remove it")


def tunnel_and_wireguard(draft: StackDraft) -> Iterator[Problem]:
    """NetBird's WireGuard and Cilium's tunnel between the nodes have a UDP port each."""
    ports = known(draft.settings, "netbird", "wireguard_port"), known(draft.settings, "cilium", "tunnel_port")
    yield from ports_differ(draft.stack, *ports)


def agent_environment_allowed(draft: StackDraft) -> Iterator[Problem]:
    """No variable of the agent that the program or the operator sets, or that would break the link. Values are not
    shown: somebody may have put a key there.
    """
    for name, value in (known(draft.settings, "netbird", "agent_env") or {}).items():
        setting = f"netbird.agent_env.{name}"
        if name in FORBIDDEN_ENVIRONMENT:
            rule = f"is not for you to set: {FORBIDDEN_ENVIRONMENT[name]}"
            yield Problem(draft.stack, setting, "", rule, "remove it")
        elif CREDENTIALS.search(value):
            rule = "holds a user name and a password, which stand here in plain text"
            yield Problem(draft.stack, setting, "", rule, "write the address without them")


def peers_of_others(draft: StackDraft) -> Iterator[Problem]:
    """A stack is not its own peer, and lists each peer once."""
    seen: set[str] = set()
    for index, peer in enumerate(known(draft.settings, "peers") or ()):
        setting = f"peers.{index}"
        if peer == draft.stack:
            yield Problem(draft.stack, setting, peer, "is this stack itself", "remove it")
        elif peer in seen:
            yield Problem(draft.stack, setting, peer, "is listed twice", "remove one")
        seen.add(peer)


STACK_RULES: Final[tuple[Rule, ...]] = (
    one_place,
    one_access,
    k3s_where_installed,
    hcloud_only_at_hetzner,
    secrets_there,
    cluster_dns_in_services,
    pods_for_every_node,
    nodes_in_hetzner_network,
    no_hetzner_gateway,
    *HETZNER_RULES,
    one_router_at_hetzner,
    server_counts,
    hetzner_labels,
    machines_in_network,
    machines_distinct,
    one_router_on_premise,
    servers_on_premise,
    roles_with_ssh,
    host_keys_with_ssh,
    mtu_chain,
    netbird_in_underlay,
    *K3S_RULES,
    *FLAG_RULES,
    *ZONE_RULES,
    forward_zones_foreign,
    cilium_values_allowed,
    tunnel_and_wireguard,
    *CILIUM_RULES,
    agent_environment_allowed,
    *SECRET_RULES,
    peers_of_others,
)
