"""The network resource of a cluster's pods, and the operator's networks that it may lie in."""

from __future__ import annotations

import pytest
from pulumi.runtime.rpc import UNKNOWN

from components.netbird_api import (
    NetworkResourceProvider,
)
from components.netbird_client import Json, NetbirdClient, NetbirdError
from components.netbird_networks import _wait_for_router
from tests.components.netbird_account import (
    INSTANCE,
    client_of,
    configured,
    mark,
    resource,
)
from tests.components.netbird_server import Netbird


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

    @pytest.mark.parametrize("after", ["/networks", "/networks/{double}/resources"])
    def test_a_second_network_that_another_resource_removes_meanwhile(
        self,
        netbird: Netbird,
        network: str,
        after: str,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        """The resources of pods and services are made at the same time, and each looks for doubles."""
        double = str(netbird.add("/networks", name="isthmus-de")["id"])
        listed = NetbirdClient.list

        def and_then_it_goes(client: NetbirdClient, path: str) -> list[Json]:
            found = listed(client, path)
            if path == after.format(double=double):
                netbird.objects["/networks"][:] = [item for item in netbird.all("/networks") if item["id"] == network]
            return found

        monkeypatch.setattr(NetbirdClient, "list", and_then_it_goes)
        configured(NetworkResourceProvider(), netbird).create(resource(network))
        assert [item["name"] for item in netbird.all(f"/networks/{network}/resources")] == ["isthmus-de-pods"]
        assert [item["id"] for item in netbird.all("/networks")] == [network]
        assert capfd.readouterr().out == ""

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
