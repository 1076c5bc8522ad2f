"""What the dynamic providers of NetBird's objects share."""

from __future__ import annotations

import pytest
from pulumi.dynamic import Config, ConfigureRequest

from components.netbird_api import (
    GroupProvider,
)
from components.netbird_provider import NotDeletedError, group_id, groups_as_input
from tests.components.netbird_account import GROUP, client_of, configured
from tests.components.netbird_server import TOKEN, Netbird


def test_management_url_defaults_to_the_settings_default() -> None:
    provider = GroupProvider()
    provider.configure(ConfigureRequest(Config({"isthmus:netbirdApiToken": TOKEN}, "isthmus")))
    assert provider._client.address == "https://api.netbird.io/api"


@pytest.mark.parametrize(
    ("status", "way"),
    [
        (412, "take it out of what still uses it, and run the same command again"),
        (503, "run the same command again when NetBird answers"),
        (401, "run the same command again when NetBird answers"),
    ],
)
def test_what_could_not_be_deleted_is_told_with_the_way_on(netbird: Netbird, status: int, way: str) -> None:
    provider = configured(GroupProvider(), netbird)
    made = provider.create(GROUP)
    netbird.faults = [("DELETE", f"/groups/{made.id}", status)] * 9
    with pytest.raises(NotDeletedError) as refusal:
        provider.delete(made.id, made.outs)
    text = str(refusal.value)
    assert text.startswith(f"group isthmus-de-pods ({made.id}) was not deleted: NetBird API: ")
    assert text.endswith(f"; {way}; to go on and leave NetBird as it is: `ISTHMUS_SKIP_NETBIRD=1 pulumi destroy`")


def test_whoever_wants_it_leaves_netbird_as_it_is(
    netbird: Netbird, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    provider = configured(GroupProvider(), netbird)
    made = provider.create(GROUP)
    capfd.readouterr()
    monkeypatch.setenv("ISTHMUS_SKIP_NETBIRD", "1")
    provider.delete(made.id, made.outs)
    assert netbird.names("/groups") == ["isthmus-de-pods"]
    assert capfd.readouterr().out == (
        f"ISTHMUS_SKIP_NETBIRD: left in NetBird as it is: group isthmus-de-pods ({made.id})\n"
    )


def test_an_object_that_was_made_anew_is_known_by_its_new_id(netbird: Netbird) -> None:
    """The engine keeps the first one for the resource's life."""
    provider = configured(GroupProvider(), netbird)
    made = provider.create(GROUP)
    client_of(netbird).delete(f"/groups/{made.id}")
    assert provider.read(made.id, made.outs).id == ""
    outs = provider.update(made.id, made.outs, GROUP).outs
    assert outs["object_id"] == netbird.one("/groups", "isthmus-de-pods")["id"] != made.id
    assert provider.read(made.id, outs).id == outs["object_id"]
    provider.delete(made.id, outs)
    assert netbird.names("/groups") == []


def test_what_only_the_provider_fills_and_what_is_the_sdks_makes_no_difference(netbird: Netbird) -> None:
    provider = configured(GroupProvider(), netbird)
    made = provider.create(GROUP)
    assert not provider.diff(made.id, made.outs, {**GROUP, "__provider": "another"}).changes
    assert not provider.diff(made.id, made.outs, {**GROUP, "object_id": None}).changes
    other = provider.diff(made.id, made.outs, {**GROUP, "name": "isthmus-de-others"})
    assert other.changes
    assert other.delete_before_replace


def test_a_group_is_named_by_what_there_is(netbird: Netbird) -> None:
    first = netbird.group("isthmus-de-pods")
    client = client_of(netbird)
    there = [{"id": first, "name": "isthmus-de-pods"}]
    assert group_id(client, "isthmus-de-pods") == first
    assert groups_as_input(client, "isthmus-de-pods", there) == "isthmus-de-pods"
    assert groups_as_input(client, "isthmus-de-pods", [{"id": "x", "name": "isthmus-de-pods"}]) == "isthmus-de-pods (x)"
    assert groups_as_input(client, "isthmus-de-pods", [*there, {"id": "y", "name": "office"}]) == (
        f"isthmus-de-pods ({first}), office (y)"
    )
    assert groups_as_input(client, "isthmus-de-pods", None) == "none"
