from __future__ import annotations

from ipaddress import IPv4Network

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from domain.egress_policy import egress_policy
from domain.metadata_policy import metadata_policy
from domain.overlay import NETBIRD_RANGE
from tests.domain.samples import golden


def test_egress() -> None:
    policy = egress_policy("mn", [IPv4Network("10.52.0.0/16")])
    golden("egress-policy.yaml", yaml.safe_dump(policy, sort_keys=False))


def test_metadata() -> None:
    golden("metadata-policy.yaml", yaml.safe_dump(metadata_policy(), sort_keys=False))


def test_no_destination() -> None:
    with pytest.raises(ValueError, match=r"^the egress policy to mn needs a destination$"):
        egress_policy("mn", [])


@given(st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_never_to_netbird(address: int, prefix: int) -> None:
    network = IPv4Network((address, prefix), strict=False)
    if network.overlaps(NETBIRD_RANGE):
        with pytest.raises(ValueError, match="must not cover"):
            egress_policy("mn", [IPv4Network("10.52.0.0/16"), network])
    else:
        assert egress_policy("mn", [network])["spec"]["destinationCIDRs"] == [str(network)]
