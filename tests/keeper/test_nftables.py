"""Tables of nftables that are taken down and laid again, against the kernel and what ``nft`` says."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from keeper.netlink import NETLINK_NETFILTER, Netlink
from keeper.nftables import NEWRULE, NEWTABLE, Piece, lay, lost, taken_down

pytestmark = [
    pytest.mark.link,
    pytest.mark.usefixtures("own_network"),
    pytest.mark.skipif(shutil.which("nft") is None, reason="there is no nft here"),
]

RULES = """
table ip netbird {
    set nb0000009 { type ipv4_addr; flags dynamic; elements = { 100.76.235.189, 100.76.1.2 } }
    set ranges { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.0.2.7 } }
    chain netbird-rt-fwd {
        ct state established,related counter accept
        ip saddr @ranges ip daddr 10.44.0.0/16 counter accept comment "a range"
    }
    chain netbird-rt-postrouting {
        type nat hook postrouting priority srcnat - 1; policy accept;
        meta mark 0x0001bd21 oifname != "lo" counter masquerade
    }
    chain netbird-rt-redirect {
        type nat hook prerouting priority dstnat; policy accept;
        iifname "wt0" tcp dport 8080 dnat to 10.44.0.9:80
    }
    chain netbird-mangle-prerouting {
        type filter hook prerouting priority mangle; policy accept;
        iifname != "wt0" ct state new ip saddr 10.45.0.0/16 meta mark set 0x0001bd22
        iifname "wt0" ip saddr @nb0000009 udp dport { 53, 1053, 51823 } fib daddr type local meta mark set 0x0001bd20
        tcp dport vmap { 22 : drop, 80 : jump netbird-rt-fwd }
    }
    chain netbird-mangle-forward {
        type filter hook forward priority mangle; policy accept;
        oifname "wt0" tcp flags syn tcp option maxseg size > 1240 tcp option maxseg size set 1240
    }
    chain netbird-acl-input-filter {
        type filter hook input priority filter; policy drop;
        iifname "wt0" jump netbird-rt-fwd
        iifname "wt0" drop
    }
}
table ip6 netbird {
    chain netbird-acl-input-filter { type filter hook input priority filter; policy accept; iifname "wt0" drop; }
}
table ip filter {
    chain INPUT { type filter hook input priority filter; policy accept; tcp dport 22 accept; }
}
"""


def nft(text: str) -> str:
    return subprocess.run(["nft", "-f", "-"], input=text, check=True, capture_output=True, text=True).stdout


def ruleset() -> str:
    return subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout


def netbirds(name: str) -> bool:
    return name == "netbird"


def test_what_was_flushed_is_laid_again_as_it_was() -> None:
    nft(RULES)
    netlink = Netlink(NETLINK_NETFILTER)
    pieces = taken_down(netlink, netbirds)
    assert pieces
    before = ruleset()
    assert before.count("netbird-mangle-prerouting") == 1
    nft("flush ruleset")
    assert ruleset() == ""
    assert taken_down(netlink, netbirds) == ()
    lay(netlink, lost(pieces, ()))
    after = ruleset()
    assert after + nft_text_of_filter() == before
    again = taken_down(netlink, netbirds)
    assert again
    assert lost(pieces, again) == ()


def nft_text_of_filter() -> str:
    """Nobody asked for that table."""
    nft(RULES[RULES.index("table ip filter") :])
    text = subprocess.run(["nft", "list", "table", "ip", "filter"], check=True, capture_output=True, text=True).stdout
    nft("delete table ip filter")
    return text


def test_one_table_of_two_and_one_without_its_rules() -> None:
    nft(RULES)
    netlink = Netlink(NETLINK_NETFILTER)
    pieces = taken_down(netlink, netbirds)
    assert pieces
    before = ruleset()
    nft("delete table ip6 netbird; flush table ip netbird")
    found = taken_down(netlink, netbirds)
    assert found
    assert {(piece.family, piece.kind) for piece in found if piece.kind == NEWTABLE} == {(2, NEWTABLE)}
    assert [piece for piece in found if piece.kind == NEWRULE] == []
    lay(netlink, lost(pieces, found))
    assert sorted(ruleset().splitlines()) == sorted(before.splitlines())


def test_a_table_that_came_back_meanwhile_is_left_and_nothing_is_laid() -> None:
    nft(RULES)
    netlink = Netlink(NETLINK_NETFILTER)
    pieces = taken_down(netlink, netbirds)
    assert pieces
    nft("flush ruleset; table ip6 netbird { chain of-the-new-agent { }; }")
    with pytest.raises(FileExistsError):
        lay(netlink, lost(pieces, ()))
    assert "table ip netbird" not in ruleset()
    assert "of-the-new-agent" in ruleset()
    # The next question is not taken for an answer to what was refused.
    assert taken_down(netlink, netbirds)


def test_what_is_refused_leaves_nothing_behind() -> None:
    netlink = Netlink(NETLINK_NETFILTER)
    nft(RULES)
    pieces = taken_down(netlink, netbirds)
    assert pieces
    nft("flush ruleset")
    broken = (*pieces, Piece(NEWRULE, 2, b"\x0c\x00\x01\x00netbird\x00"))
    with pytest.raises(OSError, match=r"\w"):
        lay(netlink, broken)
    assert ruleset() == ""


def test_tables_of_a_thousand_rules() -> None:
    rules = "\n".join(f"ip saddr 10.{n // 250}.{n % 250}.0/24 counter accept" for n in range(1000))
    elements = ", ".join(f"10.{n // 250}.{n % 250}.1" for n in range(4000))
    nft(
        "table ip netbird { set many { type ipv4_addr; elements = { " + elements + " }; }\n"
        "chain c { type filter hook input priority 0; \n" + rules + "\n}\n}\n"
    )
    netlink = Netlink(NETLINK_NETFILTER)
    pieces = taken_down(netlink, netbirds)
    assert pieces
    before = ruleset()
    nft("flush ruleset")
    lay(netlink, pieces)
    assert ruleset() == before
