"""The guard's script in networks of its own: a node, a gateway that any route may lead to, a NetBird interface."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from domain.guard import GuardState, guard_environment, read_state
from tests.components.recording import ROOT

SCRIPT = ROOT / "components" / "files" / "guard.sh"
PEER = IPv4Network("10.52.0.0/16")
ROUTER = IPv4Network("100.92.0.8")
PODS = IPv4Network("10.42.0.0/16")
SERVICES = IPv4Network("10.43.0.0/16")
POD = "10.52.3.4"
TUNNEL = GuardState("100.92.0.7", {"10.52.0.0/16": "tunnel", "100.92.0.8/32": "tunnel"})
NONE = GuardState("100.92.0.7", {"10.52.0.0/16": "none", "100.92.0.8/32": "tunnel"})

pytestmark = [pytest.mark.link, pytest.mark.timeout(180)]


@dataclass
class Node:
    """A network namespace and mounts of its own; ``pid`` is a process that holds both. ``boot`` is what it keeps over
    a boot, ``units`` the folder of its systemd's units.
    """

    pid: int
    environment: dict[str, str]
    boot: Path
    units: Path

    def run(self, *command: str, check: bool = True) -> str:
        done = subprocess.run(
            ["nsenter", f"--target={self.pid}", "--net", "--mount", *command],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **self.environment},
        )
        assert not check or done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def sh(self, text: str, *, check: bool = True) -> str:
        return self.run("sh", "-c", text, check=check)

    def look(
        self, ranges: Sequence[IPv4Network] = (PEER, ROUTER), *, keeper_port: int | None = None
    ) -> GuardState | None:
        """One look of the guard. Who refuses can answer when it returns."""
        self.environment = {**self.settings(ranges, keeper_port), "ONCE": "1"}
        said = self.run("sh", str(SCRIPT))
        # Its end came up first: an answer that is lost is a packet that is sent again.
        carried(self, "refused", within="isthmus-refuse")
        return read_state(said)

    def settings(
        self, ranges: Sequence[IPv4Network] = (PEER, ROUTER), keeper_port: int | None = None
    ) -> dict[str, str]:
        own = {"BOOT_DIRECTORY": str(self.boot), "HOST_ETC": str(self.units.parents[1])}
        return guard_environment(ranges, PODS, SERVICES, keeper_port) | own

    def reboots(self, *, with_unit: bool = True) -> str:
        """What a boot leaves of all that is laid: nothing. Then what systemd starts before there is a network; returns
        what it says.
        """
        self.sh(
            "for p in 100 101 102 103 104; do ip rule flush priority $p; done; ip route flush table 7130;"
            "ip link delete wt-refuse; ip netns delete isthmus-refuse; ip link delete wt0",
            check=False,
        )
        wanted = self.units / "multi-user.target.wants" / "isthmus-guard.service"
        if not with_unit or not wanted.exists():
            return ""
        (start,) = [line for line in wanted.read_text().splitlines() if line.startswith("ExecStart=")]
        return self.run(*start.removeprefix("ExecStart=").split())

    def sent_again(self, address: str, times: int = 5) -> int:
        """How many first packets of so many connections, each of which is refused, the kernel had to send again after a
        second without an answer. A datagram beside each has its answer as well; a plain time-out is a failure.
        """
        code = (
            "import errno, socket, sys\n"
            "for _ in range(int(sys.argv[2])):\n"
            "    try:\n"
            "        socket.create_connection((sys.argv[1], 80), timeout=20).close()\n"
            "        sys.exit('connected')\n"
            "    except OSError as error:\n"
            "        assert error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ECONNREFUSED), error\n"
            "    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:\n"
            "        asking.settimeout(20)\n"
            "        try:\n"
            "            asking.connect((sys.argv[1], 53))\n"
            "            asking.send(b'x')\n"
            "            sys.exit(f'answered: {asking.recv(9)}')\n"
            "        except OSError as error:\n"
            "            assert error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH), error\n"
        )
        before = self.first_packets_again()
        self.run("python3", "-c", code, address, str(times))
        return self.first_packets_again() - before

    def first_packets_again(self) -> int:
        """TCPSynRetrans of its network."""
        names, values = [line.split() for line in self.sh("grep ^TcpExt: /proc/net/netstat").splitlines()]
        return int(dict(zip(names, values, strict=True))["TCPSynRetrans"])

    def in_plain(self) -> int:
        """Packets that the gateway got."""
        gateway = json.loads(self.sh("nsenter --net=/run/netns/gateway ip -json -s link show dev lan0"))
        return int(gateway[0]["stats64"]["rx"]["packets"])


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node with a default route to a gateway that takes everything, attached to Cilium, with wt0 and its route."""
    with subprocess.Popen(
        ["unshare", "--net", "--mount", "sh", "-c", "echo ready; exec sleep 600"], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        try:
            made = Node(holder.pid, {}, tmp_path / "boot", tmp_path / "etc" / "systemd" / "system")
            made.boot.mkdir()
            made.units.mkdir(parents=True)
            made.sh(
                "mount -t tmpfs none /run && mkdir -p /run/netns && mount -t tmpfs none /sys/fs/bpf && "
                "mkdir -p /sys/fs/bpf/cilium/devices/wt-refuse && ip link set lo up && "
                "ip netns add gateway && ip netns add netbird && "
                # Nothing but what is sent is to be counted.
                "for network in /proc/self/ns/net /run/netns/gateway; do for each in all default; do "
                'nsenter --net=$network sh -c "echo 1 >/proc/sys/net/ipv6/conf/$each/disable_ipv6"; done; done; '
                "ip link add lan type veth peer name lan0 address 02:00:00:00:00:01 netns gateway && "
                "ip address add 192.168.7.2/24 dev lan && ip link set lan up && "
                "nsenter --net=/run/netns/gateway ip address add 192.168.7.1/24 dev lan0 && "
                "nsenter --net=/run/netns/gateway ip link set lan0 up && "
                "ip neigh add 192.168.7.1 dev lan lladdr 02:00:00:00:00:01 nud permanent && "
                "ip route add default via 192.168.7.1"
            )
            carried(made, "lan")
            netbird(made)
            yield made
        finally:
            holder.kill()


def carried(node: Node, interface: str, within: str = "") -> None:
    """Waits for the interface's carrier, ``within`` a network of that name: the kernel makes it known later, once a
    second for all interfaces, and until then it loses what is sent there. LOWER_UP is no sign of that: it is there when
    the carrier is (netif_carrier_on in net/sched/sch_generic.c).
    """
    enter = f"nsenter --net=/run/netns/{within} " if within else ""
    while "state UP" not in node.sh(f"{enter}ip -oneline link show dev {interface}"):
        time.sleep(0.05)


def netbird(node: Node) -> None:
    """What a connected agent lays."""
    node.sh(
        "ip link add wt0 type veth peer name far netns netbird && ip address add 100.92.0.7/16 dev wt0 && "
        "ip link set wt0 up && nsenter --net=/run/netns/netbird ip link set far up && "
        "ip route add 10.52.0.0/16 dev wt0 table 7120"
    )
    carried(node, "wt0")


def test_the_tunnel_carries_and_netbirds_rules_are_not_needed(node: Node) -> None:
    assert node.look() == TUNNEL
    assert "dev wt0" in node.sh(f"ip route get {POD}")
    assert "dev wt0" in node.sh("ip route get 100.92.0.8")


def test_pods_leave_where_cilium_leads_them_to_the_router_that_carries(node: Node) -> None:
    """Also on a router: from wt0 itself Cilium cannot send them to another one."""
    node.sh("echo 1 >/proc/sys/net/ipv4/ip_forward; ip link add lxc type veth peer name pod && ip link set lxc up")
    node.sh("ip route add 10.42.0.9 dev lxc")
    from_pod = f"ip route get {POD} from 10.42.0.9 iif lxc"
    node.sh("rmdir /sys/fs/bpf/cilium/devices/wt-refuse")
    node.look()
    assert node.sh("ip rule show priority 100") == ""
    assert "dev wt0" in node.sh(from_pod)
    node.sh("mkdir /sys/fs/bpf/cilium/devices/wt-refuse")
    assert node.look() == TUNNEL
    (rule,) = node.sh("ip -details rule show priority 100").splitlines()
    assert rule.split()[1:7] == ["from", "10.42.0.0/16", "to", "10.52.0.0/16", "lookup", "7130"]
    assert "proto kernel" in rule
    assert "dev wt-refuse" in node.sh(from_pod)
    assert "dev wt0" in node.sh(f"ip route get {POD}"), "what the node itself sends goes by the tunnel"
    assert "dev wt0" in node.sh("ip route get 100.92.0.8 from 10.42.0.9 iif lxc")


@pytest.mark.parametrize(
    "fault",
    [
        "ip route flush table 7120",
        "ip link delete wt0",
        "ip link set wt0 down",
        "ip route flush table 7120; ip route add 10.0.0.0/8 via 192.168.7.1",
    ],
)
def test_without_the_route_a_packet_is_refused_at_once_and_none_leaves(node: Node, fault: str) -> None:
    node.look()
    node.sh(fault)
    before = node.in_plain()
    assert node.sent_again(POD) == 0
    assert node.in_plain() == before
    node.look()
    assert node.sent_again(POD) == 0
    assert node.in_plain() == before
    assert node.look().ways["10.52.0.0/16"] == "none"  # type: ignore[union-attr]


def test_without_a_guard_the_packet_leaves(node: Node) -> None:
    """That the tests above can fail."""
    node.sh("ip route flush table 7120")
    before = node.in_plain()
    send = f"import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('{POD}', 9))"
    node.run("python3", "-c", send)
    assert node.in_plain() > before


def test_every_client_hears_of_it(node: Node) -> None:
    """The kernel's own limit is one answer a second."""
    node.sh("ip route flush table 7120")
    node.look()
    assert node.sent_again(POD, times=50) == 0


def test_what_is_half_made_is_made_anew(node: Node) -> None:
    node.sh("ip netns add isthmus-refuse; ip link add wt-refuse type veth peer name refused netns isthmus-refuse")
    node.sh("ip route flush table 7120")
    node.look()
    assert node.sent_again(POD) == 0


def test_our_own_pods_and_services_need_ciliums_routes(node: Node) -> None:
    """A node that starts has NetBird and what asks for names before it has Cilium."""
    node.look()
    node.sh("echo 1 >/proc/sys/net/ipv4/ip_forward")
    for way in ("ip route get 10.42.3.4 from 100.92.0.8 iif wt0", "ip route get 10.42.3.4"):
        assert "unreachable" in node.sh(way, check=False), way
    for way in ("ip route get 10.43.0.10 from 100.92.0.8 iif wt0", "ip route get 10.43.0.10"):
        assert "dev wt-refuse" in node.sh(way), way
    node.sh("ip route add 10.42.3.0/24 dev wt0")
    assert "dev wt0" in node.sh("ip route get 10.42.3.4")
    assert "dev wt0" in node.sh("ip route get 10.42.3.4 from 100.92.0.8 iif wt0")


def test_a_service_without_endpoints_is_refused_at_once(node: Node) -> None:
    """Cilium lets packets for it come to the node's own routes."""
    node.look()
    before = node.in_plain()
    assert node.sent_again("10.43.0.99", times=20) == 0
    assert node.in_plain() == before


def test_what_an_earlier_guard_laid_for_services_goes(node: Node) -> None:
    """It refused them without an answer, by a rule of the same priority."""
    node.sh("ip rule add priority 104 to 10.43.0.0/16 unreachable protocol kernel")
    node.look()
    assert "104:	from all to 10.43.0.0/16 unreachable" not in node.sh("ip rule show")
    assert node.sent_again("10.43.0.99") == 0


def test_a_router_away_is_refused_too(node: Node) -> None:
    node.look()
    node.sh("ip link delete wt0")
    before = node.in_plain()
    assert node.sent_again("100.92.0.8") == 0
    assert node.in_plain() == before
    netbird(node)
    assert node.look() == TUNNEL


def test_before_cilium_has_the_interface_the_kernel_refuses(node: Node) -> None:
    node.sh("rmdir /sys/fs/bpf/cilium/devices/wt-refuse; ip route flush table 7120")
    assert node.look() == NONE
    assert "wt-refuse" not in node.sh("ip route show table 7130")
    assert node.sent_again(POD) == 0


@pytest.mark.parametrize(
    "harm",
    [
        "for p in 100 101 102 103 104; do ip rule flush priority $p; done",
        "ip route flush table 7130",
        "ip link delete wt-refuse",
        "ip netns delete isthmus-refuse",
        # Its network is alive yet when the guard looks, as it is a while after its name has gone.
        "exec 9</run/netns/isthmus-refuse; sleep 60 >/dev/null 2>&1 & ip netns delete isthmus-refuse",
        "iptables -F INPUT; iptables -F ISTHMUS-GUARD",
        "nft flush ruleset",
        "iptables -I INPUT -i wt0 -j ACCEPT",
    ],
)
def test_what_others_take_away_comes_back(node: Node, harm: str) -> None:
    node.look()
    before = laid(node)
    node.sh(harm)
    assert node.look() == TUNNEL
    assert laid(node) == before


def laid(node: Node) -> str:
    """All that a guard lays."""
    filters = "iptables -S INPUT 1; iptables -S FORWARD 1; iptables -S ISTHMUS-GUARD"
    routes = "ip rule show | grep -E '^10[0-9]:'; ip route show table 7130"
    text = node.sh(f"{routes}; {filters}; ip -brief address show dev wt-refuse")
    return "\n".join(sorted(line.split("@")[0] for line in text.splitlines()))


def test_another_writing_of_iptables_is_no_change(node: Node) -> None:
    """Otherwise the chain would be laid anew with each look."""
    tools = node.boot.parent / "tools"
    tools.mkdir()
    for name, text in {
        "iptables": 'printed=$(/usr/sbin/iptables "$@") && echo "$printed" | sed "s/-p icmp /-p 1 /"',
        "iptables-restore": f'echo >>{tools}/laid; exec /usr/sbin/iptables-restore "$@"',
        # The fourth look is the last.
        "sleep": f"echo >>{tools}/looks; if [ $(wc -l <{tools}/looks) -gt 3 ]; then kill $PPID; fi",
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    node.environment = {**node.settings(), "PATH": f"{tools}:{os.environ['PATH']}"}
    node.run("sh", str(SCRIPT), check=False)
    assert (tools / "looks").read_text() == 4 * "\n"
    assert (tools / "laid").read_text() == "\n"


def test_again_changes_nothing(node: Node) -> None:
    node.look()
    before = laid(node)
    assert "unreachable 10.52.0.0/16 proto kernel metric 9999" in before
    node.look()
    assert laid(node) == before


def test_a_peer_that_goes_leaves_nothing(node: Node) -> None:
    node.look((PEER, ROUTER, IPv4Network("10.62.0.0/16")))
    assert "10.62.0.0/16" in laid(node)
    node.look()
    assert "10.62." not in laid(node)
    node.look(())
    assert "10.52." not in laid(node)
    assert "100.92.0.8" not in laid(node)


def test_what_a_peers_router_reaches(node: Node) -> None:
    """NetBird's own filter is not there at all."""
    node.look()
    node.sh(
        "ip link delete wt0; ip netns add peer; ip link add wt0 type veth peer name wt0 netns peer;"
        "ip address add 100.92.0.7/16 dev wt0; ip link set wt0 up;"
        "nsenter --net=/run/netns/peer sh -c '"
        "ip address add 100.92.0.8/16 dev wt0; ip address add 100.92.9.9/16 dev wt0;"
        "ip link set wt0 up; ip route add 10.42.0.0/16 via 100.92.0.7; ip route add 192.168.7.0/24 via 100.92.0.7;"
        "ip route add 10.43.0.0/16 via 100.92.0.7';"
        "echo 1 >/proc/sys/net/ipv4/ip_forward; ip address add 10.42.0.1/32 dev lo"
    )
    carried(node, "wt0")
    carried(node, "wt0", within="peer")
    node.look()
    with contextlib.ExitStack() as stack:
        for port in (22, 1053, 10250):
            listen = (
                f"import socket; s = socket.create_server(('0.0.0.0', {port})); print('on', flush=True); s.accept()"
            )
            command = ["nsenter", f"--target={node.pid}", "--net", "python3", "-c", listen]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            assert process.stdout is not None
            process.stdout.readline()

        def reached(source: str, address: str, port: int, seconds: float = 20) -> bool:
            code = (
                "import socket, sys\n"
                f"to, own = ('{address}', {port}), ('{source}', 0)\n"
                f"try: socket.create_connection(to, timeout={seconds}, source_address=own)\n"
                "except TimeoutError: sys.exit(3)\n"
                "except ConnectionRefusedError: pass\n"
            )
            text = 'nsenter --net=/run/netns/peer python3 -c "$CODE"; echo code=$?'
            node.environment = {"CODE": code}
            return "code=0" in node.sh(text)

        assert not reached("100.92.0.8", "100.92.0.7", 22, 1)
        assert not reached("100.92.0.8", "100.92.0.7", 10250, 1)
        assert not reached("100.92.0.8", "192.168.7.2", 10250, 1), "the node's other addresses"
        assert not reached("100.92.0.8", "192.168.7.1", 80, 1), "the machines behind it"
        assert reached("100.92.0.8", "10.42.0.1", 22), "the pods"
        assert reached("100.92.0.8", "10.43.0.99", 80), "who refuses for a service without endpoints"
        assert reached("100.92.9.9", "100.92.0.7", 22), "whom NetBird's own policies let in"
        assert reached("100.92.0.8", "100.92.0.7", 1053)
        node.sh("iptables -A ISTHMUS-OPEN -p tcp --dport 22 -j ACCEPT")
        node.look()
        assert reached("100.92.0.8", "100.92.0.7", 22), "what somebody opened"


@pytest.mark.parametrize(("keeper_port", "heard"), [(51823, True), (51824, False), (None, False)])
def test_a_peers_router_is_heard_by_the_keeper_alone(node: Node, keeper_port: int | None, heard: bool) -> None:
    """UDP to 51823, where a keeper listens, and not where none does."""
    node.sh(
        "ip link delete wt0; ip netns add peer; ip link add wt0 type veth peer name wt0 netns peer;"
        "ip address add 100.92.0.7/16 dev wt0; ip link set wt0 up; nsenter --net=/run/netns/peer sh -c '"
        "ip address add 100.92.0.8/16 dev wt0; ip address add 100.92.9.9/16 dev wt0; ip link set wt0 up'"
    )
    carried(node, "wt0")
    carried(node, "wt0", within="peer")
    node.look(keeper_port=keeper_port)
    code = "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('100.92.0.7', 51823)); s.settimeout(20)\n"
    code += "print('on', flush=True); print(s.recv(9))"
    command = ["nsenter", f"--target={node.pid}", "--net", "python3", "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listening:
        assert listening.stdout is not None
        listening.stdout.readline()
        # Whom the guard says nothing of is always heard: what the router sends before it is lost or comes first.
        send = "import socket\nfor source in ('100.92.0.8', '100.92.9.9'):\n"
        send += "    s = socket.socket(type=socket.SOCK_DGRAM); s.bind((source, 0))\n"
        send += "    s.sendto(source.encode()[-3:], ('100.92.0.7', 51823))"
        node.sh(f'nsenter --net=/run/netns/peer python3 -c "{send}"')
        assert listening.stdout.readline() == ("b'0.8'\n" if heard else "b'9.9'\n")


def test_it_goes_on_and_tells_once_what_changes(node: Node) -> None:
    node.environment = node.settings()
    command = ["nsenter", f"--target={node.pid}", "--net", "--mount", "sh", str(SCRIPT)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **node.environment}
    ) as guard:
        assert guard.stdout is not None
        try:
            assert read_state(guard.stdout.readline()) == TUNNEL
            node.sh("ip route flush table 7120")
            begun = time.monotonic()
            assert read_state(guard.stdout.readline()) == NONE
            assert time.monotonic() - begun < 30, "it tells what is new at its next look, all else once a minute"
        finally:
            guard.terminate()
            guard.wait(timeout=10)
    assert "unreachable 10.52.0.0/16" in laid(node), "it takes nothing away when it ends"


def send(node: Node, address: str) -> None:
    text = f"import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('{address}', 9))"
    node.run("python3", "-c", text, check=False)


def test_from_a_boot_until_the_guard_runs_packets_are_refused(node: Node) -> None:
    node.look()
    before = laid(node)
    node.reboots(with_unit=False)
    counted = node.in_plain()
    send(node, POD)
    assert node.in_plain() > counted, "that the rest can fail"

    assert node.reboots() == ""
    counted = node.in_plain()
    for address in (POD, "100.92.0.8", "10.42.3.4", "10.43.0.10"):
        send(node, address)
    assert node.sent_again(POD) == 0
    assert node.in_plain() == counted
    send(node, "192.0.2.1")
    assert node.in_plain() > counted, "all else goes its way"

    netbird(node)
    assert node.look() == TUNNEL
    assert laid(node) == before


def test_systemd_networkd_leaves_alone_what_is_laid(node: Node) -> None:
    """It removes rules and routes that it did not make, but those of the protocol "kernel"."""
    node.look()
    for boot in ("", node.reboots()):
        rules = node.sh("ip -details rule show | grep -E '^10[1-4]:'").splitlines()
        assert len(rules) == 8, boot
        assert [line for line in rules if " proto kernel" not in line] == []
        routes = node.sh("ip -details route show table 7130 type unreachable").splitlines()
        assert len(routes) == 3
        assert [line for line in routes if " proto kernel " not in line] == []


def test_what_a_boot_needs_is_written_once_and_for_root_alone(node: Node) -> None:
    node.look()
    script, unit = node.boot / "at-boot", node.units / "isthmus-guard.service"
    wanted = node.units / "multi-user.target.wants" / "isthmus-guard.service"
    assert (script.stat().st_mode & 0o777, unit.stat().st_mode & 0o777) == (0o600, 0o644)
    assert wanted.resolve() == unit
    assert str(wanted.readlink()) == "../isthmus-guard.service", "the guard sees the node's /etc by another path"
    before = [(path.stat().st_ino, path.stat().st_mtime_ns) for path in (script, unit)]
    node.look()
    assert [(path.stat().st_ino, path.stat().st_mtime_ns) for path in (script, unit)] == before
    node.look((PEER,))
    assert "100.92.0.8" not in script.read_text()
    for path in (script, unit, wanted):
        path.unlink()
        node.look()
        assert path.exists(), path
    assert [path.name for path in node.boot.iterdir()] == ["at-boot"]


def test_a_guard_that_does_not_come_back_is_forgotten_after_ten_boots(node: Node) -> None:
    """Of a cluster that was given and is not linked any more; a guard that runs puts the count back."""
    etc = str(node.units.parents[1])
    node.look()
    assert node.reboots() == node.reboots() == ""
    assert (node.boot / "boots").read_text() == 2 * "\n"
    node.look()
    assert not (node.boot / "boots").exists()
    # The node's own path, which is another one here.
    script = node.boot / "at-boot"
    script.write_text(script.read_text().replace(" /etc/", f" {etc}/"))
    (node.boot / "boots").write_text(9 * "\n")
    assert node.reboots() == "", "the tenth"
    assert "10.52." in node.sh("ip route show table 7130; ip rule show")
    assert "no guard has run since 10 boots" in node.reboots()
    assert "10.52." not in node.sh("ip route show table 7130; ip rule show", check=False)
    assert list(node.boot.iterdir()) == []
    assert [path.name for path in node.units.rglob("*") if not path.is_dir()] == []


def test_without_peers_a_boot_refuses_nothing(node: Node) -> None:
    node.look()
    node.look(())
    assert list(node.boot.iterdir()) == []
    assert [path.name for path in node.units.rglob("*") if not path.is_dir()] == []


def test_a_boot_that_lays_too_little_is_a_failed_unit(node: Node) -> None:
    node.look()
    script = node.boot / "at-boot"
    script.write_text(script.read_text().replace("metric 9999", "metric none"))
    with pytest.raises(AssertionError, match="Error: argument"):
        node.reboots()
    assert "lookup 7130" in node.sh("ip rule show"), "it goes on"


def test_without_systemd_it_says_what_is_left(node: Node) -> None:
    node.units.rmdir()
    node.environment = {**node.settings(), "ONCE": "1"}
    said = node.run("sh", str(SCRIPT))
    assert "at a boot nothing refuses on this node before its guard runs" in said
    assert read_state(said) == TUNNEL
