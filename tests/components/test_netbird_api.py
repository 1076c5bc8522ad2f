"""The REST client and the dynamic providers, against a server that refuses what the real one refuses."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import dill  # type: ignore[import-untyped]
import pytest
from pulumi.dynamic import Config, ConfigureRequest
from pulumi.dynamic.dynamic import serialize_provider
from pulumi.runtime.rpc import UNKNOWN

import components.netbird_api as netbird_api
from components.netbird_api import (
    ClaimProvider,
    DnsZoneProvider,
    GroupProvider,
    NetworkResourceProvider,
    PolicyProvider,
    RouterPeersProvider,
)
from components.netbird_client import NetbirdClient, NetbirdError
from components.netbird_networks import _wait_for_router
from components.netbird_peers import wait_for_peers
from components.netbird_provider import AmbiguousError, TakenError, group_id
from tests.components.netbird_account import (
    ANOTHER,
    GROUP,
    INSTANCE,
    OWN,
    PEERS,
    POLICY,
    ZONE,
    client_of,
    configured,
    raised,
    resource,
)
from tests.components.netbird_server import TOKEN, Netbird, running


@pytest.fixture
def netbird() -> Iterator[Netbird]:
    """An account with nothing in it."""
    with running() as server:
        yield server


class TestClient:
    def test_retries_what_may_pass(self, netbird: Netbird) -> None:
        netbird.faults = [("GET", "/groups", 500), ("GET", "/groups", 429)]
        assert client_of(netbird).list("/groups") == []
        assert len(netbird.requests) == 3

    def test_gives_up_with_the_last_answer(self, netbird: Netbird) -> None:
        netbird.faults = [("GET", "/groups", 503)] * 4
        with pytest.raises(NetbirdError, match=r"^NetBird API: GET /groups: 503: try again later$") as refusal:
            client_of(netbird).list("/groups")
        assert refusal.value.status == 503

    def test_does_not_retry_a_refusal(self, netbird: Netbird) -> None:
        with pytest.raises(NetbirdError) as refusal:
            client_of(netbird, "another").list("/groups")
        assert str(refusal.value) == (
            "NetBird API: GET /groups: 401: token invalid; the token in netbirdApiToken is wrong, revoked or expired, "
            "or its user may not do this; make a new one in NetBird (Team, Service Users), `pulumi config set --secret "
            "netbirdApiToken`, and then `pulumi up`, or `pulumi destroy --run-program`: without that option the engine "
            "takes the old one out of the state"
        )
        assert len(netbird.requests) == 1

    def test_no_server(self) -> None:
        client = NetbirdClient("http://127.0.0.1:9", TOKEN, pauses=(0,), sleep=lambda _: None)
        with pytest.raises(NetbirdError, match=r"^NetBird API: GET /groups: no answer: .*Connection refused"):
            client.list("/groups")

    def test_an_error_never_shows_the_token(self, netbird: Netbird) -> None:
        netbird.faults = [("GET", "/groups", 500)] * 9
        with pytest.raises(NetbirdError) as refusal:
            client_of(netbird).list("/groups")
        assert TOKEN not in str(refusal.value) + repr(refusal.value)

    def test_an_answer_that_got_lost_leaves_nothing_twice(self, netbird: Netbird) -> None:
        netbird.faults = [("POST", "/groups", 0)]
        made = configured(GroupProvider(), netbird).create(GROUP)
        assert made.id == netbird.one("/groups", "isthmus-de-pods")["id"]
        assert [request[0] for request in netbird.writes()] == ["POST", "PUT"]

    def test_deleting_what_is_gone_is_fine(self, netbird: Netbird) -> None:
        client_of(netbird).delete("/groups/id9")

    def test_answer_that_is_no_json(self, netbird: Netbird, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("components.netbird_client.json.loads", _refuse)
        with pytest.raises(NetbirdError, match="the answer is not JSON; is the management URL right"):
            client_of(netbird).list("/groups")


def _refuse(_: object) -> None:
    raise ValueError


def mark(instance: str = INSTANCE) -> str:
    return f"(made by Isthmus, stack de, instance {instance})"


RECORDED = {
    "GroupProvider": "gASVLwAAAAAAAACMFmNvbXBvbmVudHMubmV0YmlyZF9hcGmUjA1Hcm91cFByb3ZpZGVylJOUKYGULg==",
    "DnsZoneProvider": "gASVMQAAAAAAAACMFmNvbXBvbmVudHMubmV0YmlyZF9hcGmUjA9EbnNab25lUHJvdmlkZXKUk5QpgZQu",
    "NetworkResourceProvider": (
        "gASVOQAAAAAAAACMFmNvbXBvbmVudHMubmV0YmlyZF9hcGmUjBdOZXR3b3JrUmVzb3VyY2VQcm92aWRlcpSTlCmBlC4="
    ),
    "PolicyProvider": "gASVMAAAAAAAAACMFmNvbXBvbmVudHMubmV0YmlyZF9hcGmUjA5Qb2xpY3lQcm92aWRlcpSTlCmBlC4=",
    "RouterPeersProvider": "gASVNQAAAAAAAACMFmNvbXBvbmVudHMubmV0YmlyZF9hcGmUjBNSb3V0ZXJQZWVyc1Byb3ZpZGVylJOUKYGULg==",
}
"""What the states of earlier releases hold in ``__provider``."""


@pytest.mark.parametrize("name", RECORDED)
def test_providers_of_recorded_states_are_found(name: str) -> None:
    assert type(dill.loads(base64.b64decode(RECORDED[name]))) is getattr(netbird_api, name)


def test_what_is_recorded_is_a_reference_and_no_code() -> None:
    text = base64.b64decode(serialize_provider(PolicyProvider()))
    assert b"components.netbird_objects" in text
    assert len(text) < 100


class TestClaim:
    def test_first_in_an_empty_account(self, netbird: Netbird, capfd: pytest.CaptureFixture[str]) -> None:
        made = configured(ClaimProvider(), netbird).create(OWN)
        assert netbird.names("/groups") == [f"isthmus-de-stack-{INSTANCE}"]
        assert made.id == netbird.all("/groups")[0]["id"]
        assert capfd.readouterr().out == ""

    def test_an_answer_that_got_lost_is_no_other_stack(self, netbird: Netbird) -> None:
        netbird.faults = [("POST", "/groups", 0)]
        configured(ClaimProvider(), netbird).create(OWN)
        configured(ClaimProvider(), netbird).create(OWN)
        assert netbird.names("/groups") == [f"isthmus-de-stack-{INSTANCE}"]

    def test_what_an_earlier_release_made_is_adopted_and_said(
        self, netbird: Netbird, capfd: pytest.CaptureFixture[str]
    ) -> None:
        for name in ("isthmus-de-routers", "isthmus-de-pods", "isthmus-mn-pods"):
            netbird.group(name)
        configured(ClaimProvider(), netbird).create(OWN)
        assert capfd.readouterr().out == (
            "NetBird: isthmus-de-pods, isthmus-de-routers carried no mark of a stack; from now on this stack's\n"
        )

    def test_another_stack_of_the_name_is_refused(self, netbird: Netbird) -> None:
        configured(ClaimProvider(), netbird).create({"cluster": "de", "instance": ANOTHER})
        with pytest.raises(TakenError) as refusal:
            configured(ClaimProvider(), netbird).create(OWN)
        assert str(refusal.value) == (
            f"NetBird: group isthmus-de-stack-{ANOTHER} (id1) was made by another stack called de (another project, or "
            "another state); two such stacks can't share a NetBird account: give one of them another name, or bring "
            "back the state it belongs to; if that stack is gone for good, delete its objects in NetBird: what is "
            "called isthmus-de-..."
        )
        assert len(netbird.writes()) == 1, "nothing was touched"

    def test_a_name_that_goes_on_is_another(self, netbird: Netbird) -> None:
        configured(ClaimProvider(), netbird).create({"cluster": "de-stack", "instance": ANOTHER})
        configured(ClaimProvider(), netbird).create({"cluster": "d", "instance": ANOTHER})
        configured(ClaimProvider(), netbird).create(OWN)
        assert len(netbird.names("/groups")) == 3


class TestGroup:
    def test_life(self, netbird: Netbird) -> None:
        provider = configured(GroupProvider(), netbird)
        made = provider.create({**GROUP, "__provider": "x"})
        assert made.outs == {**GROUP, "object_id": made.id}
        assert provider.read(made.id, made.outs).outs == made.outs
        assert provider.diff(made.id, made.outs, {**GROUP, "__provider": "x"}).changes is False
        provider.delete(made.id, made.outs)
        assert netbird.names("/groups") == []
        assert provider.read(made.id, made.outs).id == ""

    def test_created_twice_is_there_once(self, netbird: Netbird, capfd: pytest.CaptureFixture[str]) -> None:
        provider = configured(GroupProvider(), netbird)
        assert provider.create(GROUP).id == provider.create(GROUP).id == "id1"
        assert netbird.names("/groups") == ["isthmus-de-pods"]
        assert capfd.readouterr().out == "NetBird: took over group isthmus-de-pods (id1), which was there already\n"

    def test_of_two_nobody_can_tell(self, netbird: Netbird) -> None:
        netbird.group("isthmus-de-pods")
        netbird.group("isthmus-de-pods")
        with pytest.raises(AmbiguousError) as refusal:
            configured(GroupProvider(), netbird).create(GROUP)
        assert str(refusal.value) == (
            "NetBird: 2 of the kind group are called isthmus-de-pods (id1, id2), none with a mark of a stack; delete "
            "all but one"
        )

    def test_a_double_of_somebody_is_named_and_left(self, netbird: Netbird, capfd: pytest.CaptureFixture[str]) -> None:
        provider = configured(GroupProvider(), netbird)
        made = provider.create(GROUP)
        other = netbird.group("isthmus-de-pods")
        provider.update(made.id, made.outs, GROUP)
        assert capfd.readouterr().out == (
            f"NetBird: /groups/{other} is called isthmus-de-pods too, and this stack did not make it; it is left "
            "alone\n"
        )
        assert netbird.names("/groups") == ["isthmus-de-pods"] * 2
        with pytest.raises(
            NetbirdError, match=r"2 groups are called isthmus-de-pods \(id1, id2\); delete all but one$"
        ):
            group_id(client_of(netbird), "isthmus-de-pods")


class TestZone:
    def test_body(self, netbird: Netbird) -> None:
        group = netbird.group("isthmus-de-pods")
        made = configured(DnsZoneProvider(), netbird).create(ZONE)
        name = "de.routers.isthmus.internal"
        body = {"name": name, "domain": name, "enabled": True, "enable_search_domain": False}
        assert netbird.writes() == [("POST", "/dns/zones", {**body, "distribution_groups": [group]})]
        assert made.outs == {**ZONE, "object_id": made.id}

    def test_of_an_interrupted_run_is_taken_over(self, netbird: Netbird) -> None:
        netbird.group("isthmus-de-pods")
        provider = configured(DnsZoneProvider(), netbird)
        assert provider.create(ZONE).id == provider.create(ZONE).id
        assert len(netbird.all("/dns/zones")) == 1

    def test_missing_group_says_what_comes_first(self, netbird: Netbird) -> None:
        with pytest.raises(
            NetbirdError, match=r"there is no group isthmus-de-pods; raise the stack it belongs to first$"
        ):
            configured(DnsZoneProvider(), netbird).create(ZONE)


class TestNetworkResource:
    @pytest.fixture
    def network(self, netbird: Netbird) -> str:
        """The operator's network, with a routing peer, and the group of the pods."""
        netbird.group("isthmus-de-pods")
        made = netbird.add("/networks", name="isthmus-de")
        netbird.router(made["id"])
        return str(made["id"])

    def test_life(self, netbird: Netbird, network: str) -> None:
        provider = configured(NetworkResourceProvider(), netbird)
        made = provider.create(resource(network))
        body = {"name": "isthmus-de-pods", "description": f"Pods of de {mark()}", "address": "10.42.0.0/16"}
        path = f"/networks/{network}/resources"
        assert netbird.writes() == [("POST", path, {**body, "enabled": True, "groups": ["id1"]})]
        assert provider.create(resource(network)).id == made.id == f"{network}/{netbird.all(path)[0]['id']}"
        assert len(netbird.all(path)) == 1
        provider.delete(made.id, made.outs)
        assert netbird.all(path) == []

    def test_network_without_routing_peers(self, netbird: Netbird, network: str) -> None:
        netbird.objects[f"/networks/{network}/routers"].clear()
        clock = iter(range(0, 1000, 20))
        with pytest.raises(NetbirdError) as late:
            _wait_for_router(client_of(netbird), network, "isthmus-de", now=lambda: float(next(clock)))
        assert str(late.value) == (
            f"NetBird API: GET /networks/{network}/routers: 200: network isthmus-de has no routing peers after 60 s. "
            "NetBird's operator makes them; if it has made another network since, `pulumi refresh` sees that, and "
            "`pulumi up` takes the right one"
        )
        netbird.router(network)
        _wait_for_router(client_of(netbird), network, "isthmus-de", now=lambda: float(next(clock)))

    def test_network_that_was_deleted(self, netbird: Netbird, network: str) -> None:
        provider = configured(NetworkResourceProvider(), netbird)
        made = provider.create(resource(network))
        netbird.objects["/networks"].clear()
        assert provider.read(made.id, made.outs).id == ""
        with pytest.raises(NetbirdError) as gone:
            provider.create(resource(network))
        assert str(gone.value) == (
            f"NetBird API: GET /networks/{network}: 404: network isthmus-de was deleted. NetBird's operator makes "
            "another one within 15 minutes, or at once after `kubectl -n netbird rollout restart deployment "
            "isthmus-netbird-operator`; then `pulumi refresh` and `pulumi up`"
        )

    def test_of_two_networks_the_one_of_the_status(
        self, netbird: Netbird, network: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """What happened with an earlier release: the resource lies in the network that has no routers."""
        double = str(netbird.add("/networks", name="isthmus-de")["id"])
        old = netbird.add(
            f"/networks/{double}/resources", name="isthmus-de-pods", address="10.42.0.0/16", groups=["id1"]
        )
        olds = {key: resource(double)[key] for key in ("name", "network", "address", "group", "router_uid")}
        provider = configured(NetworkResourceProvider(), netbird)
        id_ = f"{double}/{old['id']}"
        diff = provider.diff(id_, olds, resource(network))
        assert (diff.changes, diff.replaces) == (True, [])
        moved = provider.update(id_, olds, resource(network)).outs
        assert moved["object_id"] == f"{network}/{netbird.all(f'/networks/{network}/resources')[0]['id']}"
        assert [item["id"] for item in netbird.all("/networks")] == [network]
        assert capfd.readouterr().out == f"NetBird: removed the empty second network isthmus-de ({double})\n"
        assert provider.read(id_, moved).outs == moved
        provider.delete(id_, moved)
        assert netbird.all(f"/networks/{network}/resources") == []

    @pytest.mark.parametrize("instance", [None, INSTANCE], ids=["unmarked", "marked"])
    def test_a_leftover_in_the_other_network_goes(self, netbird: Netbird, network: str, instance: str | None) -> None:
        double = str(netbird.add("/networks", name="isthmus-de")["id"])
        description = f"Pods of de {mark(instance)}" if instance else ""
        path = f"/networks/{double}/resources"
        netbird.add(path, name="isthmus-de-pods", address="10.42.0.0/16", groups=["id1"], description=description)
        configured(NetworkResourceProvider(), netbird).create(resource(network))
        assert netbird.all(path) == []
        assert len(netbird.all("/networks")) == 1

    @pytest.mark.parametrize("used_by", ["routers", "resources"])
    def test_a_second_network_in_use_is_named_and_left(
        self, netbird: Netbird, network: str, used_by: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        double = str(netbird.add("/networks", name="isthmus-de")["id"])
        shape = {"name": "mine", "address": "192.0.2.0/24", "groups": [], "enabled": True, "masquerade": True}
        netbird.add(f"/networks/{double}/{used_by}", **shape)
        configured(NetworkResourceProvider(), netbird).create(resource(network))
        assert [item["id"] for item in netbird.all("/networks")] == [network, double]
        assert capfd.readouterr().out == (
            f"NetBird: a second network isthmus-de ({double}) is in use; it is left alone\n"
        )

    def test_state_of_an_earlier_release_is_updated_in_place(self, netbird: Netbird, network: str) -> None:
        provider = configured(NetworkResourceProvider(), netbird)
        made = provider.create(resource(network))
        olds = {key: made.outs[key] for key in ("name", "network", "address", "group", "router_uid")}
        diff = provider.diff(made.id, olds, resource(network))
        assert (diff.changes, diff.replaces) == (True, [])

    def test_a_new_router_in_the_same_network_changes_nothing_on_the_way(self, netbird: Netbird, network: str) -> None:
        provider = configured(NetworkResourceProvider(), netbird)
        made = provider.create(resource(network))
        diff = provider.diff(made.id, made.outs, {**resource(network), "router_uid": "u2"})
        assert (diff.changes, diff.replaces) == (True, [])

    def test_unknown_in_a_preview_is_no_replacement(self, netbird: Netbird, network: str) -> None:
        provider = configured(NetworkResourceProvider(), netbird)
        made = provider.create(resource(network))
        diff = provider.diff(made.id, made.outs, {**resource(network), "network_id": UNKNOWN})
        assert (diff.changes, diff.replaces) == (True, [])


class TestPolicy:
    @pytest.fixture
    def groups(self, netbird: Netbird) -> tuple[str, str]:
        """The ids of source and destination."""
        return netbird.group("isthmus-de-routers"), netbird.group("isthmus-mn-routers")

    def test_body(self, netbird: Netbird, groups: tuple[str, str]) -> None:
        configured(PolicyProvider(), netbird).create(POLICY)
        rule = {
            "name": "isthmus-de-to-mn-dns-udp",
            "enabled": True,
            "action": "accept",
            "bidirectional": False,
            "protocol": "udp",
            "sources": [groups[0]],
            "destinations": [groups[1]],
            "ports": ["1053"],
        }
        body = {"name": rule["name"], "description": f"The DNS relay of de asks that of mn {mark()}", "enabled": True}
        assert netbird.writes() == [("POST", "/policies", {**body, "rules": [rule]})]

    def test_all_protocols_have_no_ports(self, netbird: Netbird, groups: tuple[str, str]) -> None:
        configured(PolicyProvider(), netbird).create({**POLICY, "protocol": "all", "ports": []})
        assert "ports" not in netbird.all("/policies")[0]["rules"][0]

    def test_without_a_mark_it_is_adopted(
        self, netbird: Netbird, groups: tuple[str, str], capfd: pytest.CaptureFixture[str]
    ) -> None:
        provider = configured(PolicyProvider(), netbird)
        made = provider.create(POLICY)
        netbird.all("/policies")[0]["description"] = "The DNS relay of de asks that of mn (routers 100.92.0.8)"
        assert provider.create(POLICY).id == made.id
        assert netbird.all("/policies")[0]["description"].endswith(mark())
        assert capfd.readouterr().out == (
            f"NetBird: took over policy isthmus-de-to-mn-dns-udp ({made.id}), which was there already\n"
        )

    def test_of_another_stack_is_refused(self, netbird: Netbird, groups: tuple[str, str]) -> None:
        provider = configured(PolicyProvider(), netbird)
        provider.create({**POLICY, "instance": ANOTHER})
        writes = len(netbird.writes())
        with pytest.raises(
            TakenError, match=r"^NetBird: policy isthmus-de-to-mn-dns-udp was made by another stack called"
        ):
            provider.create(POLICY)
        assert len(netbird.writes()) == writes

    def test_doubles_of_ours_go_and_those_of_others_stay(
        self, netbird: Netbird, groups: tuple[str, str], capfd: pytest.CaptureFixture[str]
    ) -> None:
        provider = configured(PolicyProvider(), netbird)
        made = provider.create(POLICY)
        shape = {**netbird.all("/policies")[0]}
        second = netbird.add("/policies", **{**shape, "id": "second"})
        others = netbird.add("/policies", **{**shape, "id": "others", "description": "mine"})
        provider.update(made.id, made.outs, POLICY)
        assert [item["id"] for item in netbird.all("/policies")] == [made.id, others["id"]]
        assert capfd.readouterr().out == (
            f"NetBird: removed /policies/{second['id']}, a second isthmus-de-to-mn-dns-udp of this stack\n"
            f"NetBird: /policies/{others['id']} is called isthmus-de-to-mn-dns-udp too, and this stack did not make "
            "it; it is left alone\n"
        )

    def test_state_of_an_earlier_release_is_updated_in_place(self, netbird: Netbird, groups: tuple[str, str]) -> None:
        provider = configured(PolicyProvider(), netbird)
        id_ = provider.create(POLICY).id
        names = ("name", "source", "destination", "protocol", "ports", "bidirectional")
        olds = {**{key: POLICY[key] for key in names}, "description": f"{POLICY['description']} (routers 100.92.0.8)"}
        diff = provider.diff(id_, olds, POLICY)
        assert (diff.changes, diff.replaces) == (True, [])
        provider.update(id_, olds, POLICY)
        assert [item["id"] for item in netbird.all("/policies")] == [id_]

    def test_a_policy_that_was_switched_off_shows_in_a_state_of_an_earlier_release(
        self, netbird: Netbird, groups: tuple[str, str]
    ) -> None:
        provider = configured(PolicyProvider(), netbird)
        id_ = provider.create(POLICY).id
        names = ("name", "source", "destination", "protocol", "ports", "bidirectional", "description")
        olds = {key: POLICY[key] for key in names}
        netbird.all("/policies")[0]["enabled"] = False
        refreshed = provider.read(id_, olds)
        assert refreshed.outs["enabled"] is False
        assert provider.diff(id_, refreshed.outs, olds).changes, "as a refresh compares"


class TestRouterPeers:
    GROUP = "isthmus-de-routers"
    PROPS = PEERS

    def peer(self, netbird: Netbird, group: str = GROUP, **changes: Any) -> dict[str, Any]:
        """A router in its group."""
        if group not in netbird.names("/groups"):
            netbird.group(group)
        shape = {"name": "isthmus-de-router", "hostname": "de-agent-1", "ip": "100.92.0.7", "connected": True}
        made = netbird.add("/peers", **{**shape, **changes})
        netbird.one("/groups", group)["peers"].append(made["id"])
        return made

    def test_addresses_by_node(self, netbird: Netbird) -> None:
        self.peer(netbird)
        self.peer(netbird, "isthmus-mn-routers", name="isthmus-mn-router", ip="100.92.0.99")
        made = configured(RouterPeersProvider(), netbird).create(self.PROPS)
        assert made.outs == {**self.PROPS, "peers": {"de-agent-1": "100.92.0.7"}, "object_id": self.GROUP}

    def test_of_two_with_one_name_the_connected_one_counts(self, netbird: Netbird) -> None:
        self.peer(netbird)
        self.peer(netbird, ip="100.92.0.6", connected=False)
        found = wait_for_peers(client_of(netbird), self.GROUP, {"n": "isthmus-de-router"}, {})
        assert found.addresses == {"n": "100.92.0.7"}

    @pytest.mark.parametrize(
        ("connected", "state"), [(None, "not enrolled"), (False, "enrolled, not connected")], ids=["none", "offline"]
    )
    def test_deadline(self, netbird: Netbird, connected: bool | None, state: str) -> None:
        if connected is not None:
            self.peer(netbird, connected=connected)
        clock = iter(range(0, 1000, 100))
        with pytest.raises(TimeoutError) as late:
            wait_for_peers(
                client_of(netbird),
                self.GROUP,
                {"de-agent-1": "isthmus-de-router"},
                {},
                deadline_seconds=300,
                now=lambda: float(next(clock)),
                sleep=lambda _: None,
            )
        assert str(late.value) == (
            "NetBird: after 300 s not all routers of isthmus-de-routers are connected: "
            f"isthmus-de-router on de-agent-1 ({state}); look at the logs of the router pods in namespace netbird"
        )

    def test_it_says_what_it_waits_for_when_that_changes_and_every_ten_seconds(
        self, netbird: Netbird, capfd: pytest.CaptureFixture[str]
    ) -> None:
        passed = 0.0

        def time_passes(seconds: float) -> None:
            nonlocal passed
            passed += seconds
            if passed == 4:
                self.peer(netbird, connected=False)
            if passed == 18:
                netbird.one("/peers", "isthmus-de-router")["connected"] = True

        hostnames = {"de-agent-1": "isthmus-de-router"}
        wait_for_peers(client_of(netbird), self.GROUP, hostnames, {}, now=lambda: passed, sleep=time_passes)
        said = "NetBird: waiting for the routers of isthmus-de-routers"
        assert capfd.readouterr().out.splitlines() == [
            f"{said} (0 of 300 s): isthmus-de-router on de-agent-1 (not enrolled)",
            f"{said} (4 of 300 s): isthmus-de-router on de-agent-1 (enrolled, not connected)",
            f"{said} (14 of 300 s): isthmus-de-router on de-agent-1 (enrolled, not connected)",
        ]

    def test_waits_until_connected(self, netbird: Netbird) -> None:
        peer = self.peer(netbird, connected=False)

        def time_passes(_: float) -> None:
            peer["connected"] = True

        found = wait_for_peers(client_of(netbird), self.GROUP, {"n": "isthmus-de-router"}, {}, sleep=time_passes)
        assert found.addresses == {"n": "100.92.0.7"}

    def test_a_second_router_joins_and_goes_again(self, netbird: Netbird, capfd: pytest.CaptureFixture[str]) -> None:
        """The first one keeps its address and the name that it enrolled with; of the other nothing is left."""
        first = self.peer(netbird)
        provider = configured(RouterPeersProvider(), netbird)
        one = provider.create(self.PROPS).outs
        second = self.peer(netbird, name="isthmus-de-router-de-agent-2", hostname="de-agent-2", ip="100.92.0.6")
        names = {node: f"isthmus-de-router-{node}" for node in ("de-agent-1", "de-agent-2")}
        props = {**self.PROPS, "hostnames": names}
        assert provider.diff("id", one, props).changes
        two = provider.update("id", one, props).outs
        assert two["peers"] == {"de-agent-1": "100.92.0.7", "de-agent-2": "100.92.0.6"}
        assert not provider.diff("id", provider.read(self.GROUP, two).outs, props).changes
        assert netbird.all("/peers") == [first, second]
        assert provider.update("id", two, self.PROPS).outs["peers"] == {"de-agent-1": "100.92.0.7"}
        assert netbird.all("/peers") == [first]
        others = (
            "NetBird: isthmus-de-routers are others now; a stack that is linked with this one takes their addresses at "
            "its next `pulumi up`"
        )
        assert capfd.readouterr().out.splitlines() == [
            others,
            "NetBird: removed the peer isthmus-de-router-de-agent-2 (100.92.0.6), whose node has no router any more",
            others,
        ]

    def test_a_router_that_moves_takes_the_peer_of_its_old_node_away(self, netbird: Netbird) -> None:
        self.peer(netbird)
        provider = configured(RouterPeersProvider(), netbird)
        before = provider.create(self.PROPS).outs
        new = self.peer(netbird, hostname="de-server-1", ip="100.92.0.6")
        moved = provider.update("id", before, {**self.PROPS, "hostnames": {"de-server-1": "isthmus-de-router"}}).outs
        assert moved["peers"] == {"de-server-1": "100.92.0.6"}
        assert netbird.all("/peers") == [new]

    def test_a_peer_that_is_left_over_shows_in_a_refresh(self, netbird: Netbird) -> None:
        self.peer(netbird)
        provider = configured(RouterPeersProvider(), netbird)
        made = provider.create(self.PROPS).outs
        self.peer(netbird, name="isthmus-de-router-de-agent-2", ip="100.92.0.6", connected=False)
        refreshed = provider.read(self.GROUP, made).outs
        assert refreshed["left"] == ["isthmus-de-router-de-agent-2"]
        assert provider.diff("id", refreshed, self.PROPS).changes
        assert provider.update("id", refreshed, self.PROPS).outs["peers"] == {"de-agent-1": "100.92.0.7"}
        assert [peer["ip"] for peer in netbird.all("/peers")] == ["100.92.0.7"]

    def test_several_that_are_out_of_their_group_are_put_back(self, netbird: Netbird) -> None:
        self.peer(netbird)
        self.peer(netbird, name="isthmus-de-router-b", ip="100.92.0.6")
        names = {node: f"isthmus-de-router-{node}" for node in ("de-agent-1", "b")}
        provider = configured(RouterPeersProvider(), netbird)
        made = provider.create({**self.PROPS, "hostnames": names}).outs
        members = list(netbird.one("/groups", self.GROUP)["peers"])
        netbird.one("/groups", self.GROUP)["peers"].clear()
        found = provider.read(self.GROUP, made).outs
        assert found["hostnames"] == {}
        provider.update("id", found, {**self.PROPS, "hostnames": names})
        assert netbird.one("/groups", self.GROUP)["peers"] == members

    def test_deleting_leaves_the_peers_to_their_group(self, netbird: Netbird) -> None:
        peer = self.peer(netbird)
        configured(RouterPeersProvider(), netbird).delete(self.GROUP, {**self.PROPS, "peers": {}})
        assert netbird.objects["/peers"] == [peer]

    @pytest.mark.parametrize("doubled", [True, False])
    def test_two_setup_keys_of_a_name_would_hold_the_operators_group(self, netbird: Netbird, doubled: bool) -> None:
        """One is the operator's business, which deletes the key that its status names. Somebody's own key of that name
        lets nobody into the group, and stays.
        """
        into = [netbird.group(self.GROUP)]
        others = [
            netbird.add("/setup-keys", name="isthmus-mn-router", valid=True),
            netbird.add("/setup-keys", name="isthmus-de-router", valid=True),
        ]
        keys = [
            netbird.add("/setup-keys", name="isthmus-de-router", valid=True, auto_groups=into)
            for _ in range(1 + doubled)
        ]
        configured(RouterPeersProvider(), netbird).delete(self.GROUP, {**self.PROPS, "peers": {}})
        assert netbird.all("/setup-keys") == (others if doubled else [*others, *keys])

    @pytest.mark.parametrize("skip", ["", "1"])
    def test_deleting_says_what_the_engine_waits_for_next(
        self, netbird: Netbird, skip: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ISTHMUS_SKIP_NETBIRD", skip)
        configured(RouterPeersProvider(), netbird).delete(self.GROUP, {**self.PROPS, "peers": {}})
        assert capfd.readouterr().out.splitlines()[0] == (
            "NetBird: now the operator takes what it made out of NetBird. If it can't (it is away, NetBird is, or its "
            "token is revoked), that ends after 5 minutes with an error; this lets it go, at any time: kubectl -n "
            "netbird get networkrouters,groups.netbird.io,setupkeys -o name | xargs -r kubectl -n netbird patch --type "
            """merge -p '{"metadata":{"finalizers":null}}'"""
        )

    def test_outputs_make_no_difference(self) -> None:
        news = {**self.PROPS, "peers": None}
        olds = {**self.PROPS, "peers": {"de-agent-1": "100.92.0.7"}}
        assert RouterPeersProvider().diff("id", olds, news).changes is False


def test_a_router_that_was_made_by_hand_is_not_put_into_the_group(netbird: Netbird) -> None:
    account = raised(netbird)
    netbird.one("/groups", "isthmus-de-routers")["peers"].clear()
    netbird.one("/peers", "isthmus-de-router")["name"] = "someone"
    with pytest.raises(TimeoutError):
        wait_for_peers(client_of(netbird), "isthmus-de-routers", {"n": "isthmus-de-router"}, {}, deadline_seconds=0)
    account["peers"].refresh()
    assert netbird.one("/groups", "isthmus-de-routers")["peers"] == []


def test_management_url_defaults_to_the_settings_default() -> None:
    provider = GroupProvider()
    provider.configure(ConfigureRequest(Config({"isthmus:netbirdApiToken": TOKEN}, "isthmus")))
    assert provider._client.address == "https://api.netbird.io/api"
