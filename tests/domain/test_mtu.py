from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.fleet import check_fleet, parse_fleet, with_common_mtus
from domain.mtu import ETHERNET_MTU, MtuChain, largest_chain
from domain.places.hetzner.nodes import HETZNER_PRIVATE_MTU
from domain.places.registry import StackSettings
from tests.domain.samples import DE, MN, changed, settings_of, text


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


def linked(**changes: dict[str, object]) -> dict[str, tuple[int, int]]:
    """The MTUs of de and mn with these changes, which must be right together."""
    files = {name: text(changed(base, changes.get(name, {}))) for name, base in (("de", DE), ("mn", MN))}
    fleet = parse_fleet(files)
    assert check_fleet(fleet) == []
    assert with_common_mtus(fleet.drafts) == fleet.drafts
    return {name: mtus(settings) for name, settings in fleet.stacks.items()}


@pytest.mark.parametrize(
    ("underlay", "expected"),
    [
        # Without the peer it would be 1480 on-premise, of whose packets Hetzner's private network takes no more.
        (1500, {"de": (1440, 1450), "mn": (1440, 1450)}),
        (1492, {"de": (1432, 1450), "mn": (1432, 1450)}),
        (1452, {"de": (1392, 1432), "mn": (1392, 1432)}),
        (1358, {"de": (1298, 1338), "mn": (1298, 1338)}),
    ],
)
def test_linked_clusters_compute_the_same(underlay: int, expected: dict[str, tuple[int, int]]) -> None:
    change: dict[str, object] = {"netbird": {"underlay_mtu": underlay}}
    assert linked(de=change, mn=change) == expected


def test_the_smaller_of_two_underlays_counts_for_both_ends() -> None:
    found = linked(de={"netbird": {"underlay_mtu": 1500}}, mn={"netbird": {"underlay_mtu": 1400}})
    assert found == {"de": (1440, 1380), "mn": (1340, 1380)}


def test_what_the_file_says_is_never_lowered() -> None:
    change: dict[str, object] = {"netbird": {"underlay_mtu": 1500}}
    files = {"de": text(changed(DE, change)), "mn": text(changed(MN, {**change, "cilium": {"mtu": 1480}}))}
    fleet = parse_fleet(files)
    assert mtus(fleet.stacks["mn"]) == (1440, 1480)
    assert [problem.setting for problem in check_fleet(fleet)] == ["cilium.mtu"]


def test_clusters_that_are_linked_over_others_compute_the_same() -> None:
    """de, us and mn in a row, and lone beside them."""
    narrow, wide = {"netbird": {"underlay_mtu": 1400}}, {"netbird": {"underlay_mtu": 1500}}
    files = {
        "de": text(changed(DE, {**narrow, "peers": ["us"]})),
        "us": text(changed(MN, {**wide, "peers": ["de", "mn"]})),
        "mn": text(changed(MN, {**wide, "peers": ["us"]})),
        "lone": text(changed(MN, {**wide, "peers": []})),
    }
    found = {name: settings.cilium.mtu for name, settings in parse_fleet(files).stacks.items()}
    assert found == {"de": 1380, "us": 1380, "mn": 1380, "lone": 1480}
