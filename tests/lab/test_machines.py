"""Machines and networks, for real: two machines are booted, entered, logged in to, filtered, rebooted and removed.

With a lab up these tests add machines of their own to it and remove them; else they make a lab and take it down.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest

from lab import cgroups, line, machines, network, state, topology
from lab.commands import run, wait_until
from lab.errors import DeadlinePassed, MachineError
from lab.firewall import FirewallRule
from lab.machines import Bind, Bridged, MachineSpec, Public
from tests.lab.raised import a_lab

pytestmark = [
    pytest.mark.link,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="machines need root"),
]

CLOUD, ONPREM = "test-cloud", "test-onprem"
PUBLIC = IPv4Address("198.51.100.201")
LAN = IPv4Interface("192.168.7.201/24")
PRIVATE_NETWORK = "isthmus-hnet-test"
BOOT_SECONDS = 30.0
"""Measured: 1.5 s with cloud-init and 0.3 s without, when nothing else runs."""

USER_DATA = """#cloud-config
write_files:
  - path: /etc/written
    content: by cloud-init
    permissions: "0640"
runcmd:
  - [sh, -c, "hostname > /root/ran"]
ssh_keys:
  ed25519_private: |
{private}
  ed25519_public: {public}
"""


@dataclass(frozen=True)
class Pair:
    """The two machines, and the means to log in to them."""

    private_key: Path
    known_hosts: Path
    cloud_host_key: str

    def ssh(self, address: str, command: str, *, known_hosts: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Logs in from the workstation and runs the command; an unknown host key is refused."""
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "5",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(known_hosts or self.known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
        }
        arguments = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return subprocess.run(
            from_workstation("ssh", "-F", "none", "-i", str(self.private_key), *arguments, f"root@{address}", command),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


def from_workstation(*argv: str) -> list[str]:
    return network.enter(topology.WORKSTATION_NAMESPACE, argv)


def succeeds(argv: list[str]) -> bool:
    return subprocess.run(argv, capture_output=True, timeout=30, check=False).returncode == 0


def connects(namespace: str, address: IPv4Address, port: int) -> bool:
    return succeeds(network.enter(namespace, ["bash", "-c", f"exec timeout 2 bash -c '</dev/tcp/{address}/{port}'"]))


@pytest.fixture(scope="module")
def lab() -> Iterator[None]:
    with a_lab(networks=True):
        yield


@pytest.fixture(scope="module")
def pair(lab: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    directory = tmp_path_factory.mktemp("keys")
    key = machines.generate_host_key("login")
    (directory / "id").touch(mode=0o600)
    (directory / "id").write_text(key.private)
    cloud_key = machines.generate_host_key("cloud")
    given = directory / "given"
    given.mkdir()
    (given / "file").write_text("from the host")
    site = topology.DEFAULT.workstation_site
    private = "".join(f"    {line}\n" for line in cloud_key.private.splitlines()).rstrip("\n")
    try:
        machines.create(
            MachineSpec(
                name=CLOUD,
                hostname="cloud-host",
                interfaces=(Public(address=PUBLIC),),
                user_data=USER_DATA.format(private=private, public=cloud_key.public),
                authorized_keys=(key.public,),
                binds=(Bind(source=given, target="/usr/libexec/given"),),
            )
        )
        machines.create(
            MachineSpec(
                name=ONPREM,
                hostname="onprem-host",
                interfaces=(
                    Bridged(bridge_namespace=site.nat_namespace, ifname="eth0", address=LAN, gateway=site.gateway),
                ),
                authorized_keys=(key.public,),
            )
        )
        for name in (CLOUD, ONPREM):
            machines.start(name)
        for name in (CLOUD, ONPREM):
            assert machines.wait_boot(name, deadline_seconds=BOOT_SECONDS) == "running", failed_units(name)
        known_hosts = directory / "known_hosts"
        known_hosts.write_text(f"{PUBLIC} {machines.host_key(CLOUD)}\n{LAN.ip} {machines.host_key(ONPREM)}\n")
        yield Pair(
            private_key=directory / "id",
            known_hosts=known_hosts,
            cloud_host_key=" ".join(cloud_key.public.split()[:2]),
        )
    finally:
        for name in (CLOUD, ONPREM):
            machines.destroy(name)
        network.delete_namespace(PRIVATE_NETWORK)
    assert left_of_the_pair() == []


def failed_units(name: str) -> str:
    return machines.exec(name, ["systemctl", "--failed", "--no-legend", "--plain"]).stdout


def left_of_the_pair() -> list[str]:
    """What a destroyed machine must not leave: namespaces, ports of the Internet's router, firewalls, groups, files."""
    found = [name for name in (CLOUD, ONPREM) if network.exists(machines.namespace(name))]
    found += [path for name in (CLOUD, ONPREM) for path in map(str, cgroups.existing(name))]
    ports = run(["ip", "-netns", topology.WAN_NAMESPACE, "-brief", "link"])
    found += re.findall(r"pub-100-201", ports)
    rules = run(network.enter(topology.WAN_NAMESPACE, ["nft", "list", "ruleset"]))
    found += re.findall(r"\w+_198_51_100_201", rules)
    found += [str(path) for path in (state.STATE / "machines").glob("test-*")]
    return found


def test_cloud_init_applied_the_user_data(pair: Pair) -> None:
    shown = machines.exec(
        CLOUD, ["sh", "-c", "cat /etc/written /root/ran; stat -c %a /etc/written; hostname"], check=True
    )
    assert shown.stdout.split("\n") == ["by cloud-initcloud-host", "640", "cloud-host", ""]
    assert machines.exec(CLOUD, ["cloud-init", "status"]).stdout == "status: done\n"
    assert machines.host_key(CLOUD) == pair.cloud_host_key


def test_a_machine_without_user_data_has_cloud_init_switched_off(pair: Pair) -> None:
    assert machines.exec(ONPREM, ["cloud-init", "status"]).stdout == "status: disabled\n"
    assert machines.exec(ONPREM, ["hostname", "--fqdn"]).stdout == "onprem-host\n"


@pytest.mark.parametrize(("address", "hostname"), [(str(PUBLIC), "cloud-host"), (str(LAN.ip), "onprem-host")])
def test_ssh_from_the_workstation_with_a_verified_host_key(pair: Pair, address: str, hostname: str) -> None:
    result = pair.ssh(address, "hostname")
    assert (result.returncode, result.stdout) == (0, f"{hostname}\n"), result.stderr


def test_ssh_refuses_a_wrong_host_key(pair: Pair, tmp_path: Path) -> None:
    wrong = tmp_path / "known_hosts"
    wrong.write_text(f"{PUBLIC} {machines.host_key(ONPREM)}\n")
    result = pair.ssh(str(PUBLIC), "hostname", known_hosts=wrong)
    assert result.returncode == 255
    assert "Host key verification failed" in result.stderr


def test_every_service_runs_and_the_process_namespace_is_the_machines_own(pair: Pair) -> None:
    for name in (CLOUD, ONPREM):
        assert failed_units(name) == ""
        assert machines.exec(name, ["cat", "/proc/1/comm"]).stdout == "systemd\n"
        # Mounts spread, as kubelet and Cilium need it; the root of the cgroups is the machine's own group.
        assert machines.exec(name, ["findmnt", "-no", "PROPAGATION", "/"]).stdout.strip() == "shared"
        assert "isthmus-lab" not in machines.exec(name, ["cat", "/proc/1/cgroup"]).stdout
        types = machines.exec(name, ["stat", "-fc", "%T", "/sys/fs/bpf", "/var/lib/rancher", "/"]).stdout.split()
        assert types[0] == "bpf_fs"
        assert types[1] != "overlayfs" == types[2]


def test_devices_and_read_only_binds(pair: Pair) -> None:
    tunnel = machines.exec(CLOUD, ["sh", "-c", "ip tuntap add mode tun name t0 && ip tuntap del mode tun name t0"])
    assert tunnel.returncode == 0, tunnel.stderr
    assert machines.exec(CLOUD, ["cat", "/usr/libexec/given/file"]).stdout == "from the host"
    refused = machines.exec(CLOUD, ["touch", "/usr/libexec/given/other"])
    assert "Read-only file system" in refused.stderr


def test_names_fail_fast(pair: Pair) -> None:
    for name in (CLOUD, ONPREM):
        start = time.monotonic()
        assert machines.exec(name, ["getent", "hosts", "example.org"]).returncode == 2
        # A resolver that waits for a name server takes 5 s for its first try.
        assert time.monotonic() - start < 4


def test_ping_over_the_internet_and_through_the_nat(pair: Pair) -> None:
    assert machines.exec(CLOUD, ["ping", "-c1", "-W2", str(topology.NETBIRD_ADDRESS)]).returncode == 0
    assert machines.exec(ONPREM, ["ping", "-c1", "-W2", str(PUBLIC)]).returncode == 0


def test_the_nat_hides_the_lan_and_lets_nobody_in(pair: Pair) -> None:
    site = topology.DEFAULT.workstation_site
    # The healthy twin: from the inside the same port answers.
    assert connects(topology.WORKSTATION_NAMESPACE, LAN.ip, 22)
    assert not connects(machines.namespace(CLOUD), LAN.ip, 22)
    run(
        [
            "ip",
            "-netns",
            topology.WAN_NAMESPACE,
            "route",
            "add",
            "192.168.7.0/24",
            "via",
            str(site.public_address),
            *("dev", network.public_port(site.public_address), "onlink"),
        ]
    )
    try:
        assert not connects(machines.namespace(CLOUD), LAN.ip, 22)
        assert not connects(machines.namespace(CLOUD), site.public_address, 22)
    finally:
        run(["ip", "-netns", topology.WAN_NAMESPACE, "route", "delete", "192.168.7.0/24"])
    seen = pair.ssh(str(PUBLIC), "echo $SSH_CLIENT").stdout.split()
    assert seen[0] == str(site.public_address)


def test_a_firewall_lets_in_what_a_rule_allows_and_nothing_else(pair: Pair) -> None:
    site = topology.DEFAULT.workstation_site
    workstation = topology.WORKSTATION_NAMESPACE
    assert connects(workstation, PUBLIC, 22)
    try:
        network.set_firewall(PUBLIC, ())
        assert not connects(workstation, PUBLIC, 22)
        assert not succeeds(from_workstation("ping", "-c1", "-W1", str(PUBLIC)))
        # Stateful: what the machine asks for is answered.
        assert machines.exec(CLOUD, ["ping", "-c1", "-W2", str(topology.NETBIRD_ADDRESS)]).returncode == 0

        ssh = FirewallRule(
            direction="in", protocol="tcp", port="20-22", source_ips=(f"{site.public_address}/32", "2001:db8::/32")
        )
        network.set_firewall(PUBLIC, [ssh])
        assert connects(workstation, PUBLIC, 22)
        assert not connects(topology.SERVICES_NAMESPACE, PUBLIC, 22)
        assert not succeeds(from_workstation("ping", "-c1", "-W1", str(PUBLIC)))

        out = FirewallRule(direction="out", protocol="udp", port="any", destination_ips=("0.0.0.0/0",))
        network.set_firewall(PUBLIC, [ssh, out])
        assert connects(workstation, PUBLIC, 22)
        assert machines.exec(CLOUD, ["ping", "-c1", "-W1", str(topology.NETBIRD_ADDRESS)]).returncode == 1
    finally:
        network.set_firewall(PUBLIC, None)
    assert succeeds(from_workstation("ping", "-c1", "-W2", str(PUBLIC)))


def test_a_private_network_is_plugged_into_a_running_machine_and_out_again(pair: Pair) -> None:
    network.create_bridge(PRIVATE_NETWORK)
    first = Bridged(
        bridge_namespace=PRIVATE_NETWORK,
        ifname="enp7s0",
        address=IPv4Interface("10.0.1.2/24"),
        mtu=1450,
        mac_address="86:00:00:00:00:02",
    )
    assert machines.plug(CLOUD, first) == "86:00:00:00:00:02"
    assert machines.plug(CLOUD, first) == "86:00:00:00:00:02"
    second = Bridged(bridge_namespace=PRIVATE_NETWORK, ifname="enp7s0", address=IPv4Interface("10.0.1.3/24"), mtu=1450)
    machines.plug(ONPREM, second)
    fits = ["ping", "-c1", "-W2", "-M", "do", "-s", str(1450 - 28), "10.0.1.3"]
    assert machines.exec(CLOUD, fits).returncode == 0
    too_long = machines.exec(CLOUD, [*fits[:-2], str(1450 - 27), "10.0.1.3"])
    assert "message too long, mtu=1450" in too_long.stdout + too_long.stderr
    machines.unplug(ONPREM, "enp7s0")
    assert machines.exec(ONPREM, ["ip", "link", "show", "enp7s0"]).returncode == 1
    other = Bridged(bridge_namespace=PRIVATE_NETWORK, ifname="enp7s0", address=IPv4Interface("10.0.1.4/24"))
    with pytest.raises(MachineError, match="machine test-cloud has an interface enp7s0 already"):
        machines.plug(CLOUD, other)


def test_reboot_keeps_files_and_addresses_and_nothing_of_the_network_namespace(pair: Pair) -> None:
    network.create_bridge(PRIVATE_NETWORK)
    machines.plug(
        CLOUD,
        Bridged(
            bridge_namespace=PRIVATE_NETWORK,
            ifname="enp7s0",
            address=IPv4Interface("10.0.1.2/24"),
            mtu=1450,
            mac_address="86:00:00:00:00:02",
        ),
    )
    machines.exec(CLOUD, ["sh", "-c", "echo kept > /var/lib/rancher/kept; echo kept > /root/kept; echo x > /run/gone"])
    machines.exec(CLOUD, ["ip", "link", "add", "cilium_host", "type", "bridge"], check=True)
    before = machines.boots(CLOUD)
    machines.reboot(CLOUD)
    assert machines.wait_boot(CLOUD, deadline_seconds=BOOT_SECONDS) == "running"
    shown = machines.exec(CLOUD, ["cat", "/var/lib/rancher/kept", "/root/kept", "/run/gone", "/root/ran"])
    assert shown.stdout == "kept\nkept\ncloud-host\n"
    links = machines.exec(CLOUD, ["ip", "-brief", "address"]).stdout
    assert "cilium_host" not in links
    assert "198.51.100.201/32" in links
    assert "10.0.1.2/24" in links
    assert machines.boots(CLOUD) == before + 1
    assert pair.ssh(str(PUBLIC), "hostname").stdout == "cloud-host\n"


@pytest.mark.parametrize("command", ["poweroff", "reboot"])
def test_a_machine_that_ends_itself_is_off_and_can_be_started(pair: Pair, command: str) -> None:
    assert machines.status(ONPREM) == "running"
    card = mac_address(ONPREM)
    machines.exec(ONPREM, ["systemctl", command])
    wait_until(lambda: machines.status(ONPREM) == "off", what="the machine is off", deadline_seconds=120)
    with pytest.raises(MachineError, match="machine test-onprem is off"):
        machines.exec(ONPREM, ["true"])
    # Its journal can still be read.
    assert "systemd-journald" in machines.journal(ONPREM, "--lines=50")
    machines.start(ONPREM)
    assert machines.wait_boot(ONPREM, deadline_seconds=BOOT_SECONDS) == "running"
    assert mac_address(ONPREM) == card


def mac_address(name: str) -> str:
    """Of its first interface."""
    return machines.exec(name, ["cat", "/sys/class/net/eth0/address"], check=True).stdout


def test_a_machine_is_switched_off_in_time_whatever_it_runs(pair: Pair) -> None:
    machines.exec(ONPREM, ["systemd-run", "--unit=stubborn", "bash", "-c", "trap '' TERM; while :; do sleep 1; done"])
    start = time.monotonic()
    machines.stop(ONPREM, graceful=False)
    # It waits for nobody: systemd alone would give the unit 90 s.
    assert time.monotonic() - start < 20
    assert not machines.running(ONPREM)
    assert cgroups.processes(ONPREM) == set()
    machines.start(ONPREM)
    assert machines.wait_boot(ONPREM, deadline_seconds=BOOT_SECONDS) == "running"


HOLD = "import socket, time; s = socket.create_server(('', 7000)); c, _ = s.accept(); c.send(b'x'); time.sleep(600)"


@pytest.mark.parametrize(
    ("switch_off", "goodbye"),
    [(lambda name: machines.stop(name, graceful=False), True), (machines.cut_power, False)],
    ids=["at once", "without power"],
)
def test_only_a_machine_without_power_ends_without_a_goodbye(
    pair: Pair, switch_off: Callable[[str], None], goodbye: bool
) -> None:
    """The healthy twin is a machine that is killed: its kernel closes the connection, and the other end hears of it."""
    machines.exec(ONPREM, ["systemd-run", "--unit=hold", "python3", "-c", HOLD], check=True)
    wait_until(lambda: ":7000" in machines.exec(ONPREM, ["ss", "-Hltn"]).stdout, what="it listens", deadline_seconds=60)
    hear = f"import socket; s = socket.create_connection(('{LAN.ip}', 7000)); s.recv(1); print('on', flush=True); "
    # It begins to wait when the machine is off, however long that took: what came until then is there to be heard.
    hear += "input(); s.settimeout(4); print(s.recv(1))"
    listener = subprocess.Popen(
        from_workstation("python3", "-c", hear),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert listener.stdout is not None
    assert listener.stdout.readline() == "on\n"
    switch_off(ONPREM)
    heard, error = listener.communicate("off\n", timeout=60)
    assert ("TimeoutError" not in error, not machines.running(ONPREM)) == (goodbye, True), (heard, error)
    machines.start(ONPREM)
    assert machines.wait_boot(ONPREM, deadline_seconds=BOOT_SECONDS) == "running"
    assert machines.exec(ONPREM, ["ping", "-c1", "-W2", str(topology.NETBIRD_ADDRESS)]).returncode == 0


@pytest.mark.parametrize("name", [CLOUD, ONPREM])
def test_a_machine_is_cut_off_from_the_internet_and_keeps_its_own_network(pair: Pair, name: str) -> None:
    def gets_out(machine: str) -> bool:
        return machines.exec(machine, ["ping", "-c1", "-W1", str(topology.NETBIRD_ADDRESS)]).returncode == 0

    other = ONPREM if name == CLOUD else CLOUD
    assert gets_out(name)
    line.cut(name)
    line.cut(name)
    try:
        assert not gets_out(name)
        assert gets_out(other)
        assert name == CLOUD or connects(topology.WORKSTATION_NAMESPACE, LAN.ip, 22)
    finally:
        line.mend(name)
    line.mend(name)
    assert gets_out(name)


def test_everything_may_be_repeated(pair: Pair) -> None:
    machines.start(CLOUD)
    boots = machines.boots(CLOUD)
    machines.start(CLOUD)
    machines.create(MachineSpec(name=CLOUD, hostname="other"))
    assert machines.boots(CLOUD) == boots
    assert machines.exec(CLOUD, ["hostname"]).stdout == "cloud-host\n"
    assert set(machines.list_machines()) >= {CLOUD, ONPREM}
    machines.destroy("never-made")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: machines.start("nobody"), "there is no machine nobody; there are: .*test-cloud"),
        (lambda: machines.create(MachineSpec(name="Bad_Name", hostname="x")), "machine name 'Bad_Name'; it must be"),
        (
            lambda: machines.exec(CLOUD, ["sh", "-c", "echo no >&2; exit 3"], check=True),
            "machine test-cloud: sh ended with code 3: no",
        ),
    ],
)
def test_errors_say_which_machine(pair: Pair, call: Callable[[], object], message: str) -> None:
    with pytest.raises(MachineError, match=message):
        call()


def test_a_command_that_hangs_ends_at_its_deadline(pair: Pair) -> None:
    with pytest.raises(DeadlinePassed, match=r"machine test-cloud: sleep did not end within 0\.5 s"):
        machines.exec(CLOUD, ["sleep", "600"], deadline_seconds=0.5)
    # Killed it is by now, and there until the machine's systemd has reaped it.
    wait_until(
        lambda: machines.exec(CLOUD, ["pgrep", "-x", "sleep"]).returncode == 1,
        what="what it had begun is gone",
        deadline_seconds=60,
    )


def test_user_data_and_keys_are_for_root_only(pair: Pair) -> None:
    shown = machines.exec(
        CLOUD, ["stat", "-c", "%a", "/var/lib/cloud/seed/nocloud/user-data", "/etc/ssh/ssh_host_ed25519_key"]
    )
    assert shown.stdout.split() == ["600", "600"]
    assert state.STATE.stat().st_mode & 0o077 == 0
    assert "PRIVATE KEY" not in (state.STATE / "machines" / CLOUD / "machine.json").read_text()
