"""The script that runs on machines, here on this one: what it sends, and how it tells that nothing comes back."""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lab.status import node_agent
from lab.status.asking import script
from lab.status.node_kernel import programs


def ask(request: dict[str, Any], *inside: str) -> dict[str, Any]:
    """The script's answer, as a machine's Python would give it; run by the command ``inside``, if there is one."""
    done = subprocess.run(
        [*inside, sys.executable, "-S", "-E", "-c", script()],
        input=json.dumps({"relay_port": 1053, "route_table": 7120, **request}),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def probe(**changes: Any) -> dict[str, Any]:
    plain = {"id": "one", "do": "tcp", "netns": "", "address": "127.0.0.1", "port": 1, "seconds": 1.0, "name": ""}
    return {**plain, **changes}


def sent(**changes: Any) -> dict[str, Any]:
    answer: dict[str, Any] = ask({"probes": [probe(**changes)]})["probes"]["one"]
    return answer


def test_a_connection_that_is_accepted_refused_or_not_answered() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        good = sent(port=port)
        assert (good["ok"], good["said"]) == (True, "")
        assert 0 <= good["ms"] < 1000
    refused = sent(port=port)
    assert (refused["ok"], refused["said"]) == (False, "refused")


def test_all_probes_go_out_at_the_same_time_and_one_that_fails_costs_no_other() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        probes = [probe(id=f"dns-{n}", do="dns", port=port, name="a.mn.internal") for n in range(8)]
        answers = ask({"probes": [*probes, probe(id="nonsense", do="nonsense")]})["probes"]
    assert len(answers) == 9
    assert {answer["said"] for name, answer in answers.items() if name.startswith("dns")} == {"no answer in 1 s"}
    assert answers["nonsense"] == {"ok": False, "ms": None, "said": "KeyError: 'nonsense'"}


@pytest.fixture
def name_server() -> Iterator[tuple[int, list[int]]]:
    """Answers every question with the code that stands in the list, and not the first one: as if that were lost."""
    code = [0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)

        def serve() -> None:
            seen: set[bytes] = set()
            while True:
                try:
                    question, asker = server.recvfrom(512)
                except OSError:
                    return
                if question[:2] in seen:
                    server.sendto(question[:2] + bytes([0x84, code[0]]) + question[4:], asker)
                seen.add(question[:2])

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1], code
        server.sendto(b"", server.getsockname())


@pytest.mark.parametrize(
    ("code", "ok", "said"), [(0, True, "NOERROR"), (3, True, "NXDOMAIN"), (2, False, "SERVFAIL"), (5, False, "REFUSED")]
)
def test_what_the_name_server_says_counts_and_a_lost_question_is_asked_again(
    name_server: tuple[int, list[int]], code: int, ok: bool, said: str
) -> None:
    port, answers = name_server
    answers[0] = code
    answer = sent(do="dns", port=port, name="isthmus-status-1.mn.internal", seconds=3.0)
    assert (answer["ok"], answer["said"]) == (ok, said)


@pytest.mark.link
def test_an_echo_comes_back_and_without_a_network_it_does_not() -> None:
    good = sent(do="icmp")
    assert (good["ok"], good["said"]) == (True, "")
    bad = ask({"probes": [probe(do="icmp")]}, "unshare", "--net")["probes"]["one"]
    assert (bad["ok"], bad["said"]) == (False, "Network is unreachable")


def test_the_checksum_of_an_echo_request() -> None:
    packet = node_agent.echo(0x1234, 1)
    words = [int.from_bytes(packet[place : place + 2], "big") for place in range(0, len(packet), 2)]
    total = sum(words)
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF


def test_who_listens_on_a_port() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as own,
        socket.create_server(("", 0)) as every,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as names,
    ):
        names.bind(("127.0.0.1", 0))
        assert node_agent.listening(own.getsockname()[1]) == ["127.0.0.1"]
        assert node_agent.listening(every.getsockname()[1]) == ["*"]
        assert node_agent.listening(names.getsockname()[1], "udp") == ["127.0.0.1"]
        port = own.getsockname()[1]
    assert node_agent.listening(port) == []


def test_a_process_that_is_stopped_is_seen_to_be_frozen() -> None:
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            own = next(process for process in node_agent.processes() if process["pid"] == sleeper.pid)
            assert (own["name"], own["frozen"]) == ("sleep", False)
            sleeper.send_signal(19)
            os.waitpid(sleeper.pid, os.WUNTRACED)
            assert (
                next(process for process in node_agent.processes() if process["pid"] == sleeper.pid)["frozen"] is True
            )
        finally:
            sleeper.kill()


def test_a_look_has_every_fact() -> None:
    looked = ask({"look": True})["node"]
    assert set(looked) == {
        *("agent", "relay", "kubelet", "cilium", "relay_listens", "wt0", "programs", "forwarding", "rp_filter"),
        *("rules", "routes", "firewall", "status", "keeper"),
    }
    assert looked["routes"] == [], "a table that is not there has no routes"


class Told(http.server.BaseHTTPRequestHandler):
    """A keeper's /status."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/status" else 404)
        self.end_headers()
        self.wfile.write(b'{"ok": true}')

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Nothing."""


def test_a_keeper_is_asked_and_one_that_is_not_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Told) as server:
        monkeypatch.setattr(node_agent, "KEEPER", f"http://127.0.0.1:{server.server_port}/status")
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert node_agent.keeper() == {"ok": True}
        thread.join()
    assert node_agent.keeper() is None


