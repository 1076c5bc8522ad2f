from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.mtu import ETHERNET_MTU, HETZNER_PRIVATE_MTU, MtuChain, largest_chain
from domain.settings import StackSettings
from tests.domain.samples import DE, MN, settings_of


@pytest.mark.parametrize(
    ("underlay", "node_network", "netbird", "cilium", "pod"),
    [
        (1500, 1500, 1440, 1480, 1430),
        (1500, 1450, 1440, 1450, 1400),
        (1492, 1500, 1432, 1472, 1422),
        (1380, 1500, 1320, 1360, 1310),
        (1340, 1500, 1280, 1320, 1270),
        (9000, 9000, 8192, 8192, 8142),
    ],
)
def test_largest(underlay: int, node_network: int, netbird: int, cilium: int, pod: int) -> None:
    chain = largest_chain(underlay, node_network)
    assert chain == MtuChain(netbird=netbird, cilium=cilium)
    assert chain.pod == pod


@given(st.integers(636, 9216), st.sampled_from([HETZNER_PRIVATE_MTU, ETHERNET_MTU]))
def test_the_largest_fits_and_one_more_does_not(underlay: int, node_network: int) -> None:
    chain = largest_chain(underlay, node_network)
    assert chain.fits
    assert chain.underlay <= underlay
    assert chain.cilium <= node_network
    larger = MtuChain(netbird=chain.netbird, cilium=chain.cilium + 1)
    assert not larger.fits or larger.cilium > node_network or larger.cilium > 8192
    assert chain.netbird == 8192 or chain.underlay + 1 > underlay


def mtus(settings: StackSettings) -> tuple[int, int]:
    return settings.netbird.mtu, settings.cilium.mtu


@pytest.mark.parametrize(
    ("base", "changes", "expected"),
    [
        (DE, {}, (1280, 1280)),
        (DE, {"netbird": {"underlay_mtu": 1500}}, (1440, 1450)),
        (MN, {"netbird": {"underlay_mtu": 1500}}, (1440, 1480)),
        (MN, {"netbird": {"underlay_mtu": 1380}}, (1320, 1360)),
        (MN, {"netbird": {"underlay_mtu": 1380, "mtu": 1300}}, (1300, 1340)),
        (MN, {"netbird": {"underlay_mtu": 1380}, "cilium": {"mtu": 1300}}, (1320, 1300)),
        (MN, {"netbird": {"underlay_mtu": 1380}, "cilium": {}}, (1320, 1360)),
    ],
)
def test_computed_from_the_underlay(
    base: dict[str, object], changes: dict[str, object], expected: tuple[int, int]
) -> None:
    assert mtus(settings_of("de" if base is DE else "mn", base, changes)) == expected
