"""ClusterIPs switched off at one end of a link that runs, and on again: nothing of either service range passes in the
meantime, in both directions, and the pods' part of the link goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from lab.kubernetes import Cluster
from lab.pulumi_command import Pulumi
from lab.status import Status
from lab.topology import DEFAULT
from tests.link.assertions import ALL_BUT_THROUGHPUT, all_passed
from tests.link.changing import UNCHANGED, change_settings, changes_ahead, stack_files_kept, up
from tests.link.conftest import Verify
from tests.link.test_restarts import wait_up

pytestmark = [pytest.mark.link, pytest.mark.thorough, pytest.mark.timeout(900)]

STACKS = [site.name for site in DEFAULT.sites]
BACK_SECONDS = 120.0


def carried(clusters: Mapping[str, Cluster]) -> dict[str, list[str]]:
    """What the egress policies of each cluster lead to its router."""
    policies = {name: cluster.get("ciliumegressgatewaypolicies") for name, cluster in clusters.items()}
    return {
        name: sorted(range_ for policy in of_cluster for range_ in policy["spec"]["destinationCIDRs"])
        for name, of_cluster in policies.items()
    }


def test_cluster_ips_go_and_come_back(
    pulumi: Pulumi, clusters: Mapping[str, Cluster], run_verify: Verify, status: Callable[[], Status]
) -> None:
    ranges = {site.name: site.ranges for site in DEFAULT.sites}
    pods = {"de": [str(ranges["mn"].pods)], "mn": [str(ranges["de"].pods)]}
    both = {name: sorted([*pods[name], str(ranges[peer].services)]) for name, peer in (("de", "mn"), ("mn", "de"))}
    assert carried(clusters) == both
    with stack_files_kept(["mn"]):
        change_settings("mn", {"link.cluster_ips": False})
        for stack in ("mn", "de"):
            made = up(pulumi, [stack])[stack]
            assert made.keys() <= {*UNCHANGED, "update", "delete"}, made
        assert carried(clusters) == pods
        wait_up(status, within=BACK_SECONDS)
        # The checks of services want a refusal now, and get one or fail.
        results = run_verify(*ALL_BUT_THROUGHPUT)
        all_passed(results)
        assert [identifier for identifier in results if "service-ip" in identifier or "cluster-ip" in identifier]
        assert changes_ahead(pulumi, STACKS) == {}
    for stack in ("mn", "de"):
        up(pulumi, [stack])
    assert carried(clusters) == both
    wait_up(status, within=BACK_SECONDS)
    all_passed(run_verify(*ALL_BUT_THROUGHPUT))
    assert changes_ahead(pulumi, STACKS) == {}
