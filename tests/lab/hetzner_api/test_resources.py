"""Every resource by the official client: create, get, list, update, delete, and what its actions do."""

from __future__ import annotations

import ipaddress
from typing import Any, cast

import hcloud
import pytest
from hcloud import APIException
from hcloud.firewalls import FirewallResource, FirewallResourceLabelSelector, FirewallRule
from hcloud.images import Image
from hcloud.locations import Location
from hcloud.networks import NetworkRoute, NetworkSubnet
from hcloud.server_types import ServerType
from hcloud.servers import ServerCreatePublicNetwork

from tests.lab.hetzner_api.conftest import StandIn, StartStandIn

SUBNET = NetworkSubnet(type="cloud", ip_range="10.0.1.0/24", network_zone="eu-central")
SSH = FirewallRule(direction="in", protocol="tcp", port="22", source_ips=["203.0.113.0/24"], description="SSH")


def make_network(client: Any, name: str = "net") -> Any:
    return client.networks.create(name=name, ip_range="10.0.0.0/16", subnets=[SUBNET])


def make_server(client: Any, name: str, **options: Any) -> Any:
    arguments: dict[str, Any] = {
        "server_type": ServerType(name="cx23"),
        "image": Image(name="debian-12"),
        "location": Location(name="fsn1"),
    } | options
    created = client.servers.create(name=name, **arguments)
    created.action.wait_until_finished()
    for action in created.next_actions:
        action.wait_until_finished()
    created.server.reload()
    return created.server


def refusal(error: pytest.ExceptionInfo[APIException]) -> tuple[str, str]:
    return str(error.value.code), error.value.message


class TestCatalog:
    def test_locations_have_network_zones(self, client: Any) -> None:
        zones = {location.name: location.network_zone for location in client.locations.get_all()}
        assert zones == {
            "fsn1": "eu-central",
            "nbg1": "eu-central",
            "hel1": "eu-central",
            "ash": "us-east",
            "hil": "us-west",
            "sin": "ap-southeast",
        }

    def test_server_type_by_name(self, client: Any) -> None:
        found = client.server_types.get_by_name("cx23")
        assert (found.cores, found.memory, found.disk, found.architecture) == (2, 4, 40, "x86")
        assert {location.location.name for location in found.locations} == {"fsn1", "nbg1", "hel1"}
        assert {location.deprecation for location in found.locations} == {None}

    def test_server_type_that_is_no_longer_sold_everywhere(self, client: Any) -> None:
        places = {place.location.name: place for place in client.server_types.get_by_name("cpx31").locations}
        assert set(places) == {"fsn1", "nbg1", "hel1", "ash", "hil", "sin"}
        assert {name for name, place in places.items() if place.deprecation is None} == {"ash", "hil"}
        assert places["fsn1"].deprecation.unavailable_after.year == 2025

    def test_image_by_name_and_architecture(self, client: Any) -> None:
        assert client.images.get_by_name_and_architecture("debian-13", "arm").architecture == "arm"
        assert {image.name for image in client.images.get_all()} == {"debian-12", "debian-13", "ubuntu-24.04"}


class TestSshKeys:
    def test_life(self, client: Any, public_key: str) -> None:
        key = client.ssh_keys.create(name="key", public_key=public_key, labels={"for": "test"})
        # ssh-keygen -E md5 -lf says the same of this key.
        assert key.fingerprint == "0f:a2:0a:d7:38:3e:65:45:08:6b:63:84:1c:ff:dc:ba"
        assert client.ssh_keys.get_by_fingerprint(key.fingerprint).id == key.id
        renamed = key.update(name="other", labels={})
        assert (renamed.name, renamed.labels) == ("other", {})
        assert key.delete()
        assert client.ssh_keys.get_all() == []

    def test_the_same_key_twice(self, client: Any, public_key: str) -> None:
        client.ssh_keys.create(name="key", public_key=public_key)
        with pytest.raises(APIException) as error:
            client.ssh_keys.create(name="other", public_key=public_key)
        assert refusal(error) == ("uniqueness_error", "SSH key with the same fingerprint already exists")

    def test_no_key(self, client: Any) -> None:
        with pytest.raises(APIException) as error:
            client.ssh_keys.create(name="key", public_key="ssh-ed25519 AAAA")
        assert refusal(error)[0] == "invalid_input"


