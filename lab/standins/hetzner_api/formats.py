"""The formats of single values in requests, as the API wants them: names, labels, networks, addresses, ports, keys."""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, Field

from lab.standins.hetzner_api import labels
from lab.standins.hetzner_api.labels import SelectorError

USER_DATA_LIMIT_BYTES = 32 * 1024
NAME_LIMIT_CHARACTERS = 128

_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?|any")
_LAST_PORT = 65535
_PRIVATE_RANGES = tuple(ipaddress.IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))


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


def fingerprint(key: str) -> str:
    """Return the MD5 fingerprint (`aa:bb:...`) of an OpenSSH public key; raise ValueError when it is none."""
    parts = key.split()
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
RouteDestination = Annotated[str, AfterValidator(_route_destination)]
PublicKey = Annotated[str, AfterValidator(_public_key)]
Port = Annotated[str, AfterValidator(_port)]
UserData = Annotated[str, AfterValidator(_user_data)]
