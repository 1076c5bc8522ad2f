"""k3s on the machines of a place that the program does not know: what that has to say, and what it gets for it."""

from __future__ import annotations

from typing import Any, Final

import pulumi
import pytest
from pulumi_command import local

from components.cluster import Cluster, Shell
from components.cluster_start import NOTHING, PERMIT
from components.k3s_cluster import K3sCluster
from components.node_member import Member
from domain.leaving import Part
from tests.components.recording import Run, run
from tests.components.several_servers import COMMAND

ADDRESSES: Final = {"a-1": "192.0.2.1", "a-2": "192.0.2.2", "a-3": "192.0.2.3"}
HOST_KEY: Final = "ssh-ed25519 AAAA"


def cluster_of(servers: int, *, begun: bool = False) -> tuple[Run, Cluster]:
    """Three machines of which so many are servers."""
    made: list[Cluster] = []

    async def body() -> dict[str, Any]:
        place = pulumi.ComponentResource("test:place:Machines", "place")
        opts = pulumi.ResourceOptions(parent=place)
        machines = {name: local.Command(name, create=":", opts=opts) for name in ADDRESSES}
        shell = Shell(ADDRESSES["a-1"], "key", HOST_KEY)
        k3s = K3sCluster(place, "place", "a", shell, several=servers > 1)
        begins = k3s.begins(begun=begun, hooks=None, after=[machines["a-1"]])
        members = [
            Member(Part(name, number < servers, router=False), machines[name], address if number < servers else None)
            for number, (name, address) in enumerate(ADDRESSES.items())
        ]
        made.append(
            k3s.joined(
                members,
                fetched_again_with=machines["a-1"].id,
                others=[],
                after=[*machines.values(), *begins],
                drain_seconds=60,
                made_here=True,
            )
        )
        return {"kubeconfig": made[0].kubeconfig}

    found = run(body, stack="a", config={}, preview=False)
    return found, made[0]


def test_the_kubeconfig_comes_after_what_the_place_says_and_is_of_the_cluster() -> None:
    found, cluster = cluster_of(1)
    fetched = found.one(COMMAND, "place-kubeconfig")
    assert fetched.depends_on >= set(ADDRESSES)
    assert fetched.parent == found.one("test:place:Machines").urn
    assert fetched.inputs["connection"]["host"] == "192.0.2.1"
    assert fetched.inputs["connection"]["hostKey"] == HOST_KEY
    assert "current-context: a" in found.outputs["kubeconfig"].value
    assert "https://192.0.2.1:6443" in found.outputs["kubeconfig"].value
    assert found.outputs["kubeconfig"].secret
    assert (cluster.context, cluster.machines is not None, len(cluster.ready)) == ("a", True, 1)


def test_with_one_server_it_is_fetched_again_and_nothing_is_permitted() -> None:
    found, _ = cluster_of(1)
    assert [command.name for command in found.some(COMMAND)] == ["place-kubeconfig"]
    fetched = found.one(COMMAND, "place-kubeconfig")
    assert fetched.inputs["triggers"] != ["a"]
    assert "triggers" not in fetched.ignore_changes


@pytest.mark.parametrize(("begun", "command"), [(False, PERMIT), (True, NOTHING)])
def test_with_several_the_first_may_begin_and_the_kubeconfig_is_kept(begun: bool, command: str) -> None:
    found, _ = cluster_of(2, begun=begun)
    start = found.one(COMMAND, "place-start")
    assert start.inputs["create"] == command
    assert start.depends_on == {"a-1"}
    assert start.parent == found.one("test:place:Machines").urn
    fetched = found.one(COMMAND, "place-kubeconfig")
    assert "place-start" in fetched.depends_on
    assert (fetched.inputs["triggers"], fetched.ignore_changes) == (["a"], ("triggers",))


def test_each_node_is_a_member_until_the_cluster_goes() -> None:
    found, _ = cluster_of(2)
    members = {
        registration.name: registration
        for registration in found.registrations
        if registration.type.endswith(":NodeMember")
    }
    assert set(members) == {f"place-{name}-member" for name in ADDRESSES}
    assert {member.deleted_with for member in members.values()} == {found.one(COMMAND, "place-kubeconfig").urn}
    assert {member.inputs["drain_seconds"] for member in members.values()} == {60}
    assert {member.inputs["cluster"] for member in members.values()} == {"a"}
    assert members["place-a-3-member"].inputs["addresses"] == ["192.0.2.1", "192.0.2.2"]
    assert {member.parent for member in members.values()} == {found.one("test:place:Machines").urn}
