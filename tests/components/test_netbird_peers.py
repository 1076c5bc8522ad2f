"""The routers of a cluster as peers in NetBird."""

from __future__ import annotations

from typing import Any

import pytest

from components.netbird_api import (
    RouterPeersProvider,
)
from components.netbird_peers import wait_for_peers
from tests.components.netbird_account import (
    PEERS,
    client_of,
    configured,
    raised,
)
from tests.components.netbird_server import Netbird


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
        created = provider.create(self.PROPS).outs
        second = self.peer(netbird, name="isthmus-de-router-de-agent-2", hostname="de-agent-2", ip="100.92.0.6")
        names = {node: f"isthmus-de-router-{node}" for node in ("de-agent-1", "de-agent-2")}
        props = {**self.PROPS, "hostnames": names}
        assert provider.diff("id", created, props).changes
        updated = provider.update("id", created, props).outs
        assert updated["peers"] == {"de-agent-1": "100.92.0.7", "de-agent-2": "100.92.0.6"}
        assert not provider.diff("id", provider.read(self.GROUP, updated).outs, props).changes
        assert netbird.all("/peers") == [first, second]
        assert provider.update("id", updated, self.PROPS).outs["peers"] == {"de-agent-1": "100.92.0.7"}
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

    def test_a_router_whose_machine_was_made_anew_is_looked_for_again(self, netbird: Netbird) -> None:
        """It has enrolled anew, and the peer that it was goes."""
        self.peer(netbird)
        provider = configured(RouterPeersProvider(), netbird)
        before = provider.create({**self.PROPS, "generations": None}).outs
        assert not provider.diff("id", before, {**self.PROPS, "generations": None}).changes
        netbird.all("/peers")[0]["connected"] = False
        new = self.peer(netbird, name="isthmus-de-router-de-agent-1", ip="100.92.0.6")
        anew = {**self.PROPS, "generations": {"de-agent-1": 2}}
        assert provider.diff("id", before, anew).changes
        after = provider.update("id", before, anew).outs
        assert after["peers"] == {"de-agent-1": "100.92.0.6"}
        assert netbird.all("/peers") == [new]
        assert not provider.diff("id", after, anew).changes
        assert not provider.diff("id", after, {**anew, "generations": None}).changes, "a number that is left out again"

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
            "token is revoked), that ends after 5 minutes with an error; this lets it go, at any time, and again while "
            "it still waits: kubectl -n "
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
