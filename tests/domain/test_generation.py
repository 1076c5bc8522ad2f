"""A node is made anew: in which order, what stands against it, and when it is back."""

from __future__ import annotations

from typing import Any

import pytest

from domain.changes import changes_refused
from domain.generation import is_back, order, why_not_now
from domain.leaving import Part
from domain.places.outputs import RAISED_WITH, made_anew
from domain.plan import address_plan
from tests.domain.samples import DE, HOST_KEYS, MN, changed, settings_of
from tests.domain.test_changes import outputs_of

POOLS = {"db": {"server_type": "ccx23", "addresses": "10.0.1.64/28", "count": 1}}
SERVERS = ["de-server-1", "de-server-2", "de-server-3"]


def node(name: str, version: str = "v1.34.8+k3s1", ready: str = "True", **conditions: str) -> dict[str, Any]:
    found = [{"type": kind, "status": status} for kind, status in {"Ready": ready, **conditions}.items()]
    return {"metadata": {"name": name}, "status": {"conditions": found, "nodeInfo": {"kubeletVersion": version}}}


def test_servers_come_first_and_routers_last() -> None:
    nodes = [Part("a1", False, True), Part("a2", False, False), Part("s1", True, True), Part("s2", True, False)]
    assert order(nodes) == ["s2", "s1", "a2", "a1"]


@pytest.mark.parametrize(
    ("name", "servers", "listed", "version", "says"),
    [
        ("de-server-1", SERVERS[:1], [node("de-server-1")], "v1.34.8+k3s1", "it is the only server"),
        ("de-server-1", SERVERS, [node("de-server-2")], "v1.34.8+k3s1", "de-server-3 is not ready"),
        ("de-server-1", SERVERS, [], "v1.34.8+k3s1", "de-server-2 and de-server-3 are not ready"),
        ("de-agent-1", SERVERS[:1], [node("de-server-1")], "v1.35.1+k3s1", "a worker is never newer than a server"),
        ("de-server-1", SERVERS, [node(server) for server in SERVERS], "v1.36.0+k3s1", "one minor release to the next"),
        ("de-server-1", SERVERS, [node(server) for server in SERVERS], "v1.34.7+k3s1", "the data is of the newer one"),
        ("de-agent-1", SERVERS[:1], [node("de-server-1")], "v1.34.9+k3s1", None),
        ("de-server-1", SERVERS, [node(server) for server in SERVERS], "v1.35.0+k3s1", None),
        ("de-agent-1", SERVERS[:1], [node("de-server-1", version="")], "v1.36.0+k3s1", None),
    ],
)
def test_what_stands_against_it(
    name: str, servers: list[str], listed: list[dict[str, Any]], version: str, says: str | None
) -> None:
    found = why_not_now({"items": listed}, name, server="server" in name, servers=servers, version=version)
    assert found is None if says is None else says in str(found)


def test_a_server_is_back_once_it_has_a_vote() -> None:
    assert is_back(None) == (False, "it has not joined")
    assert is_back(node("a", ready="False")) == (False, "it has joined and is not ready yet")
    assert is_back(node("a", EtcdIsVoter="False")) == (False, "its member of etcd has no vote yet")
    assert is_back(node("a", EtcdIsVoter="True"))[0]
    assert is_back(node("a"))[0]


def refused(before: dict[str, int] | None, after: dict[str, int], **others: Any) -> list[str]:
    base = changed(DE, others)
    outputs = outputs_of(settings_of("de", changed(base, {"hetzner.generations": before or {}})))
    if before is None:
        outputs[RAISED_WITH].pop("generations")
    settings = settings_of("de", changed(base, {"hetzner.generations": after}))
    return [str(problem) for problem in changes_refused(outputs, settings)]


def test_what_is_refused_before_anything_is_changed() -> None:
    (only,) = refused({}, {"de-server-1": 2})
    assert "hetzner.generations.de-server-1 2 is higher than 1" in only
    assert "it is the only server, and the data is on it; write 1 again, or raise the cluster anew" in only
    (lower,) = refused({"de-agent-1": 3}, {})
    assert "hetzner.generations.de-agent-1 1 is lower than 3" in lower
    assert "write 3 again, or 4 to have it made anew" in lower
    (unnoted,) = refused(None, {"de-agent-1": 2})
    assert "write 1, `pulumi up -s de`, and 2 then" in unnoted
    (of_pool,) = refused({}, {"de-db-1": 2}, **{"hetzner.pools": POOLS, "hetzner.delete_protection": True})
    assert "hetzner.generations.de-db-1 2 is higher than before" in of_pool
    (protected,) = refused({}, {"de-agent-1": 2}, **{"hetzner.delete_protection": True})
    assert "hetzner.delete_protection keeps Hetzner from making the server anew" in protected


