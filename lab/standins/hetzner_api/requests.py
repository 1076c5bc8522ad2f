"""Bodies of requests as typed models, and the translation of their faults into the API's `invalid_input`.

Types are strict (a number is not a text and the other way round); fields that the API does not know are ignored, as it
does.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from lab.standins.hetzner_api import errors, labels
from lab.standins.hetzner_api.labels import SelectorError

USER_DATA_LIMIT_BYTES = 32 * 1024
NAME_LIMIT_CHARACTERS = 128
RULES_LIMIT = 50
CIDRS_PER_RULE_LIMIT = 100

_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?|any")
_LAST_PORT = 65535
_PRIVATE_RANGES = tuple(ipaddress.IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))

Body = TypeVar("Body", bound="RequestBody")


def _labels(value: dict[str, str]) -> dict[str, str]:
    problems = labels.label_problems(value)
    if problems:
        raise ValueError("; ".join(problems))
    return value


def _selector(value: str) -> str:
    try:
        labels.parse_selector(value)
    except SelectorError as error:
        raise ValueError(str(error)) from error
    return value


def _host_name(value: str) -> str:
    if not _HOST_NAME.fullmatch(value):
        raise ValueError("must be a valid hostname")
    return value


def _ipv4_network(value: str) -> str:
    try:
        return str(ipaddress.IPv4Network(value))
    except ValueError as error:
        raise ValueError(f"is not an IPv4 range in CIDR notation: {error}") from error


def _private_network(value: str) -> str:
    network = ipaddress.IPv4Network(_ipv4_network(value))
    if not any(network.subnet_of(private) for private in _PRIVATE_RANGES):
        raise ValueError("must be one of the private IPv4 ranges of RFC1918")
    return str(network)


def _route_destination(value: str) -> str:
    return value if value == "0.0.0.0/0" else _private_network(value)


def _ipv4_address(value: str) -> str:
    try:
        return str(ipaddress.IPv4Address(value))
    except ValueError as error:
        raise ValueError("is not an IPv4 address") from error


def _firewall_cidr(value: str) -> str:
    if "/" not in value:
        raise ValueError(f"{value!r} must be in CIDR notation")
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise ValueError(f"{value!r} is not a network in CIDR notation: {error}") from error


def _port(value: str) -> str:
    match = _PORT.fullmatch(value)
    if match is None:
        raise ValueError("must be a port or a range of ports such as 1024-5000")
    first, last = int(match[1] or 1), int(match[2] or match[1] or _LAST_PORT)
    if not 1 <= first <= last <= _LAST_PORT:
        raise ValueError(f"must lie between 1 and {_LAST_PORT}, the lower port first")
    return value


def _user_data(value: str) -> str:
    if len(value.encode()) > USER_DATA_LIMIT_BYTES:
        raise ValueError(f"is too long, the limit is {USER_DATA_LIMIT_BYTES} bytes")
    return value


def _public_key(value: str) -> str:
    fingerprint(value)
    return value


def fingerprint(public_key: str) -> str:
    """Return the MD5 fingerprint (`aa:bb:...`) of an OpenSSH public key; raise ValueError when it is none."""
    parts = public_key.split()
    try:
        blob = base64.b64decode(parts[1], validate=True)
        length = int.from_bytes(blob[:4], "big")
        if blob[4 : 4 + length].decode("ascii") != parts[0] or length == 0:
            raise ValueError("type differs")
    except (IndexError, ValueError, binascii.Error) as error:
        raise ValueError("is not a valid OpenSSH public key") from error
    digest = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    return ":".join(digest[position : position + 2] for position in range(0, len(digest), 2))


Name = Annotated[str, Field(min_length=1, max_length=NAME_LIMIT_CHARACTERS)]
HostName = Annotated[str, AfterValidator(_host_name)]
LabelMap = Annotated[dict[str, str], AfterValidator(_labels)]
Selector = Annotated[str, AfterValidator(_selector)]
PrivateNetwork = Annotated[str, AfterValidator(_private_network)]
Address = Annotated[str, AfterValidator(_ipv4_address)]
FirewallCidr = Annotated[str, AfterValidator(_firewall_cidr)]
IdOrName = Annotated[int | str, Field()]


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
    public_key: Annotated[str, AfterValidator(_public_key)]
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

    destination: Annotated[str, AfterValidator(_route_destination)]
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
    port: Annotated[str, AfterValidator(_port)] | None = None
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
    user_data: Annotated[str, AfterValidator(_user_data)] | None = None
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