class TestPlacementGroups:
    def test_life(self, client: Any) -> None:
        group = client.placement_groups.create(name="group", type="spread").placement_group
        server = make_server(client, "one", placement_group=group)
        assert server.placement_group.id == group.id
        group.reload()
        assert group.servers == [server.id]
        assert group.update(labels={"a": "b"}).labels == {"a": "b"}

        with pytest.raises(APIException) as error:
            server.add_to_placement_group(group)
        assert refusal(error)[0] == "already_in_placement_group"
        server.remove_from_placement_group().wait_until_finished()
        with pytest.raises(APIException) as error:
            server.add_to_placement_group(group)
        assert refusal(error)[0] == "server_not_stopped"
        server.power_off().wait_until_finished()
        server.add_to_placement_group(group).wait_until_finished()
        assert group.delete()
        server.reload()
        assert server.placement_group is None


class TestNetworks:
    def test_life(self, client: Any) -> None:
        network = client.networks.create(name="net", ip_range="10.0.0.0/16", labels={"a": "b"})
        network.add_subnet(SUBNET).wait_until_finished()
        network.reload()
        assert [(subnet.ip_range, subnet.gateway) for subnet in network.subnets] == [("10.0.1.0/24", "10.0.0.1")]

        route = NetworkRoute(destination="192.168.0.0/16", gateway="10.0.1.5")
        network.add_route(route).wait_until_finished()
        network.change_ip_range("10.0.0.0/15").wait_until_finished()
        network.change_protection(delete=True).wait_until_finished()
        network.reload()
        assert [entry.destination for entry in network.routes] == ["192.168.0.0/16"]
        assert network.ip_range == "10.0.0.0/15"

        with pytest.raises(APIException) as error:
            network.delete()
        assert refusal(error) == ("protected", "network deletion is protected")
        network.change_protection(delete=False).wait_until_finished()
        network.delete_route(route).wait_until_finished()
        network.delete_subnet(SUBNET).wait_until_finished()
        assert network.update(name="renamed").name == "renamed"
        assert network.delete()
        assert client.networks.get_all() == []

    def test_a_subnet_without_range_is_the_first_free_24(self, client: Any) -> None:
        network = make_network(client)
        # The client's type wants a range, the API does not.
        subnet: Any = NetworkSubnet(type="cloud", ip_range=cast("Any", None), network_zone="eu-central")
        network.add_subnet(subnet).wait_until_finished()
        network.reload()
        assert [subnet.ip_range for subnet in network.subnets] == ["10.0.1.0/24", "10.0.0.0/24"]

    @pytest.mark.parametrize(
        ("ip_range", "message"),
        [
            ("10.0.1.128/25", "overlaps with the subnet 10.0.1.0/24"),
            ("10.1.0.0/24", "must be a subnet of the network's range 10.0.0.0/16"),
            ("10.0.2.0/31", "must be at least a /30"),
            ("198.51.100.0/24", "must be one of the private IPv4 ranges of RFC1918"),
            ("10.0.2.1/24", "is not an IPv4 range in CIDR notation: 10.0.2.1/24 has host bits set"),
        ],
    )
    def test_a_wrong_subnet(self, client: Any, ip_range: str, message: str) -> None:
        network = make_network(client)
        with pytest.raises(APIException) as error:
            network.add_subnet(NetworkSubnet(type="cloud", ip_range=ip_range, network_zone="eu-central"))
        assert refusal(error) == ("invalid_input", f"invalid input in field 'ip_range': {message}")

    def test_a_network_shrinks_never(self, client: Any) -> None:
        with pytest.raises(APIException) as error:
            make_network(client).change_ip_range("10.0.0.0/17")
        assert refusal(error)[0] == "invalid_input"

    def test_a_subnet_with_servers_stays(self, client: Any) -> None:
        network = make_network(client)
        make_server(client, "one", networks=[network])
        with pytest.raises(APIException) as error:
            network.delete_subnet(SUBNET)
        assert refusal(error)[0] == "service_error"
        assert "servers are attached" in refusal(error)[1]

    def test_deleting_detaches_servers(self, api: StandIn, client: Any) -> None:
        network = make_network(client)
        server = make_server(client, "one", networks=[network])
        assert network.delete()
        server.reload()
        assert server.private_net == []
        client.actions.get_by_id(max(int(number) for number in api.state["actions"])).wait_until_finished()
        assert api.backend.removed_networks == [network.id]
        assert api.backend.machines["one"].interfaces == {}


