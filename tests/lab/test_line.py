"""The counters of a line: their text, and that nftables takes it."""

from __future__ import annotations

import os
import shutil
import subprocess
from ipaddress import IPv4Address

import pytest

from lab.line import Arrived, counters, cutting, ends, parse_counters
from lab.topology import DEFAULT


def test_counters() -> None:
    assert counters("wan0", 1358) == (
        "table ip isthmus_line\n"
        "delete table ip isthmus_line\n"
        "table ip isthmus_line {\n"
        "    counter fragments {\n"
        "    }\n"
        "    counter of_length {\n"
        "    }\n"
        "    chain arriving {\n"
        "        type filter hook prerouting priority -450; policy accept;\n"
        '        iifname "wan0" ip frag-off & 0x3fff != 0 counter name fragments\n'
        '        iifname "wan0" ip protocol udp ip length 1358 counter name of_length\n'
        "    }\n"
        "}\n"
    )


def test_the_ends_of_a_line() -> None:
    assert ends(DEFAULT.workstation_site) == {"out": ("isthmus-wan", "pub-100-50"), "in": ("isthmus-mn-nat", "wan0")}


def test_cutting_a_machine_off_drops_all_that_goes_through_for_it_and_nothing_else() -> None:
    assert cutting(IPv4Address("192.168.7.12")) == (
        "table ip isthmus_cut_c0a8070c\n"
        "delete table ip isthmus_cut_c0a8070c\n"
        "table ip isthmus_cut_c0a8070c {\n"
        "    chain forward {\n"
        "        type filter hook forward priority -10; policy accept;\n"
        "        ip saddr 192.168.7.12 drop\n"
        "        ip daddr 192.168.7.12 drop\n"
        "    }\n"
        "}\n"
    )


@pytest.mark.link
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("nft") is None, reason="needs root and nftables")
def test_a_packet_in_pieces_is_counted_before_it_is_whole_again() -> None:
    script = (
        "ip link set lo up; ip link set lo mtu 1400; nft -f -; "
        # A rule that makes the kernel track connections, and so put fragments together.
        "nft 'add table ip t; add chain ip t c { type filter hook input priority 0; }; add rule ip t c ct state new'; "
        # What has been received has been counted; what was only sent may be on its way on a busy machine.
        'for size in 1372 1373; do python3 -c "'
        "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
        "s.bind(('127.0.0.1', 9)); s.settimeout(60); "
        "s.sendto(bytes(int(sys.argv[1])), ('127.0.0.1', 9)); assert len(s.recv(2000)) == int(sys.argv[1])"
        '" $size; done; nft --json list counters table ip isthmus_line'
    )
    twice = counters("lo", 1400) * 2
    done = subprocess.run(
        ["unshare", "--net", "sh", "-euc", script], input=twice, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert parse_counters(done.stdout) == Arrived(fragments=2, of_length=1)
