"""The DNS zone of a router, looked at before the router is made."""

from __future__ import annotations

import asyncio

import pulumi
import pytest

from components.netbird_client import NetbirdError
from components.router_zone import MissingZoneError, require_zone, zone_hooks
from tests.components.netbird_account import client_of
from tests.components.netbird_server import TOKEN, Netbird, running


class TestZone:
    def test_a_zone_that_is_there(self) -> None:
        with running() as netbird:
            netbird.add("/dns/zones", name="mn.routers.isthmus.internal", domain="mn.routers.isthmus.internal")
            require_zone(client_of(netbird), "mn.routers.isthmus.internal")

    def test_a_missing_zone_is_named_with_the_way_out(self) -> None:
        with running() as netbird:
            netbird.add("/dns/zones", name="de.routers.isthmus.internal", domain="de.routers.isthmus.internal")
            with pytest.raises(MissingZoneError) as missing:
                require_zone(client_of(netbird), "mn.routers.isthmus.internal")
        assert str(missing.value) == (
            "NetBird has no DNS zone mn.routers.isthmus.internal, without which its operator does nothing for the "
            "router of this cluster; somebody deleted it. `pulumi up --refresh` sees that and makes it anew"
        )


@pytest.mark.usefixtures("hooks")
class TestHook:
    """The look before the router is made or changed."""

    def look(self, url: str, token: str = TOKEN) -> None:
        async def body() -> None:
            binding = zone_hooks("mn.routers.isthmus.internal", url, pulumi.Output.secret(token))
            (hook,) = binding.before_create or []
            assert binding.before_update == [hook]
            assert not binding.before_delete, "a zone that is gone keeps nothing from going"
            await hook.callback(pulumi.ResourceHookArgs(urn="u", id="", name="r", type="t"))  # type: ignore[union-attr, misc]

        asyncio.run(body())

    def test_of_a_zone_that_is_there(self, netbird: Netbird) -> None:
        netbird.add("/dns/zones", name="mn.routers.isthmus.internal", domain="mn.routers.isthmus.internal")
        self.look(netbird.url)
        assert netbird.writes() == []

    def test_of_a_missing_zone(self, netbird: Netbird) -> None:
        with pytest.raises(MissingZoneError, match=r"^NetBird has no DNS zone mn\.routers\.isthmus\.internal, "):
            self.look(netbird.url)

    def test_with_a_token_that_was_revoked(self, netbird: Netbird) -> None:
        with pytest.raises(NetbirdError, match=r"^NetBird API: GET /dns/zones: 401: token invalid"):
            self.look(netbird.url, "another")
