"""Rules for the DNS servers that answer for a forwarded zone: how one is written, and which may stand together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from domain.values.addresses import address
from domain.values.patterns import LABEL_PATTERN, pattern
from domain.values.rule_error import RuleError

TLS: Final = "tls://"
FORWARD_SERVERS_LIMIT: Final = 15
"""CoreDNS takes no more in a ``forward``."""
PORT_MAXIMUM: Final = 65535


@dataclass(frozen=True)
class Forwarder:
    """A DNS server. ``port`` is None for the usual one: 53, and 853 over TLS. ``server_name`` is the name for which its
    certificate has to be, None for a server that is asked without TLS.
    """

    address: IPv4Address
    port: int | None = None
    server_name: str | None = None

    @property
    def upstream(self) -> str:
        """As CoreDNS's ``forward`` takes it; the name stands beside it there."""
        port = "" if self.port is None else f":{self.port}"
        return f"{'' if self.server_name is None else TLS}{self.address}{port}"

    def __str__(self) -> str:
        return self.upstream if self.server_name is None else f"{self.upstream}#{self.server_name}"


def forwarder(value: object) -> Forwarder:
    """``ADDRESS`` or ``ADDRESS:PORT`` of a DNS server, or over TLS ``tls://ADDRESS#NAME`` or
    ``tls://ADDRESS:PORT#NAME``, with the name for which the server's certificate is.
    """
    if isinstance(value, Forwarder):
        return value
    if not isinstance(value, str):
        raise RuleError("is not text; the IPv4 address of a DNS server is expected")
    scheme, separator, rest = value.rpartition("://")
    if separator and scheme + separator != TLS:
        rule = f"begins with another scheme than {TLS}; DNS servers are asked over TLS or as they are"
        raise RuleError(rule, hide_value="@" in value)
    place, hash_sign, name = rest.partition("#")
    if not separator and re.fullmatch(r"[0-9]{1,5}", name, re.ASCII):
        raise RuleError("has its port behind #, as dnsmasq writes it", f"write {place}:{name}")
    if not separator and hash_sign:
        raise RuleError("names a certificate, which only servers over TLS show", f"put {TLS} before it")
    if separator and not _NAME.fullmatch(name):
        rule = "does not end in # and the lower-case DNS name for which the server's certificate is"
        raise RuleError(rule, "write it like tls://9.9.9.9#dns.quad9.net")
    found = _WITH_PORT.fullmatch(place)
    host, port = (place, None) if found is None else (found[1].strip("[]"), found[2])
    parsed = address(host)
    if port is not None and (not re.fullmatch(r"[1-9][0-9]{0,4}", port, re.ASCII) or int(port) > PORT_MAXIMUM):
        raise RuleError(f"has no port from 1 to {PORT_MAXIMUM} behind the colon")
    return Forwarder(parsed, None if port is None else int(port), name if separator else None)


_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z)(?=.*[a-z]){LABEL_PATTERN}(\.{LABEL_PATTERN})*", re.ASCII)
_WITH_PORT: Final = re.compile(r"([^:\[\]]*|\[[0-9A-Fa-f:.]*\]):([^:]*)", re.ASCII)
"""One colon; an IPv6 address has more, which stand in brackets before a port."""


def few_servers(value: object) -> object:
    """At most 15 servers."""
    if isinstance(value, list | tuple) and len(value) > FORWARD_SERVERS_LIMIT:
        rule = f"has {len(value)} entries; at most {FORWARD_SERVERS_LIMIT} are possible"
        raise RuleError(rule, "write fewer", hide_value=True)
    return value


def all_alike(servers: tuple[Forwarder, ...]) -> tuple[Forwarder, ...]:
    """The servers of a zone are all asked over TLS, under one name, or all without."""
    names = list(dict.fromkeys(server.server_name for server in servers))
    if len(names) > 1 and None in names:
        rule = "has servers over TLS and others; CoreDNS asks any of them, and some names would go unencrypted"
        raise RuleError(rule, f"write all of them with {TLS}, or none", hide_value=True)
    if len(names) > 1:
        rule = f"has servers with certificates for {' and '.join(map(str, names))}; CoreDNS takes one name for a zone"
        raise RuleError(rule, "keep the servers of one name", hide_value=True)
    return servers


_IPV4: Final = r"([0-9]{1,3}\.){3}[0-9]{1,3}(:[0-9]{1,5})?"
ForwardServers = Annotated[
    tuple[
        Annotated[
            Forwarder,
            BeforeValidator(forwarder),
            PlainSerializer(str, return_type=str),
            pattern(rf"{_IPV4}|{TLS}{_IPV4}#{LABEL_PATTERN}(\.{LABEL_PATTERN})*"),
        ],
        ...,
    ],
    Field(min_length=1, max_length=FORWARD_SERVERS_LIMIT),
    BeforeValidator(few_servers),
    AfterValidator(all_alike),
]
