"""Servers that are machines of the lab: they boot, are guarded by their firewall and reach each other in private.

Needs root and the lab's Internet. What it makes has addresses and IDs that no cluster of the lab gets, and is removed.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any

import pytest
from hcloud.firewalls import FirewallRule
from hcloud.images import Image
from hcloud.networks import NetworkSubnet
from hcloud.server_types import ServerType

from lab import machines, network, topology
from lab.commands import wait_until
from lab.standins.hetzner_api.lab_backend import LabBackend, network_namespace
from tests.lab.hetzner_api.conftest import StandIn, StartStandIn

pytestmark = [pytest.mark.link, pytest.mark.timeout(300)]

FIRST_PUBLIC_ADDRESS = IPv4Address("198.51.100.240")
FIRST_ID = 900_001
SSH = FirewallRule(direction="in", protocol="tcp", port="22", source_ips=["198.51.100.0/24"])
PING = FirewallRule(direction="in", protocol="icmp", source_ips=["0.0.0.0/0"])
USER_DATA = """#cloud-config
write_files:
  - path: /root/from-user-data
    content: it works
"""


@pytest.fixture
def api(start: StartStandIn, tmp_path: Any) -> Iterator[StandIn]:
    if os.geteuid() != 0 or not network.exists(topology.WAN_NAMESPACE):
        pytest.skip("no lab is up, or we are not root")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "state.json").write_text(json.dumps({"next_id": FIRST_ID}))
    stand_in = start(LabBackend(), first_public_address=FIRST_PUBLIC_ADDRESS)
    yield stand_in
    for server in stand_in.client.servers.get_all():
        for action in server.get_actions():
            action.wait_until_finished()
        server.delete().wait_until_finished()
    for left in stand_in.client.networks.get_all():
        left.delete()
    # The bridge goes in the background.
    newest = max(int(number) for number in stand_in.state["actions"])
    stand_in.client.actions.get_by_id(newest).wait_until_finished()


def make_server(api: StandIn, name: str, **options: Any) -> Any:
    created = api.client.servers.create(
        name=name, server_type=ServerType(name="cx23"), image=Image(name="debian-12"), **options
    )
    for action in (created.action, *created.next_actions):
        action.wait_until_finished()
    created.server.reload()
    return created.server


def pings(namespace: str, address: str) -> bool:
    command = network.enter(namespace, ["ping", "-c", "1", "-W", "1", address])
    return subprocess.run(command, capture_output=True).returncode == 0


def connects(address: str, port: int) -> bool:
    """Tell whether a host on the Internet gets a TCP connection."""
    probe = f"import socket; socket.create_connection(({address!r}, {port}), timeout=1)"
    command = network.enter(topology.SERVICES_NAMESPACE, ["python3", "-c", probe])
    return subprocess.run(command, capture_output=True).returncode == 0


def test_a_server_is_a_machine(api: StandIn, public_key: str) -> None:
    client = api.client
    key = client.ssh_keys.create(name="key", public_key=public_key)
    firewall = client.firewalls.create(name="wall", rules=[SSH]).firewall
    private = client.networks.create(
        name="net",
        ip_range="10.250.0.0/16",
        subnets=[NetworkSubnet(type="cloud", ip_range="10.250.1.0/24", network_zone="eu-central")],
    )
    first = make_server(api, "standin-1", ssh_keys=[key], firewalls=[firewall], user_data=USER_DATA)
    second = make_server(api, "standin-2")
    address = first.public_net.ipv4.ip
    assert address == str(FIRST_PUBLIC_ADDRESS)
    attaching = [
        first.attach_to_network(private, ip="10.250.1.11"),
        second.attach_to_network(private, ip="10.250.1.12"),
    ]
    for action in attaching:
        action.wait_until_finished()
    first.reload()

    shown = json.loads(machines.exec("standin-1", ["ip", "-json", "address", "show", "enp7s0"]).stdout)[0]
    assert (shown["mtu"], shown["address"]) == (1450, first.private_net[0].mac_address)
    assert [
        (address["local"], address["prefixlen"]) for address in shown["addr_info"] if address["family"] == "inet"
    ] == [("10.250.1.11", 24)]
    assert machines.exec("standin-1", ["ping", "-c", "1", "-W", "2", "10.250.1.12"]).returncode == 0

    assert machines.wait_boot("standin-1") in ("running", "degraded")
    assert machines.exec("standin-1", ["cat", "/root/from-user-data"]).stdout == "it works"
    assert machines.exec("standin-1", ["hostname"]).stdout == "standin-1\n"
    assert public_key.split()[1] in machines.exec("standin-1", ["cat", "/root/.ssh/authorized_keys"]).stdout

    # The firewall lets SSH in and nothing else; the server without one is open.
    wait_until(lambda: connects(address, 22), what="sshd answers", deadline_seconds=60)
    assert not pings(topology.SERVICES_NAMESPACE, address)
    assert pings(topology.SERVICES_NAMESPACE, second.public_net.ipv4.ip)
    for action in firewall.set_rules([PING]):
        action.wait_until_finished()
    assert pings(topology.SERVICES_NAMESPACE, address)
    assert not connects(address, 22)

    first.reboot().wait_until_finished()
    # At Hetzner, too, it is over when the machine starts, not when it is up.
    assert machines.wait_boot("standin-1") in ("running", "degraded")
    assert machines.exec("standin-1", ["ping", "-c", "1", "-W", "2", "10.250.1.12"]).returncode == 0
    second.power_off().wait_until_finished()
    second.reload()
    assert (second.status, machines.running("standin-2")) == ("off", False)
    first.detach_from_network(private).wait_until_finished()
    assert machines.exec("standin-1", ["ip", "link", "show", "enp7s0"]).returncode != 0

    first.delete().wait_until_finished()
    second.delete().wait_until_finished()
    assert not {"standin-1", "standin-2"} & set(machines.list_machines())
    private.delete()
    wait_until(
        lambda: not network.exists(network_namespace(private.id)), what="the bridge is removed", deadline_seconds=60
    )
    assert not connects(address, 22)
