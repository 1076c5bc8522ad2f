"""Groups, zones and policies in NetBird: made once, taken over, put right, and never those of others."""

from __future__ import annotations

import pytest

from components.netbird_api import (
    DnsZoneProvider,
    GroupProvider,
    PolicyProvider,
)
from components.netbird_client import NetbirdError
from components.netbird_provider import AmbiguousError, NotDeletedError, TakenError, group_id
from tests.components.netbird_account import (
    ANOTHER,
    GROUP,
    POLICY,
    ROUTERS,
    ZONE,
    client_of,
    configured,
    mark,
)
from tests.components.netbird_server import Netbird


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

    def test_policies_of_ours_go_with_it_and_those_of_others_stay(self, netbird: Netbird) -> None:
        """Those of a peer's stack too, since NetBird keeps a group that a policy names."""
        provider = configured(GroupProvider(), netbird)
        made = provider.create(GROUP)
        other = netbird.group("office")
        into = {"sources": [], "destinations": [made.id]}
        netbird.add("/policies", name="isthmus-mn-to-de-pods", rules=[into])
        netbird.add("/policies", name="isthmus-mn-to-kz-pods", rules=[{"sources": [other], "destinations": [other]}])
        netbird.add("/policies", name="office", rules=[{"sources": [other], "destinations": []}])
        provider.delete(made.id, made.outs)
        assert netbird.names("/policies") == ["isthmus-mn-to-kz-pods", "office"]
        assert netbird.names("/groups") == ["office"]

    def test_a_policy_of_somebody_else_is_in_the_way(self, netbird: Netbird) -> None:
        provider = configured(GroupProvider(), netbird)
        made = provider.create(GROUP)
        netbird.add("/policies", name="office", rules=[{"sources": [], "destinations": [made.id]}])
        with pytest.raises(NotDeletedError, match=r"400: group has been linked to policy: office; "):
            provider.delete(made.id, made.outs)
        assert netbird.names("/policies") == ["office"]
        assert netbird.names("/groups") == ["isthmus-de-pods"]

    @pytest.mark.parametrize("owns_peers", [True, False])
    def test_peers_of_ours_go_with_the_group_that_owns_them(self, netbird: Netbird, owns_peers: bool) -> None:
        router, stranger = (
            str(netbird.add("/peers", name=name, hostname=name)["id"]) for name in ("isthmus-de-router", "laptop")
        )
        group = netbird.group("isthmus-de-routers", router, stranger)
        configured(GroupProvider(), netbird).delete(group, {**ROUTERS, "owns_peers": owns_peers, "object_id": group})
        assert netbird.names("/peers") == (["laptop"] if owns_peers else ["isthmus-de-router", "laptop"])
        assert netbird.names("/groups") == []

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
