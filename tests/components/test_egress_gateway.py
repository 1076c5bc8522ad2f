"""The way out of a link: the policy that steers, and what has to be there before it."""

from __future__ import annotations

from components.kubernetes_object import TAKEN_BACK
from tests.components.recording import Run


def test_policy(mn: Run) -> None:
    policy = mn.one(":CiliumEgressGatewayPolicy")
    assert policy.inputs["spec"]["destinationCIDRs"] == ["10.42.0.0/16", "10.43.0.0/16"]
    assert "namespace" not in policy.inputs["metadata"]


def test_a_new_own_address_is_looked_at_again(mn: Run) -> None:
    annotations = mn.one(":CiliumEgressGatewayPolicy").inputs["metadata"]["annotations"]
    assert annotations == {"isthmus.dev/source-addresses": "100.92.0.8", **TAKEN_BACK}


def test_policies_follow_the_peers_routers(mn: Run) -> None:
    found = [(item.inputs["peer_routers"], "100.92" in item.inputs["description"]) for item in mn.of(":NetbirdPolicy")]
    assert found == [(["100.92.0.7"], False)] * 4


def test_policy_comes_after_the_guard_and_netbirds_policies(mn: Run) -> None:
    """What is never in plain: the guard is on every node before anything is steered."""
    policy = mn.one(":CiliumEgressGatewayPolicy")
    assert {"isthmus-guard", *(item.name for item in mn.of(":NetbirdPolicy"))} <= policy.depends_on
