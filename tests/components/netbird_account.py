"""A NetBird account with what stack de has in it, as the program makes it, for tests of single resources."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from pulumi.dynamic import Config, ConfigureRequest

from components.netbird_api import (
    ClaimProvider,
    DnsZoneProvider,
    GroupProvider,
    NetworkResourceProvider,
    PolicyProvider,
    RouterPeersProvider,
    SetupKeyProvider,
)
from components.netbird_client import NetbirdClient
from components.netbird_provider import NetbirdProvider
from tests.components.netbird_server import TOKEN, Netbird

INSTANCE: Final = "0123456789abcdef0123456789abcdef"
ANOTHER: Final = "f" * 32
OWN: Final = {"cluster": "de", "instance": INSTANCE}
GROUP: Final = {"name": "isthmus-de-pods", "owns_peers": False, **GroupProvider.expected}
ROUTERS: Final = {"name": "isthmus-de-routers", "owns_peers": True, **GroupProvider.expected}
ZONE: Final = {
    "name": "de.routers.isthmus.internal",
    "domain": "de.routers.isthmus.internal",
    "group": "isthmus-de-pods",
    **DnsZoneProvider.expected,
}
PEERS: Final = {
    "group": "isthmus-de-routers",
    "hostnames": {"de-agent-1": "isthmus-de-router"},
    "router_uid": "u1",
    **RouterPeersProvider.expected,
}
KEY: Final = {"name": "isthmus-de-router", **SetupKeyProvider.expected}
POLICY: Final = {
    "name": "isthmus-de-to-mn-dns-udp",
    "description": "The DNS relay of de asks that of mn",
    "source": "isthmus-de-routers",
    "destination": "isthmus-mn-routers",
    "protocol": "udp",
    "ports": ["1053"],
    "bidirectional": False,
    "peer_routers": ["100.92.0.8"],
    **OWN,
    **PolicyProvider.expected,
}


def mark(instance: str = INSTANCE) -> str:
    """The end of a description in NetBird."""
    return f"(made by Isthmus, stack de, instance {instance})"


def resource(network: str) -> dict[str, Any]:
    """Inputs of the network resource."""
    return {
        "name": "isthmus-de-pods",
        "network": "isthmus-de",
        "network_id": network,
        "address": "10.42.0.0/16",
        "group": "isthmus-de-pods",
        "router_uid": "u1",
        "description": "Pods of de",
        **OWN,
        **NetworkResourceProvider.expected,
    }


def client_of(netbird: Netbird, token: str = TOKEN) -> NetbirdClient:
    """A client that does not wait between tries."""
    return NetbirdClient(netbird.url, token, timeout_seconds=5, pauses=(0, 0, 0), sleep=lambda _: None)


class Server(Protocol):
    """A NetBird server, played or real."""

    url: str


def configured(provider: NetbirdProvider, netbird: Server, token: str = TOKEN) -> Any:
    """The provider as the engine configures it, but without pauses."""
    config = {"isthmus:netbird": json.dumps({"management_url": netbird.url}), "isthmus:netbirdApiToken": token}
    provider.configure(ConfigureRequest(Config(config, "isthmus")))
    provider._client._sleep = lambda _: None
    return provider


@dataclass
class Made:
    """A resource as the engine keeps it: its id, its inputs and its last outputs."""

    provider: Any
    inputs: dict[str, Any]
    id: str = ""
    outs: dict[str, Any] = field(default_factory=dict)

    def create(self) -> Made:
        """As an `up` that finds it in no state."""
        made = self.provider.create({**self.inputs, "__provider": "reference"})
        self.id, self.outs = made.id, made.outs
        return self

    def refresh(self) -> set[str]:
        """As `pulumi refresh`; the names of the outputs that are not as the inputs say, empty for a resource in order.

        Of a resource that is gone: its name is ``gone``.
        """
        found = self.provider.read(self.id, self.outs)
        if not found.id:
            return {"gone"}
        self.id, self.outs = found.id, found.outs
        changed = {key for key, value in self.inputs.items() if self.outs.get(key) != value}
        assert self.provider.diff(self.id, self.outs, self.inputs).changes is bool(changed), changed
        return changed

    def up(self) -> str:
        """As `pulumi up` after that: ``same``, ``update``, ``replace`` or, when it is gone, ``create``."""
        if not self.provider.read(self.id, self.outs).id:
            self.create()
            return "create"
        diff = self.provider.diff(self.id, self.outs, self.inputs)
        if diff.replaces:
            self.provider.delete(self.id, self.outs)
            self.create()
            return "replace"
        if diff.changes:
            self.outs = self.provider.update(self.id, self.outs, self.inputs).outs
            return "update"
        return "same"


@dataclass
class Account:
    """Everything of de, and of mn what de's policies name."""

    netbird: Netbird
    network: str
    made: dict[str, Made]

    def __getitem__(self, name: str) -> Made:
        return self.made[name]


def made_first(make: Callable[[NetbirdProvider, Mapping[str, Any]], Made]) -> dict[str, Made]:
    """What de's stack makes before the operator works, in its order."""
    return {
        "claim": make(ClaimProvider(), OWN),
        "group": make(GroupProvider(), GROUP),
        "zone": make(DnsZoneProvider(), ZONE),
        "routers": make(GroupProvider(), ROUTERS),
        "setup key": make(SetupKeyProvider(), KEY),
    }


def raised(netbird: Netbird) -> Account:
    """An account in which de has been raised."""

    def make(provider: NetbirdProvider, inputs: Mapping[str, Any]) -> Made:
        return Made(configured(provider, netbird), dict(inputs)).create()

    for name in ("isthmus-mn-pods", "isthmus-mn-routers"):
        netbird.group(name)
    laptop = netbird.add("/peers", name="laptop", hostname="laptop", ip="100.92.0.50", connected=True)
    netbird.group("office", laptop["id"])
    made = made_first(make)
    # The operator's work, and that of the agent.
    network = str(netbird.add("/networks", name="isthmus-de")["id"])
    operators = netbird.group(f"networkrouter-{network}-0a1b2c3d")
    netbird.router(network, peer_groups=[operators])
    netbird.add("/setup-keys", name=f"networkrouter-{network}-0a1b2c3d", auto_groups=[operators])
    netbird.add("/setup-keys", name="isthmus-de-router", auto_groups=[operators, made["routers"].id])
    router = netbird.add("/peers", name="isthmus-de-router", hostname="de-agent-1", ip="100.92.0.7", connected=True)
    netbird.one("/groups", "isthmus-de-routers")["peers"].append(router["id"])
    made |= {
        "resource": make(NetworkResourceProvider(), resource(network)),
        "peers": make(RouterPeersProvider(), PEERS),
        "policy": make(PolicyProvider(), POLICY),
    }
    return Account(netbird, network, made)
