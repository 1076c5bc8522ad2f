"""The REST client and the dynamic provider, against a server that speaks the documented shapes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pulumi.dynamic import Config, ConfigureRequest, ResourceProvider

from components.netbird_api import (
    DnsZoneProvider,
    GroupProvider,
    NetworkResourceProvider,
    PolicyProvider,
    RouterPeersProvider,
    group_id,
    wait_for_peers,
)
from components.netbird_client import NetbirdClient, NetbirdError
from tests.components.netbird_server import TOKEN, Netbird, running


@pytest.fixture
def netbird() -> Iterator[Netbird]:
    """An account with nothing in it."""
    with running() as server:
        yield server


def client_of(netbird: Netbird, token: str = TOKEN) -> NetbirdClient:
    """A client that does not wait between tries."""
    return NetbirdClient(netbird.url, token, timeout_seconds=5, pauses=(0, 0, 0), sleep=lambda _: None)


def configured(provider: ResourceProvider, netbird: Netbird) -> Any:
    """The provider as the engine configures it, but without pauses."""
    config = {"isthmus:netbird": json.dumps({"management_url": netbird.url}), "isthmus:netbirdApiToken": TOKEN}
    provider.configure(ConfigureRequest(Config(config, "isthmus")))
    provider._client._sleep = lambda _: None  # type: ignore[attr-defined]
    return provider


POLICY = {
    "name": "isthmus-de-to-mn-dns-udp",
    "description": "The DNS relay of de asks that of mn (routers 100.92.0.8)",
    "source": "networkrouter-isthmus-de",
    "destination": "networkrouter-isthmus-mn",
    "protocol": "udp",
    "ports": ["1053"],
    "bidirectional": False,
}


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
        assert str(refusal.value) == "NetBird API: GET /groups: 401: no valid authentication provided"
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
        made = client_of(netbird).ensure("/groups", {"name": "isthmus-de-pods"})
        assert netbird.names("/groups") == ["isthmus-de-pods"]
        assert made["id"] == netbird.objects["/groups"][0]["id"]
        assert [request[0] for request in netbird.writes()] == ["POST"]

    def test_two_of_a_name_are_for_a_person(self, netbird: Netbird) -> None:
        netbird.add("/groups", name="isthmus-de-pods")
        netbird.add("/groups", name="isthmus-de-pods")
        with pytest.raises(
            NetbirdError, match=r"2 objects are called isthmus-de-pods \(id1, id2\); delete all but one$"
        ):
            client_of(netbird).ensure("/groups", {"name": "isthmus-de-pods"})

    def test_deleting_what_is_gone_is_fine(self, netbird: Netbird) -> None:
        client_of(netbird).delete("/groups/id9")

    def test_answer_that_is_no_json(self, netbird: Netbird, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("components.netbird_client.json.loads", _refuse)
        with pytest.raises(NetbirdError, match="the answer is not JSON; is the management URL right"):
            client_of(netbird).list("/groups")


def _refuse(_: object) -> None:
    raise ValueError


class TestGroup:
    def test_life(self, netbird: Netbird) -> None:
        provider = configured(GroupProvider(), netbird)
        made = provider.create({"name": "isthmus-de-pods", "__provider": "x"})
        assert provider.read(made.id, made.outs).outs == {"name": "isthmus-de-pods"}
        assert provider.diff(made.id, made.outs, {"name": "isthmus-de-pods", "__provider": "x"}).changes is False
        provider.delete(made.id, made.outs)
        assert netbird.names("/groups") == []
        assert provider.read(made.id, made.outs).id == ""

    def test_created_twice_is_there_once(self, netbird: Netbird) -> None:
        provider = configured(GroupProvider(), netbird)
        assert provider.create({"name": "g"}).id == provider.create({"name": "g"}).id
        assert netbird.names("/groups") == ["g"]

    def test_takes_the_policies_of_peers_along_and_leaves_other_peoples(self, netbird: Netbird) -> None:
        provider = configured(GroupProvider(), netbird)
        pods = provider.create({"name": "isthmus-mn-pods"})
        rule = {"sources": [], "destinations": [{"id": pods.id, "name": "isthmus-mn-pods"}]}
        netbird.add("/policies", name="isthmus-de-to-mn-pods", rules=[rule])
        netbird.add("/policies", name="isthmus-de-to-fr-pods", rules=[{"sources": [], "destinations": []}])
        provider.delete(pods.id, pods.outs)
        assert netbird.names("/policies") == ["isthmus-de-to-fr-pods"]
        assert netbird.names("/groups") == []

    def test_a_policy_of_somebody_else_is_in_the_way(self, netbird: Netbird) -> None:
        provider = configured(GroupProvider(), netbird)
        pods = provider.create({"name": "isthmus-mn-pods"})
        rule = {"sources": [], "destinations": [{"id": pods.id, "name": "isthmus-mn-pods"}]}
        netbird.add("/policies", name="office", rules=[rule])
        with pytest.raises(NetbirdError, match=r"DELETE /groups/id1: 400: group has been linked to policy$"):
            provider.delete(pods.id, pods.outs)
        assert netbird.names("/policies") == ["office"]

    @pytest.mark.parametrize("owns_peers", [True, False])
    def test_peers_go_with_the_group_that_owns_them(self, netbird: Netbird, owns_peers: bool) -> None:
        peer = netbird.add("/peers", name="isthmus-de-router")
        laptop = netbird.add("/peers", name="laptop")
        group = netbird.add("/groups", name="isthmus-de-routers", peers=[{"id": peer["id"], "name": peer["name"]}])
        props = {"name": "isthmus-de-routers", "owns_peers": owns_peers}
        configured(GroupProvider(), netbird).delete(group["id"], props)
        assert netbird.objects["/peers"] == [laptop] if owns_peers else [peer, laptop]
        assert netbird.names("/groups") == []


class TestZone:
    PROPS = {"name": "de.routers.isthmus.internal", "domain": "de.routers.isthmus.internal", "group": "pods"}  # noqa: RUF012

    def test_body(self, netbird: Netbird) -> None:
        group = netbird.add("/groups", name="pods")
        made = configured(DnsZoneProvider(), netbird).create(self.PROPS)
        assert netbird.writes() == [
            (
                "POST",
                "/dns/zones",
                {
                    "name": "de.routers.isthmus.internal",
                    "domain": "de.routers.isthmus.internal",
                    "enabled": True,
                    "enable_search_domain": False,
                    "distribution_groups": [group["id"]],
                },
            )
        ]
        assert made.outs == self.PROPS

    def test_found_as_it_should_be_is_left_alone(self, netbird: Netbird) -> None:
        netbird.add("/groups", name="pods")
        provider = configured(DnsZoneProvider(), netbird)
        provider.create(self.PROPS)
        provider.create(self.PROPS)
        assert [request[0] for request in netbird.writes()] == ["POST"]

    def test_found_otherwise_is_put_right(self, netbird: Netbird) -> None:
        netbird.add("/groups", name="pods")
        provider = configured(DnsZoneProvider(), netbird)
        provider.create(self.PROPS)
        netbird.objects["/dns/zones"][0]["enabled"] = False
        provider.create(self.PROPS)
        assert [request[0] for request in netbird.writes()] == ["POST", "PUT"]

    def test_missing_group_says_what_comes_first(self, netbird: Netbird) -> None:
        with pytest.raises(NetbirdError, match=r"there is no group pods; raise the stack it belongs to first$"):
            configured(DnsZoneProvider(), netbird).create(self.PROPS)


class TestNetworkResource:
    PROPS = {  # noqa: RUF012
        "name": "isthmus-de-pods",
        "network": "isthmus-de",
        "address": "10.42.0.0/16",
        "group": "isthmus-de-pods",
        "router_uid": "u1",
    }

    def test_life(self, netbird: Netbird) -> None:
        network = netbird.add("/networks", name="isthmus-de")
        group = netbird.add("/groups", name="isthmus-de-pods")
        provider = configured(NetworkResourceProvider(), netbird)
        made = provider.create(self.PROPS)
        path = f"/networks/{network['id']}/resources"
        body = {"name": "isthmus-de-pods", "address": "10.42.0.0/16", "enabled": True, "groups": [group["id"]]}
        assert netbird.writes() == [("POST", path, body)]
        assert provider.create(self.PROPS).id == made.id
        assert len(netbird.writes()) == 1
        provider.delete(made.id, made.outs)
        assert netbird.names(path) == []

    def test_network_that_the_operator_has_not_made(self, netbird: Netbird) -> None:
        with pytest.raises(NetbirdError, match=r"there is no network isthmus-de; NetBird's operator makes it$"):
            configured(NetworkResourceProvider(), netbird).create(self.PROPS)

    def test_a_new_router_asks_for_a_new_one(self) -> None:
        diff = NetworkResourceProvider().diff("id", self.PROPS, {**self.PROPS, "router_uid": "u2"})
        assert (diff.changes, diff.replaces, diff.delete_before_replace) == (True, ["router_uid"], True)


class TestPolicy:
    def test_body(self, netbird: Netbird) -> None:
        source = netbird.add("/groups", name=POLICY["source"])
        destination = netbird.add("/groups", name=POLICY["destination"])
        configured(PolicyProvider(), netbird).create(POLICY)
        assert netbird.writes()[0][:2] == ("POST", "/policies")
        made = netbird.objects["/policies"][0]
        assert made["name"] == "isthmus-de-to-mn-dns-udp"
        assert made["rules"] == [
            {
                "name": "isthmus-de-to-mn-dns-udp",
                "enabled": True,
                "action": "accept",
                "bidirectional": False,
                "protocol": "udp",
                "sources": [{"id": source["id"], "name": POLICY["source"], "peers_count": 0}],
                "destinations": [{"id": destination["id"], "name": POLICY["destination"], "peers_count": 0}],
                "ports": ["1053"],
            }
        ]

    def test_all_protocols_have_no_ports(self, netbird: Netbird) -> None:
        netbird.add("/groups", name=POLICY["source"])
        netbird.add("/groups", name=POLICY["destination"])
        configured(PolicyProvider(), netbird).create({**POLICY, "protocol": "all", "ports": []})
        assert "ports" not in netbird.objects["/policies"][0]["rules"][0]

    def test_new_peer_behind_the_old_name(self, netbird: Netbird) -> None:
        """The peer was destroyed, which took the policy away, and raised again: an update makes it anew."""
        netbird.add("/groups", name=POLICY["source"])
        netbird.add("/groups", name=POLICY["destination"])
        provider = configured(PolicyProvider(), netbird)
        made = provider.create(POLICY)
        netbird.objects["/policies"].clear()
        news = {**POLICY, "description": "The DNS relay of de asks that of mn (routers 100.92.0.9)"}
        diff = provider.diff(made.id, made.outs, news)
        assert (diff.changes, diff.replaces) == (True, [])
        provider.update(made.id, made.outs, news)
        assert netbird.names("/policies") == [POLICY["name"]]


class TestRouterPeers:
    GROUP = "networkrouter-isthmus-de"
    PROPS = {"group": GROUP, "hostnames": {"de-agent-1": "isthmus-de-router"}, "router_uid": "u1"}  # noqa: RUF012

    def peer(self, netbird: Netbird, **changes: Any) -> dict[str, Any]:
        return netbird.add(
            "/peers",
            **{
                "name": "isthmus-de-router",
                "hostname": "isthmus-de-router",
                "ip": "100.92.0.7",
                "connected": True,
                "groups": [{"id": "g", "name": self.GROUP}],
                **changes,
            },
        )

    def test_addresses_by_node(self, netbird: Netbird) -> None:
        self.peer(netbird)
        self.peer(netbird, ip="100.92.0.99", groups=[{"id": "o", "name": "networkrouter-isthmus-mn"}])
        made = configured(RouterPeersProvider(), netbird).create(self.PROPS)
        assert made.outs == {**self.PROPS, "peers": {"de-agent-1": "100.92.0.7"}}

    def test_of_two_with_one_name_the_connected_one_counts(self, netbird: Netbird) -> None:
        self.peer(netbird)
        self.peer(netbird, ip="100.92.0.6", connected=False)
        assert wait_for_peers(client_of(netbird), self.GROUP, {"n": "isthmus-de-router"}) == {"n": "100.92.0.7"}

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
                deadline_seconds=300,
                now=lambda: float(next(clock)),
                sleep=lambda _: None,
            )
        assert str(late.value) == (
            "NetBird: after 300 s not all routers of networkrouter-isthmus-de are connected: "
            f"isthmus-de-router ({state}); look at the logs of the router pods in namespace netbird"
        )

    def test_waits_until_connected(self, netbird: Netbird) -> None:
        peer = self.peer(netbird, connected=False)

        def time_passes(_: float) -> None:
            peer["connected"] = True

        found = wait_for_peers(client_of(netbird), self.GROUP, {"n": "isthmus-de-router"}, sleep=time_passes)
        assert found == {"n": "100.92.0.7"}

    def test_deleting_leaves_the_peers_to_their_group(self, netbird: Netbird) -> None:
        peer = self.peer(netbird)
        configured(RouterPeersProvider(), netbird).delete(self.GROUP, {**self.PROPS, "peers": {}})
        assert netbird.objects["/peers"] == [peer]

    def test_outputs_make_no_difference(self) -> None:
        news = {**self.PROPS, "peers": None}
        olds = {**self.PROPS, "peers": {"de-agent-1": "100.92.0.7"}}
        assert RouterPeersProvider().diff("id", olds, news).changes is False


def test_group_id_of_the_first_page(netbird: Netbird) -> None:
    netbird.add("/groups", name="a")
    wanted = netbird.add("/groups", name="b")
    assert group_id(client_of(netbird), "b") == wanted["id"]


def test_management_url_defaults_to_the_settings_default() -> None:
    provider = GroupProvider()
    provider.configure(ConfigureRequest(Config({"isthmus:netbirdApiToken": TOKEN}, "isthmus")))
    assert provider._client._base == "https://api.netbird.io"
