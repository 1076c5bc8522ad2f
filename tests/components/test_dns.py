"""Names in the cluster's own CoreDNS: our zones, and how it is rolled out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from domain.objects.cluster_dns import checksum
from tests.components.recording import Run


def test_rollout_never_leaves_the_cluster_without_names(mn: Run) -> None:
    patch = mn.one(":DeploymentPatch", "dns-coredns")
    zones = mn.one(":ConfigMapPatch", "dns-zones").inputs["data"]
    assert sorted(zones) == ["astring-de.internal.server", "astring-mn.internal.server"]
    assert patch.inputs["spec"] == {
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {"metadata": {"annotations": {"isthmus.dev/corefile-sha256": checksum(zones)}}},
    }


@given(some.dictionaries(some.text(), some.text(), max_size=5))
def test_checksum_does_not_hang_on_the_order(data: dict[str, str]) -> None:
    assert checksum(data) == checksum(dict(reversed(data.items())))