class TestFirewalls:
    def test_life(self, api: StandIn, client: Any) -> None:
        created = client.firewalls.create(name="wall", rules=[SSH])
        for action in created.actions:
            action.wait_until_finished()
        firewall = created.firewall
        assert firewall.rules[0].source_ips == ["203.0.113.0/24"]
        server = make_server(client, "one", firewalls=[firewall])
        assert [entry.status for entry in server.public_net.firewalls] == ["applied"]
        address = ipaddress.IPv4Address(server.public_net.ipv4.ip)
        assert [rule.port for rule in api.backend.firewalls[address].rules] == ["22"]

        with pytest.raises(APIException) as error:
            firewall.delete()
        assert refusal(error) == ("resource_in_use", f"firewall with ID {firewall.id} is still in use")

        ping = FirewallRule(direction="in", protocol="icmp", source_ips=["0.0.0.0/0", "::/0"])
        actions = firewall.set_rules([SSH, ping])
        assert [action.command for action in actions] == ["set_firewall_rules", "apply_firewall"]
        for action in actions:
            action.wait_until_finished()
        assert [rule.protocol for rule in api.backend.firewalls[address].rules] == ["tcp", "icmp"]

        firewall.reload()
        for action in firewall.remove_from_resources(firewall.applied_to):
            action.wait_until_finished()
        assert api.backend.firewalls == {}
        assert firewall.update(name="other", labels={"a": ""}).name == "other"
        assert firewall.delete()

    def test_a_label_selector_follows_labels(self, api: StandIn, client: Any) -> None:
        selector = FirewallResource(
            type="label_selector", label_selector=FirewallResourceLabelSelector(selector="wall=yes")
        )
        firewall = client.firewalls.create(name="wall", rules=[SSH], resources=[selector]).firewall
        server = make_server(client, "one")
        assert api.backend.firewalls == {}

        server.update(labels={"wall": "yes"})
        for action in server.get_actions():
            action.wait_until_finished()
        server.reload()
        assert [entry.firewall.id for entry in server.public_net.firewalls] == [firewall.id]
        assert len(api.backend.firewalls) == 1
        firewall.reload()
        assert [resource.server.id for resource in firewall.applied_to[0].applied_to_resources] == [server.id]
        with pytest.raises(APIException) as error:
            firewall.remove_from_resources([FirewallResource(type="server", server=server)])
        assert refusal(error)[0] == "firewall_managed_by_label_selector"

        server.update(labels={})
        for action in server.get_actions():
            action.wait_until_finished()
        assert api.backend.firewalls == {}

    def test_applying_twice(self, client: Any) -> None:
        firewall = client.firewalls.create(name="wall").firewall
        server = make_server(client, "one", firewalls=[firewall])
        with pytest.raises(APIException) as error:
            firewall.apply_to_resources([FirewallResource(type="server", server=server)])
        assert refusal(error)[0] == "firewall_already_applied"

    @pytest.mark.parametrize(
        ("rule", "message"),
        [
            (FirewallRule("in", "tcp", ["0.0.0.0/0"]), "protocol tcp requires a port"),
            (FirewallRule("in", "icmp", ["0.0.0.0/0"], port="1"), "protocol icmp does not allow a port"),
            (FirewallRule("in", "tcp", port="1"), "direction in requires source_ips"),
            (FirewallRule("out", "tcp", ["0.0.0.0/0"], "1", ["0.0.0.0/0"]), "direction out does not allow source_ips"),
            (FirewallRule("in", "udp", ["0.0.0.0/0"], port="9-1"), "must lie between 1 and 65535"),
            (FirewallRule("in", "udp", ["10.0.0.1"], port="1"), "'10.0.0.1' must be in CIDR notation"),
            (FirewallRule("in", "udp", ["10.0.0.1/8"], port="1"), "has host bits set"),
        ],
    )
    def test_a_wrong_rule(self, client: Any, rule: FirewallRule, message: str) -> None:
        with pytest.raises(APIException) as error:
            client.firewalls.create(name="wall", rules=[rule])
        assert refusal(error)[0] == "invalid_input"
        assert message in refusal(error)[1]


