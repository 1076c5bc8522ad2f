"""Where a cluster runs, as its settings say, and what goes with its machines. What these get in detail is in
test_hetzner.py and test_on_premise.py.
"""

from __future__ import annotations

import pulumi
import pytest

from components.child_names import Children
from components.engine import MOCKS
from components.machines import running_cluster
from components.secrets import Secrets
from tests.components.recording import Run, run, shared_run
from tests.domain.samples import GIVEN, MN, plan_of, settings_of

GO_WITH_MACHINES = {
    "isthmus:cilium:Cilium",
    "isthmus:netbird:NetbirdOperator",
    "isthmus:guard:Guard",
    "isthmus:keeper:Keeper",
    "isthmus:dns_relay:DnsRelay",
    "isthmus:dns:ClusterDns",
}
"""What is in the cluster alone: the engine hands it down to the children. Routers and gateways clear up in NetBird."""


@pytest.mark.parametrize(("stack", "machines"), [("de", ":HetznerMachines"), ("mn", ":OnPremiseMachines")])
def test_what_is_in_the_cluster_alone_goes_with_its_machines(
    stack: str, machines: str, request: pytest.FixtureRequest
) -> None:
    found: Run = request.getfixturevalue(stack)
    # A node's membership goes with the cluster in another way, see test_node_member.py.
    going = [
        registration
        for registration in found.registrations
        if registration.deleted_with
        and not registration.type.endswith((":NodeMember", ":NodeGeneration", ":NodeSettings"))
    ]
    assert {registration.type for registration in going} == GO_WITH_MACHINES
    assert {registration.deleted_with for registration in going} == {found.one(machines).urn}
    assert found.of(":NetbirdRouter")
    assert found.of(":EgressGateway")


def test_nothing_goes_with_machines_of_others() -> None:
    found = shared_run("mn", GIVEN)
    assert {registration.deleted_with for registration in found.registrations} == {""}
    assert not [
        registration
        for registration in found.registrations
        if registration.type.endswith(("HetznerMachines", "OnPremiseMachines"))
    ]


def test_what_is_in_the_cluster_waits_for_the_labels_of_its_nodes() -> None:
    found = shared_run("mn", GIVEN)
    labels = found.one("isthmus:existing_cluster:NodeLabels")
    children = {registration.name for registration in found.registrations if registration.parent == labels.urn}
    assert children == {"node-labels-worker-b"}
    assert children <= found.one("Release", "isthmus-cilium").depends_on


def test_settings_without_machines_are_a_fault_of_the_checks() -> None:
    settings = settings_of("mn", MN)
    assert settings.on_premise is not None
    none = settings.model_copy(update={"on_premise": settings.on_premise.model_copy(update={"ssh": None})})
    token = pulumi.Output.secret

    async def body() -> None:
        secrets = Secrets(None, token("x"), {})
        children = Children(pulumi.ComponentResource("isthmus:test:Whole", "whole"), "whole", bare=True)
        running_cluster(none, plan_of("mn", MN), secrets, children=children, last={}, engine=MOCKS)

    with pytest.raises(ValueError, match=r"^mn: the settings name no machines$"):
        run(body, stack="mn", config={}, preview=False)
