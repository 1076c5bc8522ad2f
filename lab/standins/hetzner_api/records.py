"""What the stand-in remembers. Pydantic models only because they go to JSON and back; they hold no behaviour.

References are kept on one side only (a server names its placement group, its networks, its firewalls); views turn them
round.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

ActionStatus = Literal["running", "success", "error"]
ServerStatus = Literal["initializing", "starting", "running", "stopping", "off", "rebuilding", "deleting"]
ResourceType = Literal["server", "network", "firewall", "primary_ip", "placement_group"]


class Record(BaseModel):
    """Base of all records: unknown keys in the state file are an error, not lost silently."""

    model_config = ConfigDict(extra="forbid")


class ResourceReference(Record):
    """What an action is about."""

    id: int
    type: ResourceType


class CreateMachine(Record):
    """Make the server's machine with its firewalls, without starting it."""

    kind: Literal["create_machine"] = "create_machine"
    server: int


class StartMachine(Record):
    """Boot the server's machine."""

    kind: Literal["start_machine"] = "start_machine"
    server: int


class StopMachine(Record):
    """Stop the server's machine, by its own init when `graceful`."""

    kind: Literal["stop_machine"] = "stop_machine"
    server: int
    graceful: bool


class RebootMachine(Record):
    """Stop and boot the server's machine."""

    kind: Literal["reboot_machine"] = "reboot_machine"
    server: int
    graceful: bool


class RebuildMachine(Record):
    """Make the machine anew with an empty disk, its interfaces and addresses kept, and boot it."""

    kind: Literal["rebuild_machine"] = "rebuild_machine"
    server: int


class DestroyMachine(Record):
    """Remove the machine; the server is forgotten when this ends."""

    kind: Literal["destroy_machine"] = "destroy_machine"
    server: int


class PlugNetwork(Record):
    """Add the interface of a private network to the machine."""

    kind: Literal["plug_network"] = "plug_network"
    server: int
    network: int


class UnplugNetwork(Record):
    """Take the interface of a private network away."""

    kind: Literal["unplug_network"] = "unplug_network"
    server: int
    network: int


class RemoveNetwork(Record):
    """Unplug what is still attached (machine name and interface of each), then remove the bridge."""

    kind: Literal["remove_network"] = "remove_network"
    network: int
    attached: list[tuple[str, str]]


class EnforceFirewall(Record):
    """Enforce on the server's public address what its firewalls say by the time this runs."""

    kind: Literal["enforce_firewall"] = "enforce_firewall"
    server: int
    firewall: int


class AddSubnet(Record):
    """Add a checked subnet to the network."""

    kind: Literal["add_subnet"] = "add_subnet"
    network: int
    ip_range: str
    network_zone: str


class DeleteSubnet(Record):
    """Take a subnet out of the network."""

    kind: Literal["delete_subnet"] = "delete_subnet"
    network: int
    ip_range: str


class AddRoute(Record):
    """Add a checked route to the network."""

    kind: Literal["add_route"] = "add_route"
    network: int
    destination: str
    gateway: str


class DeleteRoute(Record):
    """Take a route out of the network."""

    kind: Literal["delete_route"] = "delete_route"
    network: int
    destination: str
    gateway: str


class ChangeIpRange(Record):
    """Widen the network's range."""

    kind: Literal["change_ip_range"] = "change_ip_range"
    network: int
    ip_range: str


class RecordOnly(Record):
    """The change was recorded when it was accepted; the action only takes its time."""

    kind: Literal["record_only"] = "record_only"


Work = Annotated[
    CreateMachine
    | StartMachine
    | StopMachine
    | RebootMachine
    | RebuildMachine
    | DestroyMachine
    | PlugNetwork
    | UnplugNetwork
    | RemoveNetwork
    | EnforceFirewall
    | AddSubnet
    | DeleteSubnet
    | AddRoute
    | DeleteRoute
    | ChangeIpRange
    | RecordOnly,
    Field(discriminator="kind"),
]


class ActionError(Record):
    """Why an action failed, as the API tells it."""

    code: str
    message: str


class Action(Record):
    """A change on its way: running, then success or error. `exclusive` locks its resources meanwhile."""

    id: int
    command: str
    status: ActionStatus = "running"
    started: datetime
    finished: datetime | None = None
    resources: list[ResourceReference]
    error: ActionError | None = None
    work: Work
    exclusive: bool = True


class Resource(Record):
    """What most resources share."""

    id: int
    name: str
    created: datetime
    labels: dict[str, str] = {}


class Subnet(Record):
    """A range of a network in one network zone."""

    ip_range: str
    network_zone: str
    type: str = "cloud"


class Route(Record):
    """A route of a network."""

    destination: str
    gateway: str


class Network(Resource):
    """A private network with its subnets and routes."""

    ip_range: str
    subnets: list[Subnet] = []
    routes: list[Route] = []
    expose_routes_to_vswitch: bool = False
    delete_protection: bool = False


class Rule(Record):
    """A firewall rule as the API tells it: CIDRs in canonical form, port as text (`80` or `1024-5000`)."""

    direction: Literal["in", "out"]
    protocol: Literal["tcp", "udp", "icmp", "esp", "gre"]
    port: str | None = None
    source_ips: list[str] = []
    destination_ips: list[str] = []
    description: str | None = None


class AppliedTo(Record):
    """What a firewall is applied to: exactly one of the two is set."""

    server: int | None = None
    label_selector: str | None = None


class Firewall(Resource):
    """Rules, and what they are applied to."""

    rules: list[Rule] = []
    applied_to: list[AppliedTo] = []


class PlacementGroup(Resource):
    """A group of servers that Hetzner would keep on different hosts."""

    type: str = "spread"


class SshKey(Resource):
    """A public key for new servers."""

    public_key: str
    fingerprint: str


class PrimaryIp(Resource):
    """A public IPv4 address that outlives its server unless `auto_delete` is set."""

    ip: str
    location: str
    assignee_id: int | None = None
    auto_delete: bool = False
    delete_protection: bool = False
    dns_ptr: str = ""


class PrivateNet(Record):
    """A server's place in a network; `attached` once the action has plugged the interface."""

    network: int
    ip: str
    prefix_length: int
    alias_ips: list[str] = []
    mac_address: str
    interface: str
    attached: bool = False


class Server(Resource):
    """A server. `user_data` is forgotten as soon as the machine exists: it holds secrets."""

    status: ServerStatus = "initializing"
    machine: str
    server_type: str
    image: int
    location: str
    authorized_keys: list[str] = []
    user_data: str | None = None
    placement_group: int | None = None
    private_nets: list[PrivateNet] = []
    firewalls: dict[int, Literal["pending", "applied"]] = {}
    delete_protection: bool = False
    rebuild_protection: bool = False


class State(Record):
    """Everything. IDs come from one counter, so an ID of the wrong kind is never by chance a right one."""

    version: Literal[1] = 1
    next_id: int = 1001
    networks: dict[int, Network] = {}
    firewalls: dict[int, Firewall] = {}
    placement_groups: dict[int, PlacementGroup] = {}
    ssh_keys: dict[int, SshKey] = {}
    primary_ips: dict[int, PrimaryIp] = {}
    servers: dict[int, Server] = {}
    actions: dict[int, Action] = {}
