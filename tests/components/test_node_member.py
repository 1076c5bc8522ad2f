"""The membership of each node: what it is registered with, what it comes after, and what its end is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
from pulumi.dynamic import Config, ConfigureRequest

from components import node_leaving
from components.node_leaving import Departure
from components.node_member import MemberProvider
from tests.components.recording import Registration, Run, run_stack, shared_run
from tests.domain.samples import DE, GIVEN, MN, changed

THREE: Final = {
    "hetzner.control_plane.count": 3,
    "hetzner.workers.count": 3,
}


def members(found: Run) -> dict[str, Registration]:
    """By node."""
    return {
        registration.inputs["node"]: registration
        for registration in found.registrations
        if registration.type.endswith(":NodeMember")
    }


def of(node: str) -> str:
    return f"machines-{node}-member"


def test_each_node_at_hetzner_has_one_after_its_machine() -> None:
    found = shared_run("de", changed(DE, THREE))
    made = members(found)
    assert set(made) == {f"de-{role}-{number}" for role in ("server", "agent") for number in (1, 2, 3)}
    for node, member in made.items():
        assert member.name == of(node)
        assert node in member.depends_on, "the engine deletes what depends on a machine before the machine"
        assert member.inputs["cluster"] == "de"
        assert member.inputs["drain_seconds"] == 600
        assert member.inputs["server"] == ("server" in node)
        assert member.parent == found.one(":HetznerMachines").urn


@pytest.mark.parametrize(("stack", "config"), [("de", changed(DE, THREE)), ("mn", MN)])
def test_a_destroy_deletes_none(stack: str, config: dict[str, Any]) -> None:
    """They go with the resource that fetched the kubeconfig. With the component of the machines they would come after
    every machine that goes in the same `up`, and a server that has left would join anew meanwhile.
    """
    found = shared_run(stack, config)
    fetched = found.one(":Command", "machines-kubeconfig").urn
    assert {member.deleted_with for member in members(found).values()} == {fetched}


def test_the_kubeconfig_is_secret_and_does_not_change_with_the_server_that_answers() -> None:
    found = shared_run("de", changed(DE, THREE))
    for member in members(found).values():
        assert "kubeconfig" in member.secret_inputs
        assert "kubeconfig" in member.additional_secret_outputs
        assert "https://127.0.0.1:6443" in member.inputs["kubeconfig"], "as k3s has written it"


def test_who_leaves_before_whom() -> None:
    """One of several that leave is deleted before those that it depends on, and no machine of those before it waits."""
    made = members(shared_run("de", changed(DE, THREE)))
    servers = [f"de-server-{number}" for number in (1, 2, 3)]
    before = {node: {other for other in made if of(other) in member.depends_on} for node, member in made.items()}
    assert before == {
        "de-server-1": set(),
        "de-server-2": {"de-server-1"},
        "de-server-3": {"de-server-1", "de-server-2"},
        # The router.
        "de-agent-1": set(servers),
        "de-agent-2": {*servers, "de-agent-1"},
        "de-agent-3": {*servers, "de-agent-1"},
    }
    machines = {node: member.depends_on & made.keys() for node, member in made.items()}
    assert machines["de-server-2"] == {"de-server-1", "de-server-2"}


def test_by_which_servers_a_node_leaves() -> None:
    """By those that stay for longer, and by its own last."""
    found = shared_run("de", changed(DE, THREE))
    first, second, third = found.outputs["api_addresses"].value
    asked = {node: member.inputs["addresses"] for node, member in members(found).items()}
    assert asked["de-server-1"] == [first]
    assert asked["de-server-3"] == [first, second, third]
    assert asked["de-agent-1"] == asked["de-agent-3"] == [first, second, third]


def test_on_machines_of_ones_own() -> None:
    """What takes k3s off a machine comes after the leaving. What put it there does not count: one that is away has no
    such resource, and holds up nobody.
    """
    made = members(shared_run("mn", MN))
    assert set(made) == {"mn-1", "mn-2"}
    assert made["mn-2"].depends_on >= {"machines-mn-2-uninstall", "machines-mn-1-member"}
    assert not {name for member in made.values() for name in member.depends_on} & {"machines-mn-2"}
    assert made["mn-2"].inputs["addresses"] == ["192.168.7.11"]


def test_any_server_of_ones_own_may_leave_and_asks_the_others(tmp_path: Path) -> None:
    machines = [
        {"name": f"mn-{number}", "address": f"192.168.7.1{number}", "role": "server", "router": number == 2,
         "host_key": MN["isthmus:on_premise"]["machines"][0]["host_key"]}
        for number in (1, 2, 3)
    ]  # fmt: skip
    made = members(run_stack(tmp_path, "mn", config=changed(MN, {"on_premise.machines": machines})))
    assert made["mn-2"].inputs["addresses"] == ["192.168.7.11", "192.168.7.13", "192.168.7.12"]
    assert made["mn-1"].inputs["addresses"] == ["192.168.7.12", "192.168.7.13", "192.168.7.11"]
    assert of("mn-2") in made["mn-1"].depends_on, "the one that is a router stays the longest"


def test_nodes_of_others_have_none() -> None:
    assert members(shared_run("mn", GIVEN)) == {}


# --- the provider -----------------------------------------------------------------------------------------------------

PROPS: Final[dict[str, Any]] = {
    "node": "de-agent-2", "cluster": "de", "server": False, "addresses": ["198.51.100.1"], "drain_seconds": 600.0,
    "kubeconfig": "k", "__provider": "x",
}  # fmt: skip


def configured(**config: str) -> MemberProvider:
    provider = MemberProvider()
    raw = {f"isthmus:{name}": text for name, text in config.items()}
    provider.configure(ConfigureRequest(Config(raw, "isthmus")))
    return provider


def test_only_a_name_asks_for_another_one() -> None:
    provider = MemberProvider()
    assert provider.diff("i", PROPS, {**PROPS, "__provider": "y"}).changes is False
    for key in PROPS.keys() - {"node", "__provider"}:
        diff = provider.diff("i", PROPS, {**PROPS, key: "another"})
        assert (diff.changes, diff.replaces) == (True, [])
    assert provider.diff("i", PROPS, {**PROPS, "node": "de-agent-3"}).replaces == ["node"]


def test_what_is_noted() -> None:
    noted = {key: value for key, value in PROPS.items() if key != "__provider"}
    created = MemberProvider().create(PROPS)
    assert (created.id, created.outs) == ("de-agent-2", noted)
    assert MemberProvider().update("i", {}, PROPS).outs == noted


@pytest.mark.parametrize(
    ("k3s", "seconds"), [(None, 600.0), ({"version": "v1"}, 600.0), ({"drain_seconds": 900}, 900.0)]
)
def test_the_deadline_is_that_of_the_stack_file(
    monkeypatch: pytest.MonkeyPatch, k3s: dict[str, Any] | None, seconds: float
) -> None:
    """One that was raised because a node did not leave counts at once, though the node is in the stack file no more."""
    left: list[Departure] = []
    monkeypatch.setattr(node_leaving, "leave", lambda departure, _say: left.append(departure))
    configured(**({} if k3s is None else {"k3s": json.dumps(k3s)})).delete("de-agent-2", PROPS)
    assert left == [Departure("de", "de-agent-2", False, ["198.51.100.1"], seconds, "k")]


def test_that_it_stays_is_an_error_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def stays(*_: Any) -> None:
        raise node_leaving.NotLeftError("de: node de-agent-2 does not leave")

    monkeypatch.setattr(node_leaving, "leave", stays)
    with pytest.raises(node_leaving.NotLeftError, match="does not leave"):
        configured().delete("de-agent-2", PROPS)
