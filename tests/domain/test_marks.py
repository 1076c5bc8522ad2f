"""A mark that nobody has filled in is told as such, with what belongs there."""

from __future__ import annotations

import pytest

from domain.fleet import check_files
from tests.domain.samples import DE, MN, changed, said, text
from tests.domain.test_shipped_files import FILES


def test_of_the_shipped_files_every_mark_is_told_in_its_own_words() -> None:
    found = said([problem for problem in check_files(FILES) if "filled in" in problem.rule])
    assert found == [
        "de: hetzner.api_allowed_cidrs.0 is not filled in yet; write your public addresses, like 203.0.113.7/32.",
        "de: hetzner.ssh_allowed_cidrs.0 is not filled in yet; write your public addresses, like 203.0.113.7/32.",
        "de: k3s.sha256 is not filled in yet; write what `./isthmus k3s-checksum v1.34.9+k3s1` prints.",
        "mn: network.node_cidr is not filled in yet; write the LAN of the machines, like 192.168.7.0/24.",
        "mn: on_premise.machines.0.address is not filled in yet; write its address, like 192.168.7.11.",
        "mn: on_premise.machines.0.host_key is not filled in yet; write its line of /etc/ssh/ssh_host_ed25519_key.pub.",
        "mn: on_premise.machines.1.address is not filled in yet; write its address, like 192.168.7.12.",
        "mn: on_premise.machines.1.host_key is not filled in yet; write its line of /etc/ssh/ssh_host_ed25519_key.pub.",
        "mn: k3s.sha256 is not filled in yet; write what `./isthmus k3s-checksum v1.34.9+k3s1` prints.",
    ]


@pytest.mark.parametrize("value", ["<fsn1", "fsn1>", "<>", "a<b>c"])
def test_what_only_looks_like_one_is_not(value: str) -> None:
    found = check_files({"de": text(changed(DE, {"hetzner.location": value})), "mn": text(MN)})
    assert [problem.setting for problem in found] == ["hetzner.location"]
    assert "filled in" not in found[0].rule
