"""Bodies of requests as typed models, and the translation of their faults into the API's `invalid_input`.

Types are strict (a number is not a text and the other way round); fields that the API does not know are ignored, as it
does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lab.standins.hetzner_api import errors
from lab.standins.hetzner_api.formats import (
    Address,
    FirewallCidr,
    HostName,
    IdOrName,
    LabelMap,
    Name,
    Port,
    PrivateNetwork,
    PublicKey,
    RouteDestination,
    Selector,
    UserData,
)

RULES_LIMIT = 50
CIDRS_PER_RULE_LIMIT = 100

Body = TypeVar("Body", bound="RequestBody")


class RequestBody(BaseModel):
    """Base of all bodies."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class Update(RequestBody):
    """PUT of what has a name and labels; absent means unchanged."""

    name: Name | None = None
    labels: LabelMap | None = None


class UpdateServer(RequestBody):
    """PUT of a server: its name must be a host name."""

    name: HostName | None = None
    labels: LabelMap | None = None


class UpdateNetwork(Update):
    """PUT of a network."""

    expose_routes_to_vswitch: bool | None = None


class UpdatePrimaryIp(Update):
    """PUT of a primary IP."""

    auto_delete: bool | None = None


class CreateSshKey(RequestBody):
    """POST /ssh_keys."""

    name: Name
    public_key: PublicKey
    labels: LabelMap = {}


class CreatePlacementGroup(RequestBody):
    """POST /placement_groups."""

    name: Name
    type: Literal["spread"]
    labels: LabelMap = {}


class SubnetBody(RequestBody):
    """A subnet to add; without `ip_range` the first free /24 is taken."""

    type: Literal["cloud", "server"]
    network_zone: str
    ip_range: PrivateNetwork | None = None


class SubnetRange(RequestBody):
    """A subnet named by its range."""

    ip_range: PrivateNetwork


class RouteBody(RequestBody):
    """A route to add or delete."""

    destination: RouteDestination
    gateway: Address


class CreateNetwork(RequestBody):
    """POST /networks."""

    name: Name
    ip_range: PrivateNetwork
    subnets: list[SubnetBody] = []
    routes: list[RouteBody] = []
    labels: LabelMap = {}
    expose_routes_to_vswitch: bool = False


class RuleBody(RequestBody):
    """A rule: which fields go together is checked as the API does."""

    direction: Literal["in", "out"]
    protocol: Literal["tcp", "udp", "icmp", "esp", "gre"]
    port: Port | None = None
    source_ips: Annotated[list[FirewallCidr], Field(max_length=CIDRS_PER_RULE_LIMIT)] | None = None
    destination_ips: Annotated[list[FirewallCidr], Field(max_length=CIDRS_PER_RULE_LIMIT)] | None = None
    description: Annotated[str, Field(max_length=255)] | None = None

    @model_validator(mode="after")
    def _check_combination(self) -> RuleBody:
        if (self.protocol in ("tcp", "udp")) != (self.port is not None):
            needs = "requires" if self.port is None else "does not allow"
            raise ValueError(f"protocol {self.protocol} {needs} a port")
        used, unused = "source_ips", "destination_ips"
        if self.direction == "out":
            used, unused = unused, used
        if not getattr(self, used):
            raise ValueError(f"direction {self.direction} requires {used}")
        if getattr(self, unused):
            raise ValueError(f"direction {self.direction} does not allow {unused}")
        return self


class ServerId(RequestBody):
    """A server named by its ID."""

    id: int


class LabelSelectorBody(RequestBody):
    """A label selector."""

    selector: Selector


class FirewallResource(RequestBody):
    """A server or a label selector; the field named by `type` must be there."""

    type: Literal["server", "label_selector"]
    server: ServerId | None = None
    label_selector: LabelSelectorBody | None = None

    @model_validator(mode="after")
    def _check_type(self) -> FirewallResource:
        if getattr(self, self.type) is None:
            raise ValueError(f"type {self.type} requires the field {self.type}")
        return self