class TestServers:
    def test_life(self, api: StandIn, client: Any, public_key: str) -> None:
        key = client.ssh_keys.create(name="key", public_key=public_key)
        created = client.servers.create(
            name="node-1",
            server_type=ServerType(name="cx23"),
            image=Image(name="debian-12"),
            location=Location(name="fsn1"),
            ssh_keys=[key],
            user_data="#cloud-config\n",
            labels={"role": "server"},
        )
        assert (created.server.status, created.action.command) == ("initializing", "create_server")
        assert [action.command for action in created.next_actions] == ["start_server"]
        for action in (created.action, *created.next_actions):
            action.wait_until_finished()
        server = client.servers.get_by_name("node-1")
        assert (server.status, server.locked, server.primary_disk_size) == ("running", False, 40)
        assert server.public_net.ipv4.ip == "198.51.100.101"
        assert server.public_net.ipv6 is None
        assert server.image.name == "debian-12"
        assert server.location.network_zone == "eu-central"
        machine = api.backend.machines["node-1"]
        assert machine.request.user_data == "#cloud-config\n"
        assert machine.request.authorized_keys == (public_key,)

        server.shutdown().wait_until_finished()
        server.reload()
        assert (server.status, machine.running) == ("off", False)
        server.power_on().wait_until_finished()
        server.reboot().wait_until_finished()
        server.reset().wait_until_finished()
        assert machine.boots == 4
        server.update(name="renamed", labels={})
        server.delete().wait_until_finished()
        assert client.servers.get_all() == []
        assert client.primary_ips.get_all() == []
        assert api.backend.machines == {}

    def test_rebuild(self, api: StandIn, client: Any) -> None:
        network = make_network(client)
        server = make_server(client, "one", user_data="#cloud-config\n# first\n")
        server.attach_to_network(network, ip="10.0.1.10").wait_until_finished()
        server.change_protection(delete=True, rebuild=True).wait_until_finished()
        with pytest.raises(APIException) as error:
            server.rebuild(Image(name="debian-13"), user_data="#cloud-config\n# second\n")
        assert refusal(error)[0] == "protected"
        server.change_protection(delete=False, rebuild=False).wait_until_finished()
        for image, user_data, code in (
            ("debian-1", "#cloud-config\n", "invalid_input"),
            ("debian-13", "x" * 32769, "invalid_input"),
            ("debian-13", None, "unsupported_error"),
        ):
            with pytest.raises(APIException) as error:
                server.rebuild(Image(name=image), user_data=user_data)
            assert refusal(error)[0] == code
        first, before = api.backend.machines["one"], api.call("GET", f"/servers/{server.id}").json()["server"]

        action = server.rebuild(Image(name="debian-13"), user_data="#cloud-config\n# second\n").action
        assert action.command == "rebuild_server"
        action.wait_until_finished()

        second = api.backend.machines["one"]
        assert second is not first
        assert (second.running, second.boots, second.request.user_data) == (True, 1, "#cloud-config\n# second\n")
        assert second.interfaces == first.interfaces
        after = api.call("GET", f"/servers/{server.id}").json()["server"]
        assert after.pop("image")["name"] == "debian-13"
        assert before.pop("image")["name"] == "debian-12"
        assert after == before

    def test_attach_to_network(self, api: StandIn, client: Any) -> None:
        network = make_network(client)
        server = make_server(client, "one")
        server.attach_to_network(network, ip="10.0.1.10").wait_until_finished()
        server.reload()
        assert [(net.network.id, net.ip) for net in server.private_net] == [(network.id, "10.0.1.10")]
        network.reload()
        assert [member.id for member in network.servers] == [server.id]
        interface = api.backend.machines["one"].interfaces["enp7s0"]
        assert interface.address == ipaddress.IPv4Interface("10.0.1.10/24")
        assert (interface.mtu, interface.mac_address) == (1450, server.private_net[0].mac_address)

        other = client.networks.create(
            name="other",
            ip_range="10.9.0.0/16",
            subnets=[NetworkSubnet(type="cloud", ip_range="10.9.0.0/24", network_zone="eu-central")],
        )
        server.attach_to_network(other).wait_until_finished()
        assert api.backend.machines["one"].interfaces["enp8s0"].address == ipaddress.IPv4Interface("10.9.0.2/24")
        server.change_alias_ips(other, ["10.9.0.77"]).wait_until_finished()
        server.detach_from_network(network).wait_until_finished()
        server.reload()
        assert [(net.ip, net.alias_ips) for net in server.private_net] == [("10.9.0.2", ["10.9.0.77"])]
        assert list(api.backend.machines["one"].interfaces) == ["enp8s0"]

    @pytest.mark.parametrize("ip", ["10.0.1.10", "10.0.0.1", "10.0.1.255", "10.0.2.5", "10.7.0.1"])
    def test_an_address_that_is_not_to_be_had(self, client: Any, ip: str) -> None:
        network = make_network(client)
        first, second = make_server(client, "one"), make_server(client, "two")
        first.attach_to_network(network, ip="10.0.1.10").wait_until_finished()
        with pytest.raises(APIException) as error:
            second.attach_to_network(network, ip=ip)
        assert refusal(error)[0] == "ip_not_available"
        with pytest.raises(APIException) as error:
            first.attach_to_network(network, ip="10.0.1.11")
        assert refusal(error)[0] == "server_already_attached"

    def test_no_subnet_in_the_zone(self, client: Any) -> None:
        network = client.networks.create(
            name="net",
            ip_range="10.0.0.0/16",
            subnets=[NetworkSubnet(type="cloud", ip_range="10.0.1.0/24", network_zone="us-east")],
        )
        with pytest.raises(APIException) as error:
            make_server(client, "one").attach_to_network(network)
        assert refusal(error)[0] == "no_subnet_available"

    def test_overlapping_networks(self, client: Any) -> None:
        server = make_server(client, "one", networks=[make_network(client)])
        with pytest.raises(APIException) as error:
            server.attach_to_network(make_network(client, "same"))
        assert refusal(error)[0] == "networks_overlap"

    def test_public_addresses_are_not_reused_while_used(self, client: Any) -> None:
        servers = [make_server(client, name) for name in ("one", "two", "three")]
        assert [server.public_net.ipv4.ip for server in servers] == [f"198.51.100.{last}" for last in (101, 102, 103)]
        servers[1].delete().wait_until_finished()
        assert make_server(client, "four").public_net.ipv4.ip == "198.51.100.102"
        assert make_server(client, "five").public_net.ipv4.ip == "198.51.100.104"

    def test_a_server_without_public_network(self, api: StandIn, client: Any) -> None:
        network = make_network(client)
        private = ServerCreatePublicNetwork(enable_ipv4=False, enable_ipv6=False)
        server = make_server(client, "one", public_net=private, networks=[network])
        assert server.public_net.ipv4 is None
        assert api.backend.machines["one"].request.public_address is None
        firewall = client.firewalls.create(name="wall").firewall
        with pytest.raises(APIException) as error:
            firewall.apply_to_resources([FirewallResource(type="server", server=server)])
        assert refusal(error)[0] == "private_net_only_server"

    def test_protection(self, client: Any) -> None:
        server = make_server(client, "one")
        server.change_protection(delete=True, rebuild=True).wait_until_finished()
        with pytest.raises(APIException) as error:
            server.delete()
        assert refusal(error) == ("protected", "server deletion is protected")
        with pytest.raises(APIException) as error:
            server.change_protection(delete=False, rebuild=True)
        assert refusal(error)[0] == "invalid_input"
        server.change_protection(delete=False, rebuild=False).wait_until_finished()
        server.delete().wait_until_finished()

    def test_change_type(self, client: Any) -> None:
        server = make_server(client, "one")
        with pytest.raises(APIException) as error:
            server.change_type(ServerType(name="cx33"), upgrade_disk=False)
        assert refusal(error)[0] == "server_not_stopped"
        server.power_off().wait_until_finished()
        server.change_type(ServerType(name="cx33"), upgrade_disk=False).wait_until_finished()
        server.reload()
        assert (server.server_type.name, server.status) == ("cx33", "running"), "Hetzner starts it again"
        server.power_off().wait_until_finished()
        with pytest.raises(APIException) as error:
            server.change_type(ServerType(name="cax11"), upgrade_disk=False)
        assert refusal(error)[0] == "invalid_server_type"

    def test_the_machine_is_called_otherwise_when_the_name_is_taken(self, start: StartStandIn) -> None:
        api = start()
        make_server(api.client, "one")
        api.backend.machines["mn-1"] = api.backend.machines["one"]
        server = make_server(api.client, "mn-1")
        assert f"mn-1-{server.id}" in api.backend.machines

    def test_the_machine_has_a_plain_name(self, api: StandIn, client: Any) -> None:
        make_server(client, "Node.One")
        assert api.backend.machines["node-one"].request.hostname == "Node.One"

    @pytest.mark.parametrize(
        ("options", "field"),
        [
            ({"image": Image(name="windows")}, "image"),
            ({"server_type": ServerType(name="cx99")}, "server_type"),
            ({"location": Location(name="mars")}, "location"),
            ({"location": Location(name="ash")}, "server_type"),
            ({"user_data": "x" * 32769}, "user_data"),
            ({"labels": {"a b": "c"}}, "labels"),
            ({"image": Image(id=114690389)}, "image"),
        ],
    )
    def test_wrong_fields(self, client: Any, options: dict[str, Any], field: str) -> None:
        with pytest.raises(APIException) as error:
            make_server(client, "one", **options)
        assert refusal(error)[0] == "invalid_input"
        assert [entry["name"] for entry in error.value.details["fields"]] == [field]

    def test_a_wrong_name(self, client: Any) -> None:
        with pytest.raises(APIException) as error:
            make_server(client, "not_a_host")
        assert refusal(error) == ("invalid_input", "invalid input in field 'name': must be a valid hostname")

    def test_an_arm_server_gets_the_arm_image(self, client: Any) -> None:
        server = make_server(client, "one", server_type=ServerType(name="cax11"))
        assert server.image.architecture == "arm"

    def test_a_failed_start(self, api: StandIn, client: Any) -> None:
        api.backend.fail_next["start"] = "does not boot"
        with pytest.raises(hcloud.actions.ActionFailedException, match="does not boot"):
            make_server(client, "one")
        server = client.servers.get_by_name("one")
        assert (server.status, server.locked) == ("off", False)
        server.power_on().wait_until_finished()
        server.reload()
        assert server.status == "running"

    def test_a_failed_attachment_is_none(self, api: StandIn, client: Any) -> None:
        network, server = make_network(client), make_server(client, "one")
        api.backend.fail_next["plug"] = "no port"
        with pytest.raises(hcloud.actions.ActionFailedException, match="no port"):
            server.attach_to_network(network, ip="10.0.1.10").wait_until_finished()
        server.attach_to_network(network, ip="10.0.1.10").wait_until_finished()


