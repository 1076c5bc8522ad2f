"""What somebody changes in NetBird by hand: seen by a refresh, put right by the next `up`, and then in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.components.netbird_account import Account, raised
from tests.components.netbird_server import running


@pytest.fixture
def account() -> Iterator[Account]:
    """An account in which de has been raised."""
    with running() as netbird:
        yield raised(netbird)


def group_of(account: Account, name: str) -> str:
    return str(account.netbird.one("/groups", name)["id"])


def policy(**changes: object) -> Callable[[Account], None]:
    return lambda account: account.netbird.one("/policies", "isthmus-de-to-mn-dns-udp").update(changes)


def rule(**changes: object) -> Callable[[Account], None]:
    return lambda account: account.netbird.one("/policies", "isthmus-de-to-mn-dns-udp")["rules"][0].update(changes)


def rule_groups(side: str, *names: str) -> Callable[[Account], None]:
    return lambda account: rule(**{side: [group_of(account, name) for name in names]})(account)


def second_rule(account: Account) -> None:
    rules = account.netbird.one("/policies", "isthmus-de-to-mn-dns-udp")["rules"]
    rules.append({**rules[0], "name": "everything", "protocol": "all", "ports": []})


def new_group_behind_the_name(account: Account) -> None:
    """Somebody renamed a group and made another one of its name, which the policy does not mean."""
    account.netbird.one("/groups", "isthmus-mn-routers")["name"] = "renamed"
    account.netbird.group("isthmus-mn-routers")


def resource(**changes: object) -> Callable[[Account], None]:
    return lambda account: account.netbird.all(f"/networks/{account.network}/resources")[0].update(changes)


def resource_groups(*names: str) -> Callable[[Account], None]:
    return lambda account: resource(groups=[group_of(account, name) for name in names])(account)


def network(**changes: object) -> Callable[[Account], None]:
    return lambda account: account.netbird.one("/networks", "isthmus-de").update(changes)


def second_network(account: Account) -> None:
    account.netbird.add("/networks", name="isthmus-de")


def router(**changes: object) -> Callable[[Account], None]:
    return lambda account: account.netbird.all(f"/networks/{account.network}/routers")[0].update(changes)


def zone(**changes: object) -> Callable[[Account], None]:
    return lambda account: account.netbird.all("/dns/zones")[0].update(changes)


def zone_groups(*names: str) -> Callable[[Account], None]:
    return lambda account: zone(distribution_groups=[group_of(account, name) for name in names])(account)


def group(which: str, **changes: object) -> Callable[[Account], None]:
    return lambda account: account.netbird.one("/groups", which).update(changes)


def laptop_in(name: str) -> Callable[[Account], None]:
    def change(account: Account) -> None:
        laptop = account.netbird.one("/peers", "laptop")["id"]
        account.netbird.one("/groups", name)["peers"].append(laptop)

    return change


def key(**changes: object) -> Callable[[Account], None]:
    return lambda account: account.netbird.one("/setup-keys", "isthmus-de-router").update(changes)


def gone(collection: str) -> Callable[[Account], None]:
    return lambda account: account.netbird.objects[collection.format(network=account.network)].clear()


DRIFT = [
    ("policy", "disabled", policy(enabled=False), {"enabled"}, "update"),
    ("policy", "its rule disabled", rule(enabled=False), {"enabled"}, "update"),
    ("policy", "gone", gone("/policies"), {"gone"}, "create"),
    ("policy", "renamed", policy(name="renamed"), {"name"}, "update"),
    ("policy", "described otherwise", policy(description="mine now"), {"description"}, "update"),
    ("policy", "posture checks", policy(source_posture_checks=["check1"]), {"posture_checks"}, "update"),
    ("policy", "more sources", rule_groups("sources", "isthmus-de-routers", "office"), {"source"}, "update"),
    ("policy", "other source", rule_groups("sources", "office"), {"source"}, "update"),
    ("policy", "more destinations", rule_groups("destinations", "isthmus-mn-routers", "office"), {"destination"},
     "update"),
    ("policy", "new group behind a name", new_group_behind_the_name, {"destination"}, "update"),
    ("policy", "all ports", rule(ports=[]), {"ports"}, "update"),
    ("policy", "more ports", rule(ports=["1053", "22"]), {"ports"}, "update"),
    ("policy", "a range of ports", rule(port_ranges=[{"start": 1, "end": 65535}]), {"ports"}, "update"),
    ("policy", "all protocols", rule(protocol="all", ports=[]), {"protocol", "ports"}, "update"),
    ("policy", "both ways", rule(bidirectional=True), {"bidirectional"}, "update"),
    ("policy", "a second rule", second_rule, {"other_rules"}, "update"),
    ("policy", "drops", rule(action="drop"), {"action"}, "update"),
    ("resource", "disabled", resource(enabled=False), {"enabled"}, "update"),
    ("resource", "other address", resource(address="10.0.0.0/8"), {"address"}, "update"),
    ("resource", "other group", resource_groups("office"), {"group"}, "update"),
    ("resource", "more groups", resource_groups("isthmus-de-pods", "office"), {"group"}, "update"),
    ("resource", "no group", resource_groups(), {"group"}, "update"),
    ("resource", "renamed", resource(name="renamed"), {"name"}, "update"),
    ("resource", "gone", gone("/networks/{network}/resources"), {"gone"}, "create"),
    ("resource", "routing peers disabled", router(enabled=False), {"routing"}, "update"),
    ("resource", "network renamed", network(name="renamed"), {"network"}, "update"),
    ("resource", "a second network", second_network, {"doubled"}, "update"),
    ("resource", "no masquerade", router(masquerade=False), {"routing"}, "update"),
    ("zone", "disabled", zone(enabled=False), {"enabled"}, "update"),
    ("zone", "searched", zone(enable_search_domain=True), {"search_domain"}, "update"),
    ("zone", "renamed", zone(name="renamed"), {"name"}, "update"),
    ("zone", "other group", zone_groups("office"), {"group"}, "update"),
    ("zone", "gone", gone("/dns/zones"), {"gone"}, "create"),
    ("group", "renamed", group("isthmus-de-pods", name="renamed"), {"name"}, "update"),
    ("group", "a stranger in it", laptop_in("isthmus-de-pods"), {"strangers"}, "update"),
    ("routers", "renamed", group("isthmus-de-routers", name="renamed"), {"name"}, "update"),
    ("routers", "a stranger in it", laptop_in("isthmus-de-routers"), {"strangers"}, "update"),
    ("peers", "taken out of their group", group("isthmus-de-routers", peers=[]), {"hostnames"}, "update"),
    ("setup key", "revoked", key(revoked=True, valid=False), {"usable"}, "update"),
    ("setup key", "expired", key(valid=False), {"usable"}, "update"),
    ("setup key", "gone", gone("/setup-keys"), {"usable"}, "update"),
    ("claim", "gone", lambda account: account.netbird.objects["/groups"].remove(
        account.netbird.one("/groups", "isthmus-de-stack-0123456789abcdef0123456789abcdef")
    ), {"gone"}, "create"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("resource_name", "change", "seen", "step"),
    [pytest.param(name, change, seen, step, id=f"{name} {what}") for name, what, change, seen, step in DRIFT],
)
def test_drift(
    account: Account, resource_name: str, change: Callable[[Account], None], seen: set[str], step: str
) -> None:
    made = account[resource_name]
    assert made.refresh() == set(), "in order before"
    change(account)
    assert made.refresh() == seen
    assert made.up() == step
    if resource_name == "setup key":
        assert made.outs["renewals"] == 1
        # What the operator does when its object says so.
        assert "isthmus-de-router" not in account.netbird.names("/setup-keys")
        account.netbird.add("/setup-keys", name="isthmus-de-router")
    assert made.refresh() == set(), "in order afterwards"
    assert made.up() == "same"


def test_what_was_put_right_is_what_was_there(account: Account) -> None:
    """Nothing else is lost on the way: members of a group that is renamed back, the peers of the router."""
    router = account.netbird.one("/peers", "isthmus-de-router")["id"]
    before = account.netbird.one("/groups", "isthmus-de-routers")
    before["name"] = "renamed"
    laptop_in("renamed")(account)
    assert account["routers"].refresh() == {"name", "strangers"}
    assert account["routers"].up() == "update"
    assert account.netbird.one("/groups", "isthmus-de-routers")["peers"] == [router]
    assert account.netbird.names("/peers") == ["laptop", "isthmus-de-router"], "a stranger is only taken out"


def test_group_that_is_gone_comes_back_with_its_members(account: Account) -> None:
    account.netbird.objects["/policies"].clear()
    account.netbird.objects["/setup-keys"].clear()
    account.netbird.objects["/groups"].remove(account.netbird.one("/groups", "isthmus-de-routers"))
    assert account["routers"].refresh() == {"gone"}
    assert account["routers"].up() == "create"
    assert account["peers"].refresh() == {"hostnames"}
    assert account["peers"].up() == "update"
    assert account["peers"].outs["peers"] == {"de-agent-1": "100.92.0.7"}
    assert account["policy"].refresh() == {"gone"}
    assert account["policy"].up() == "create"


def test_a_policy_that_is_gone_is_made_by_an_update_too(account: Account) -> None:
    """The peer was destroyed, which took the policy along, and raised anew: no refresh, other addresses."""
    account.netbird.objects["/policies"].clear()
    made = account["policy"]
    old = made.id
    made.inputs["peer_routers"] = ["100.92.0.9"]
    diff = made.provider.diff(made.id, made.outs, made.inputs)
    assert (diff.changes, diff.replaces) == (True, [])
    made.outs = made.provider.update(made.id, made.outs, made.inputs).outs
    new = account.netbird.one("/policies", "isthmus-de-to-mn-dns-udp")["id"]
    assert made.id == old != new
    assert made.outs["object_id"] == new
    assert made.refresh() == set()
    made.provider.delete(old, made.outs)
    assert account.netbird.all("/policies") == []


def test_what_is_in_order_is_never_written(account: Account) -> None:
    account.netbird.requests.clear()
    for made in account.made.values():
        assert made.refresh() == set()
        assert made.up() == "same"
    assert account.netbird.writes() == []
    assert len(account.made) == 8


def test_a_preview_asks_nobody(account: Account) -> None:
    account.netbird.requests.clear()
    for made in account.made.values():
        made.provider.diff(made.id, made.outs, made.inputs)
    assert account.netbird.requests == []