class CreateFirewall(RequestBody):
    """POST /firewalls."""

    name: Name
    labels: LabelMap = {}
    rules: Annotated[list[RuleBody], Field(max_length=RULES_LIMIT)] | None = None
    apply_to: list[FirewallResource] | None = None


class SetRules(RequestBody):
    """The rules that replace all former ones."""

    rules: Annotated[list[RuleBody], Field(max_length=RULES_LIMIT)] | None = None


class ApplyToResources(RequestBody):
    """What to apply a firewall to."""

    apply_to: Annotated[list[FirewallResource], Field(min_length=1)]


class RemoveFromResources(RequestBody):
    """What to remove a firewall from."""

    remove_from: Annotated[list[FirewallResource], Field(min_length=1)]


class FirewallReference(RequestBody):
    """A firewall named by its ID."""

    firewall: int


class PublicNet(RequestBody):
    """Which public addresses a new server gets."""

    enable_ipv4: bool = True
    enable_ipv6: bool = True
    ipv4: int | None = None
    ipv6: int | None = None


class CreateServer(RequestBody):
    """POST /servers. `datacenter` and volumes are refused, as the one is gone from the API and the others are not in
    the lab.
    """

    name: HostName
    server_type: IdOrName
    image: IdOrName
    location: IdOrName | None = None
    datacenter: None = None
    ssh_keys: list[int | str] | None = None
    volumes: Annotated[list[int], Field(max_length=0)] | None = None
    networks: list[int] | None = None
    firewalls: list[FirewallReference] | None = None
    placement_group: int | None = None
    public_net: PublicNet | None = None
    user_data: UserData | None = None
    labels: LabelMap | None = None
    start_after_create: bool = True


class AttachToNetwork(RequestBody):
    """The network, and the wanted address if any."""

    network: int
    ip: Address | None = None
    alias_ips: list[Address] | None = None
    ip_range: PrivateNetwork | None = None


class DetachFromNetwork(RequestBody):
    """The network to leave."""

    network: int


class ChangeAliasIps(RequestBody):
    """The alias IPs that replace all former ones."""

    network: int
    alias_ips: list[Address]


class ChangeServerProtection(RequestBody):
    """The API wants both with the same value."""

    delete: bool | None = None
    rebuild: bool | None = None

    @model_validator(mode="after")
    def _check_same(self) -> ChangeServerProtection:
        if self.delete != self.rebuild:
            raise ValueError("delete and rebuild must have the same value")
        return self


class ChangeProtection(RequestBody):
    """Protection against deletion."""

    delete: bool | None = None


class AddToPlacementGroup(RequestBody):
    """The group to join."""

    placement_group: int


class ChangeType(RequestBody):
    """The server type to change to."""

    server_type: IdOrName
    upgrade_disk: bool


class RebuildServer(RequestBody):
    """The image, and what its first boot does."""

    image: IdOrName
    user_data: UserData | None = None


class ChangeDnsPointer(RequestBody):
    """The name of an address; null takes it away."""

    ip: Address
    dns_ptr: str | None


class CreatePrimaryIp(RequestBody):
    """POST /primary_ips."""

    name: Name
    type: Literal["ipv4", "ipv6"]
    assignee_type: Literal["server"] = "server"
    assignee_id: int | None = None
    location: IdOrName | None = None
    datacenter: None = None
    auto_delete: bool = False
    labels: LabelMap | None = None


class AssignPrimaryIp(RequestBody):
    """The server that gets the address."""

    assignee_id: int
    assignee_type: Literal["server"] = "server"


def parse(model: type[Body], data: Mapping[str, Any]) -> Body:
    """Return the typed body; raise ApiError `invalid_input` with every faulty field."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        fields: dict[str, list[str]] = {}
        for problem in error.errors(include_url=False, include_input=False):
            name = ".".join(str(part) for part in problem["loc"] if part not in ("int", "str")) or "body"
            message = str(problem["msg"]).removeprefix("Value error, ")
            fields.setdefault(name, []).append(message)
        raise errors.invalid_input(fields) from error