A_POD = """
mkdir -p /run/netns
mount -t tmpfs none /run/netns
ip netns add cni-one
ip netns add another
ip link add veth0 type veth peer name eth0 netns cni-one
ip address add 10.42.0.1/24 dev veth0
ip link set veth0 up
ip link set lo up
ip -n cni-one address add 10.42.0.5/24 dev eth0
ip -n cni-one link set eth0 up
# The end that came up first sends nothing before the kernel has seen its carrier.
until ip link show dev veth0 | grep -q "state UP"; do sleep 0.05; done
exec "$@"
"""


@pytest.mark.link
def test_pods_are_found_by_their_networks_and_probes_start_there() -> None:
    inside = ["unshare", "--mount", "--propagation", "private", "--net", "sh", "-ec", A_POD, "sh"]
    netns = "/run/netns/cni-one"
    probes = [
        probe(id="there", do="icmp", netns=netns, address="10.42.0.1"),
        probe(id="own", do="icmp", netns=netns, address="10.42.0.5"),
        probe(id="node", do="tcp", address="10.42.0.5", port=53),
        probe(id="nobody", do="icmp", netns=netns, address="10.42.0.9"),
        probe(id="gone", do="icmp", netns="/run/netns/cni-two", address="10.42.0.1"),
    ]
    answer = ask({"scan": True, "probes": probes}, *inside)
    assert answer["pods"] == [{"netns": netns, "address": "10.42.0.5", "serves_dns": False}]
    assert answer["own"] == {"wt0": "", "cilium_host": ""}
    told = {name: (reply["ok"], reply["said"]) for name, reply in answer["probes"].items()}
    assert told["there"] == (True, "")
    assert told["node"] == (False, "refused")
    assert told["nobody"][0] is False
    assert told["gone"] == (False, "No such file or directory")


FILTER = """
table ip netbird {
    chain rules { accept; }
    chain in { type filter hook input priority 0; iifname "wt0" jump rules; iifname "wt0" drop; }
    chain forwarding { type filter hook forward priority 0; iifname "wt0" drop; }
    chain mangle { type filter hook forward priority -150; oifname "wt0" counter; }
    chain nat { type nat hook postrouting priority 99; meta mark 0x1bd21 masquerade; }
}
table inet isthmus {
    chain in { type filter hook input priority 10; iifname "wt0" drop; }
}
"""


@pytest.mark.link
@pytest.mark.parametrize(
    ("change", "masquerades", "drops"),
    [
        ("true", True, ["forward", "input"]),
        ("nft flush chain ip netbird in", True, ["forward"]),
        ("nft flush chain ip netbird forwarding", True, ["input"]),
        ("nft flush chain ip netbird nat", False, ["forward", "input"]),
        ("nft delete table ip netbird", False, []),
        ("nft flush ruleset", False, []),
    ],
)
def test_what_netbirds_packet_filter_does(change: str, masquerades: bool, drops: list[str]) -> None:
    script = f"""nft -f - <<'END'
{FILTER}
END
{change}
exec "$@" """
    looked = ask({"look": True}, "unshare", "--net", "sh", "-ec", script, "sh")["node"]
    assert (looked["firewall"]["masquerades"], sorted(looked["firewall"]["drops"])) == (masquerades, drops)


FILTERED = """
iptables -N ts-input
iptables -I INPUT -j ts-input
iptables -A ts-input -s 100.115.92.0/23 ! -i tailscale0 -j RETURN
iptables -A ts-input -s 100.64.0.0/10 ! -i tailscale0 -j DROP
iptables -A INPUT -s 100.64.0.0/10 -j DROP
nft add chain ip filter lonely
nft add rule ip filter lonely ip saddr 100.64.0.0/10 drop
nft add chain ip filter ISTHMUS-GUARD
nft add rule ip filter INPUT jump ISTHMUS-GUARD
nft add rule ip filter ISTHMUS-GUARD ip saddr 100.64.0.0/10 drop
nft add table inet other
nft add chain inet other out '{ type filter hook output priority 5; }'
nft add rule inet other out ip daddr 100.64.0.0/10 meta l4proto tcp drop
"""
"""Tailscale's chain, then a rule that it leaves nothing to drop, one in a chain that nothing leads to, one of the
guard, and one that counts nothing."""


@pytest.mark.link
def test_rules_of_others_that_drop_what_peers_send_are_told_as_nft_writes_them() -> None:
    lost = "import socket as s; u = s.socket(s.AF_INET, s.SOCK_DGRAM); u.bind(('100.64.0.6', 1053))"
    lost = f"{lost}; u.sendto(b'x', ('100.64.0.7', 1053))"
    script = f"""ip link set lo up
ip address add 100.64.0.6/32 dev lo ; ip address add 100.64.0.7/32 dev lo
{FILTERED}
{sys.executable} -c "{lost}"
exec "$@" """
    looked = ask({"look": True}, "unshare", "--net", "sh", "-ec", script, "sh")["node"]
    assert looked["firewall"]["others"] == [
        {
            "rule": 'iifname != "tailscale0" ip saddr 100.64.0.0/10 counter packets 1 bytes 29 drop',
            "chain": "ip filter ts-input",
            "hooks": ["input"],
        },
        {
            "rule": "ip daddr 100.64.0.0/10 meta l4proto tcp drop",
            "chain": "inet other out",
            "hooks": ["output"],
        },
    ]


@pytest.mark.link
def test_programs_at_an_interface_are_counted_and_nothing_is_said_of_one_that_is_not_there() -> None:
    """A new interface has none; tests/link has one with Cilium's."""
    new = 'ip link add wt0 type veth peer name there && exec "$@"'
    node = ask({"look": True}, "unshare", "--net", "sh", "-c", new, "sh")["node"]
    assert node["programs"] == [0, 0]
    assert programs("no-such-thing") is None