def test_one_router_that_linked_clusters_know_stays_as_it_is() -> None:
    two = {"hetzner.routers": 2, "hetzner.workers.count": 2}
    (both,) = refused({}, {"de-agent-1": 2, "de-agent-2": 2}, **two)
    assert "hetzner.generations.de-agent-2 2 is higher than before, and so is that of every other router" in both
    assert "mn would know none of them; raise it after the others" in both
    assert refused({"de-agent-1": 2}, {"de-agent-1": 2, "de-agent-2": 2}, **two) == []
    assert refused({}, {"de-agent-1": 2, "de-agent-2": 2}, **two, peers=[]) == []
    assert refused({}, {"de-agent-1": 2}) == [], "the only one: nobody could stay"


def test_what_is_made_anew() -> None:
    assert refused({}, {"de-db-1": 2}, **{"hetzner.pools": POOLS}) == []
    assert refused({"de-agent-1": 2}, {"de-agent-1": 3}) == []
    assert refused({"de-agent-1": 2}, {"de-agent-1": 2}) == []
    assert refused(None, {}) == []
    settings = settings_of("de", changed(DE, {"hetzner.generations": {"de-agent-1": 2}}))
    nodes = address_plan(settings).nodes
    assert made_anew(outputs_of(settings_of("de", DE)), nodes) == ["de-agent-1"]
    assert made_anew(outputs_of(settings), nodes) == []
    assert made_anew({}, nodes) == []


def refused_on_machines(before: dict[str, int] | None, after: dict[str, int], **others: Any) -> list[str]:
    """As :func:`refused`, of mn; ``machines`` are others than those of the sample."""
    base = changed(MN, {"on_premise.machines": others.pop("machines", MN["isthmus:on_premise"]["machines"]), **others})
    names = [machine["name"] for machine in base["isthmus:on_premise"]["machines"]]

    def numbered(numbers: dict[str, int]) -> dict[str, Any]:
        return changed(
            base, {f"on_premise.machines.{names.index(name)}.generation": number for name, number in numbers.items()}
        )

    outputs = outputs_of(settings_of("mn", numbered(before or {})))
    if before is None:
        outputs[RAISED_WITH].pop("generations")
    return [str(problem) for problem in changes_refused(outputs, settings_of("mn", numbered(after)))]


def machine(number: int, role: str, *, router: bool = False) -> dict[str, Any]:
    return {
        "name": f"mn-{number}", "address": f"192.168.7.{10 + number}", "role": role, "router": router,
        "host_key": HOST_KEYS[0],
    }  # fmt: skip


def test_what_is_refused_on_machines_of_ones_own() -> None:
    (only,) = refused_on_machines({}, {"mn-1": 2})
    assert "mn: on_premise.machines.0.generation 2 is higher than 1" in only
    assert "it is the only server, and the data is on it; write 1 again, or raise the cluster anew" in only
    (lower,) = refused_on_machines({"mn-2": 3}, {})
    assert "mn: on_premise.machines.1.generation 1 is lower than 3, with which the node runs" in lower
    assert "write 3 again, or 4 to have it made anew" in lower
    (unnoted,) = refused_on_machines(None, {"mn-2": 2})
    assert "write 1, `pulumi up -s mn`, and 2 then" in unnoted
    routers = [machine(1, "server"), machine(2, "agent", router=True), machine(3, "agent", router=True)]
    (all_routers,) = refused_on_machines({}, {"mn-2": 2, "mn-3": 2}, machines=routers)
    assert "on_premise.machines.2.generation 2 is higher than before, and so is that of every other" in all_routers


def test_machines_of_ones_own_are_made_anew() -> None:
    servers = [machine(number, "server", router=number == 3) for number in (1, 2, 3)]
    assert refused_on_machines({}, {"mn-1": 2}, machines=servers) == []
    assert refused_on_machines({}, {"mn-2": 2}) == []
    assert refused_on_machines({"mn-2": 2}, {"mn-2": 7}) == []
    assert refused_on_machines(None, {}) == []
    before = outputs_of(settings_of("mn", MN))
    after = address_plan(settings_of("mn", changed(MN, {"on_premise.machines.1.generation": 2}))).nodes
    assert made_anew(before, after) == ["mn-2"]
    assert made_anew(before, address_plan(settings_of("mn", MN)).nodes) == []


def test_a_machine_that_is_added_may_have_any_number() -> None:
    """Nothing is made anew of what was not there."""
    before = outputs_of(settings_of("mn", MN))
    three = [*MN["isthmus:on_premise"]["machines"], {**machine(3, "agent"), "generation": 5}]
    settings = settings_of("mn", changed(MN, {"on_premise.machines": three}))
    assert changes_refused(before, settings) == []
    assert made_anew(before, address_plan(settings).nodes) == []
