"""The providers of NetBird's objects against NetBird's real server: what somebody changes there by its API is seen, put
right, and then in order.

No agent runs here, so there are no peers. With peers, doubled networks and lost answers it is
``tests/components/test_netbird_drift.py``, against a server that is played.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from components.netbird_api import (
    NetworkResourceProvider,
    PolicyProvider,
)
from components.netbird_provider import NetbirdProvider
from tests.components.netbird_account import (
    OWN,
    POLICY,
    ZONE,
    Made,
    configured,
    made_first,
    resource,
)
from tests.engine.netbird_program import NetbirdProgram, netbird_program, own_network

pytestmark = pytest.mark.engine


@dataclass
class Account:
    """Everything of de but its peers, made by the providers; and what the operator makes."""

    netbird: NetbirdProgram
    network: str
    made: dict[str, Made]

    def put(self, path: str, name: str, /, **changes: Any) -> None:
        """Changes an object as the dashboard does: the whole of it, groups by their ids."""
        found = self.netbird.named(path, name)
        body = {**found, **changes}
        # A group that was asked for has that too.
        body.pop("peers_count", None)
        self.netbird.call("PUT", f"{path}/{found['id']}", _request(body))

    def rule(self, **changes: Any) -> None:
        """Changes the one rule of the policy."""
        (rule,) = self.netbird.named("/policies", POLICY["name"])["rules"]
        self.put("/policies", POLICY["name"], rules=[{**rule, **changes}])

    def group(self, name: str) -> str:
        return str(self.netbird.named("/groups", name)["id"])

    def delete(self, path: str, name: str) -> None:
        self.netbird.call("DELETE", f"{path}/{self.netbird.named(path, name)['id']}")

    @property
    def resources(self) -> str:
        return f"/networks/{self.network}/resources"


def _request(found: Any) -> Any:
    """An answer as a request says it: groups are ids there."""
    if isinstance(found, dict):
        if "peers_count" in found:
            return found["id"]
        return {key: _request(value) for key, value in found.items() if value is not None}
    return [_request(part) for part in found] if isinstance(found, list) else found


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An account in which de has been raised."""
    if os.geteuid() != 0:
        pytest.skip("the server needs a network of its own, and that root")
    with own_network(), netbird_program(tmp_path_factory.mktemp("netbird") / "server") as netbird:

        def make(provider: NetbirdProvider, inputs: Mapping[str, Any]) -> Made:
            return Made(configured(provider, netbird, netbird.token), dict(inputs)).create()

        for name in ("isthmus-mn-pods", "isthmus-mn-routers", "office"):
            netbird.call("POST", "/groups", {"name": name})
        made = made_first(make)
        network = str(netbird.call("POST", "/networks", {"name": "isthmus-de"})["id"])
        shape = {"peer_groups": [made["routers"].id], "metric": 9999, "masquerade": True, "enabled": True}
        netbird.call("POST", f"/networks/{network}/routers", shape)
        setup_key(netbird, made["routers"].id)
        made |= {
            "resource": make(NetworkResourceProvider(), resource(network)),
            "policy": make(PolicyProvider(), POLICY),
        }
        yield Account(netbird, network, made)


def setup_key(netbird: NetbirdProgram, group: str) -> None:
    """As the operator makes it."""
    shape = {"type": "reusable", "expires_in": 0, "usage_limit": 0, "ephemeral": False}
    netbird.call("POST", "/setup-keys", {"name": "isthmus-de-router", "auto_groups": [group], **shape})


def both(account: Account, side: str) -> None:
    (rule,) = account.netbird.named("/policies", POLICY["name"])["rules"]
    account.rule(**{side: [*rule[side], {"id": account.group("office"), "peers_count": 0}]})


POLICIES, ZONES = "/policies", "/dns/zones"
DRIFT: list[tuple[str, str, Callable[[Account], None], set[str], str]] = [
    ("policy", "disabled", lambda a: a.put(POLICIES, POLICY["name"], enabled=False), {"enabled"}, "update"),
    ("policy", "its rule disabled", lambda a: a.rule(enabled=False), {"enabled"}, "update"),
    ("policy", "all ports", lambda a: a.rule(ports=[]), {"ports"}, "update"),
    ("policy", "more ports", lambda a: a.rule(ports=["1053", "22"]), {"ports"}, "update"),
    ("policy", "a range of ports", lambda a: a.rule(ports=[], port_ranges=[{"start": 1, "end": 9}]), {"ports"},
     "update"),
    ("policy", "all protocols", lambda a: a.rule(protocol="all", ports=[]), {"protocol", "ports"}, "update"),
    ("policy", "both ways", lambda a: a.rule(bidirectional=True), {"bidirectional"}, "update"),
    ("policy", "drops", lambda a: a.rule(action="drop"), {"action"}, "update"),
    ("policy", "more sources", lambda a: both(a, "sources"), {"source"}, "update"),
    ("policy", "more destinations", lambda a: both(a, "destinations"), {"destination"}, "update"),
    ("policy", "gone", lambda a: a.delete(POLICIES, POLICY["name"]), {"gone"}, "create"),
    ("resource", "disabled", lambda a: a.put(a.resources, "isthmus-de-pods", enabled=False), {"enabled"}, "update"),
    ("resource", "other address", lambda a: a.put(a.resources, "isthmus-de-pods", address="10.0.0.0/8"), {"address"},
     "update"),
    ("resource", "other group", lambda a: a.put(a.resources, "isthmus-de-pods", groups=[a.group("office")]), {"group"},
     "update"),
    ("resource", "gone", lambda a: a.delete(a.resources, "isthmus-de-pods"), {"gone"}, "create"),
    ("resource", "network renamed", lambda a: a.put("/networks", "isthmus-de", name="renamed"), {"network"}, "update"),
    ("resource", "a second network", lambda a: a.netbird.call("POST", "/networks", {"name": "isthmus-de"}),
     {"doubled"}, "update"),
    ("zone", "disabled", lambda a: a.put(ZONES, ZONE["name"], enabled=False), {"enabled"}, "update"),
    ("zone", "searched", lambda a: a.put(ZONES, ZONE["name"], enable_search_domain=True), {"search_domain"}, "update"),
    ("zone", "other group", lambda a: a.put(ZONES, ZONE["name"], distribution_groups=[a.group("office")]), {"group"},
     "update"),
    ("zone", "gone", lambda a: a.delete(ZONES, ZONE["name"]), {"gone"}, "create"),
    ("group", "renamed", lambda a: a.put("/groups", "isthmus-de-pods", name="renamed"), {"name"}, "update"),
    ("setup key", "revoked", lambda a: a.put("/setup-keys", "isthmus-de-router", revoked=True), {"usable"}, "update"),
    ("setup key", "gone", lambda a: a.delete("/setup-keys", "isthmus-de-router"), {"usable"}, "update"),
    ("claim", "gone", lambda a: a.delete("/groups", f"isthmus-de-stack-{OWN['instance']}"), {"gone"}, "create"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "change", "seen", "step"),
    [pytest.param(name, change, seen, step, id=f"{name} {what}") for name, what, change, seen, step in DRIFT],
)
def test_drift(account: Account, name: str, change: Callable[[Account], None], seen: set[str], step: str) -> None:
    made = account.made[name]
    assert made.refresh() == set(), "in order before"
    change(account)
    assert made.refresh() == seen
    assert made.up() == step
    if name == "setup key":
        setup_key(account.netbird, account.made["routers"].id)
    assert made.refresh() == set(), "in order afterwards"
    assert made.up() == "same"