class TestPrimaryIps:
    def test_life(self, api: StandIn, client: Any) -> None:
        created = client.primary_ips.create(
            name="ip", type="ipv4", location=Location(name="fsn1"), assignee_type="server"
        )
        address = created.primary_ip
        assert (created.action, address.assignee_id, address.ip) == (None, None, "198.51.100.101")
        server = make_server(
            client, "one", public_net=ServerCreatePublicNetwork(ipv4=address, enable_ipv4=True, enable_ipv6=False)
        )
        assert server.public_net.ipv4.ip == address.ip
        assert api.backend.machines["one"].request.public_address == ipaddress.IPv4Address(address.ip)
        with pytest.raises(APIException) as error:
            address.delete()
        assert refusal(error)[0] == "must_be_unassigned"
        with pytest.raises(APIException) as error:
            address.unassign()
        assert refusal(error)[0] == "server_not_stopped"
        server.delete().wait_until_finished()
        address.reload()
        assert address.assignee_id is None
        address.change_protection(delete=True).wait_until_finished()
        with pytest.raises(APIException) as error:
            address.delete()
        assert refusal(error)[0] == "protected"
        address.change_protection(delete=False).wait_until_finished()
        assert address.delete()

    def test_assigning_later(self, client: Any) -> None:
        server = make_server(client, "one")
        first = client.primary_ips.get_all()[0]
        server.power_off().wait_until_finished()
        first.unassign().wait_until_finished()
        second = client.primary_ips.create(
            name="ip", type="ipv4", location=Location(name="fsn1"), assignee_type="server"
        ).primary_ip
        second.assign(server.id, "server").wait_until_finished()
        server.reload()
        assert server.public_net.ipv4.ip == "198.51.100.102"

    def test_ipv6_is_refused(self, client: Any) -> None:
        with pytest.raises(APIException) as error:
            client.primary_ips.create(name="ip", type="ipv6", location=Location(name="fsn1"), assignee_type="server")
        assert refusal(error) == ("unsupported_error", "the lab has no IPv6")
