"""Rules for single values: one named function a rule, one message a function, and the types that the models are made
of.

A rule takes the value and returns it, typed, or raises :class:`RuleError`. Numbers in messages come from the
constants that are checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, StrictStr, WithJsonSchema

from domain.names import NETBIRD_RANGE, RELAY_PORT
from domain.ranges import PRIVATE_RANGES

T = TypeVar("T")


class RuleError(ValueError):
    """A value that breaks a rule. ``rule`` reads on from the value; ``fix`` says what to write, None where the
    example of the setting says it best. Neither shows a secret.
    """

    def __init__(self, rule: str, fix: str | None = None, *, hide_value: bool = False) -> None:
        super().__init__(rule)
        self.rule = rule
        self.fix = fix
        self.hide_value = hide_value


# --- addresses -------------------------------------------------------------------------------------------------------

_UNUSABLE: Final = {
    IPv4Network("0.0.0.0/8"): "the range of 'this network'",
    IPv4Network("127.0.0.0/8"): "the loopback range",
    IPv4Network("169.254.0.0/16"): "the link-local range, where metadata services answer",
    IPv4Network("224.0.0.0/4"): "the multicast range",
    IPv4Network("240.0.0.0/4"): "a reserved range",
}
_UNUSABLE_ENDS: Final = tuple(
    (int(network.network_address), int(network.broadcast_address), network, meaning)
    for network, meaning in _UNUSABLE.items()
)
"""With their ends as numbers: IPv4Network.overlaps makes up to eight comparisons of objects for each."""


def cidr(value: object) -> IPv4Network:
    """An IPv4 network as text, such as 10.42.0.0/16, without host bits."""
    if isinstance(value, IPv4Network):
        return value
    if not isinstance(value, str):
        raise RuleError("is not text; an IPv4 network is expected")
    if re.fullmatch(r"([0-9]{1,3}\.){3}[0-9]{1,3}", value, re.ASCII):
        raise RuleError("has no prefix length", "add one; /32 stands for a single address")
    if not re.fullmatch(r"[0-9A-Fa-f.:]{1,45}/[0-9]{1,3}", value, re.ASCII):
        raise RuleError("is not an IPv4 network with a prefix length")
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        raise RuleError("is not an IPv4 network with a prefix length") from None
    if not isinstance(network, IPv4Network):
        raise RuleError("is IPv6; clusters and links are IPv4 only")
    if str(network) != value:
        raise RuleError("has host bits set; a CIDR names the network itself", f"write {network}")
    return network


def usable_range(network: IPv4Network) -> IPv4Network:
    """Not in a range that means something else to every machine."""
    first, last = int(network.network_address), int(network.broadcast_address)
    for unusable_first, unusable_last, unusable, meaning in _UNUSABLE_ENDS:
        if first <= unusable_last and unusable_first <= last:
            raise RuleError(f"touches {unusable}, {meaning}", "take a private range such as 10.42.0.0/16")
    return network


_PRIVATE_OR_NETBIRD: Final = (*PRIVATE_RANGES, NETBIRD_RANGE)


def private_range(network: IPv4Network) -> IPv4Network:
    """Inside RFC 1918 or NetBird's range, which the fleet check refuses with a better reason; else the Internet's
    addresses in it can't be reached from the cluster.
    """
    if any(network.subnet_of(private) for private in _PRIVATE_OR_NETBIRD):
        return network
    raise RuleError(
        "is not private; hosts of the Internet in it could not be reached any more",
        f"take a range inside {', '.join(map(str, PRIVATE_RANGES))}",
    )


def prefix_length(minimum: int, maximum: int, reason: str) -> Callable[[IPv4Network], IPv4Network]:
    """A rule on the size: from ``/minimum`` (large) to ``/maximum`` (small)."""

    def size(network: IPv4Network) -> IPv4Network:
        if minimum <= network.prefixlen <= maximum:
            return network
        nearest = min(max(network.prefixlen, minimum), maximum)
        raise RuleError(
            f"is a /{network.prefixlen}; from /{minimum} to /{maximum} is possible: {reason}",
            f"take a /{nearest}",
        )

    size.__doc__ = f"From /{minimum} to /{maximum}: {reason}."
    return size


def address(value: object) -> IPv4Address:
    """An IPv4 address as text, such as 192.168.7.11."""
    if isinstance(value, IPv4Address):
        return value
    if not isinstance(value, str):
        raise RuleError("is not text; an IPv4 address is expected")
    try:
        if len(value) > 45:
            raise ValueError
        parsed = ip_address(value)
    except ValueError:
        raise RuleError("is not an IPv4 address") from None
    if not isinstance(parsed, IPv4Address):
        raise RuleError("is IPv6; clusters and links are IPv4 only")
    return parsed


# --- names -----------------------------------------------------------------------------------------------------------

_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
STACK_NAME_LIMIT: Final = 30
"""Characters of a stack name: names of Kubernetes and NetBird objects are made from it and have to stay below 63."""


NODE_NAME_LIMIT: Final = 63
"""Characters of a Node's name with all its dots: the kubelet puts it into the label kubernetes.io/hostname as well."""


def node_name(value: str) -> str:
    """What a Node may be called: one DNS label or several with dots between, as of machines that are called by their
    full names.
    """
    if len(value) > NODE_NAME_LIMIT or not all(_LABEL.fullmatch(label) for label in value.split(".")):
        raise RuleError(
            "is not a name of lower-case letters, digits, hyphens and dots between them with at most "
            f"{NODE_NAME_LIMIT} characters"
        )
    return value


def stack_name(value: str) -> str:
    """A stack name: a DNS label that starts with a letter, short enough for the names that are made from it."""
    if not _LABEL.fullmatch(value) or not value[0].isalpha() or len(value) > STACK_NAME_LIMIT:
        raise RuleError(
            "is not a stack name of lower-case letters, digits and hyphens, a letter first, "
            f"with at most {STACK_NAME_LIMIT} characters",
        )
    return value


def dns_zone(value: str) -> str:
    """A DNS name of two labels or more, lower case, without a trailing dot, that is not a zone of Kubernetes itself."""
    labels = value.split(".")
    if len(value) > 200 or len(labels) < 2 or not all(_LABEL.fullmatch(label) for label in labels):
        raise RuleError("is not a DNS zone of two or more lower-case labels without a trailing dot")
    if f".{value}".endswith((".cluster.local", ".in-addr.arpa", ".ip6.arpa")):
        raise RuleError("is a zone that CoreDNS serves for the cluster itself", "take another one, like de.internal")
    if labels[-1] == "arpa" and labels[-2] != "home":
        rule = "is in arpa, where the Internet keeps its own; only home.arpa there is for networks of one's own"
        raise RuleError(rule, "take another one, like de.home.arpa or de.internal")
    return value


def user_name(value: str) -> str:
    """A Unix user name."""
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", value, re.ASCII):
        raise RuleError("is not a user name")
    return value


def server_image(value: object) -> object:
    """An image's id may stand there as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**12 else value


PROVIDER_WORD: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)


def provider_word(value: str) -> str:
    """A name of the provider's catalogue: location, network zone, server type, image."""
    if not PROVIDER_WORD.fullmatch(value):
        lower = value.lower()
        fix = f"write {lower}" if PROVIDER_WORD.fullmatch(lower) else "take it from Hetzner's list"
        raise RuleError("is not a name of lower-case letters, digits, dots and hyphens", fix)
    return value


# --- versions, images, addresses of services -------------------------------------------------------------------------

K3S_MINIMUM_MINOR: Final = 34
"""Kubernetes 1.34: what this program is tried with. Much older k3s ships a CoreDNS without the options that we set."""


def k3s_version(value: str) -> str:
    """A k3s release as its tag says it."""
    found = re.fullmatch(r"v1\.([0-9]{1,3})\.[0-9]{1,3}(-rc[0-9]{1,3})?\+k3s[0-9]{1,3}", value, re.ASCII)
    if not found:
        raise RuleError("is not the tag of a k3s release")
    if int(found[1]) < K3S_MINIMUM_MINOR:
        raise RuleError(
            f"is older than v1.{K3S_MINIMUM_MINOR}, whose CoreDNS knows the options of our zones",
            f"take a release of v1.{K3S_MINIMUM_MINOR} or later",
        )
    return value


def sha256_hex(value: str) -> str:
    """A SHA-256 checksum, 64 lower-case hexadecimal digits."""
    if not re.fullmatch(r"[0-9a-f]{64}", value, re.ASCII):
        raise RuleError(
            "is not a SHA-256 checksum of 64 lower-case hexadecimal digits",
            "copy that of `k3s` from sha256sum-amd64.txt of the release",
        )
    return value


CILIUM_MINOR: Final = "1.19"
"""1.20 pins the interface index of wt0, which changes whenever the NetBird agent starts; not tried with it."""


def cilium_version(value: str) -> str:
    """A release of Cilium that the link was tried with."""
    if not re.fullmatch(r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}", value, re.ASCII):
        raise RuleError("is not a version of Cilium's chart")
    if not value.startswith(f"{CILIUM_MINOR}."):
        raise RuleError(f"is not of {CILIUM_MINOR}, the only one the link was tried with", f"take a {CILIUM_MINOR}.x")
    return value


def chart_version(value: str) -> str:
    """A semantic version without a leading v."""
    if not re.fullmatch(r"[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}(-[0-9A-Za-z.-]{1,40})?", value, re.ASCII):
        raise RuleError("is not a chart version")
    return value


def image(value: str) -> str:
    """A container image with a tag, a digest or both; without one, nobody knows what runs."""
    name = r"[a-z0-9]([a-z0-9._:-]{0,100}[a-z0-9])?(/[a-z0-9]([a-z0-9._-]{0,100}[a-z0-9])?){0,5}"
    tag, digest = r":[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", r"@sha256:[0-9a-f]{64}"
    if not re.fullmatch(rf"{name}({tag}({digest})?|{digest})", value, re.ASCII):
        raise RuleError("is not an image with a tag")
    return value


def version_of_image(value: str) -> tuple[int, int, int] | None:
    """The version that the tag of an image tells, None where it tells none."""
    tag = r":v?([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})([-_.][A-Za-z0-9_.-]*)?(@sha256:[0-9a-f]{64})?$"
    found = re.search(tag, value, re.ASCII)
    return None if found is None else (int(found[1]), int(found[2]), int(found[3]))


RELAY_MINIMUM: Final = (1, 14, 5)
"""The relay's Corefile uses forward's read_timeout, which is of CoreDNS 1.14.5."""


def relay_image(value: str) -> str:
    """CoreDNS in a version that knows every option of the relay's Corefile, where the tag tells the version."""
    found = version_of_image(value)
    if found is not None and found < RELAY_MINIMUM:
        minimum = ".".join(map(str, RELAY_MINIMUM))
        raise RuleError(
            f"is older than CoreDNS {minimum}, which knows the options of the relay", f"take {minimum} or later"
        )
    return value


def url(value: str) -> str:
    """An http or https address without user, password, query or fragment; a trailing slash is dropped."""
    # Where a part is missing, any other may be taken for something else; so it is the characters that count.
    secret = not value.isascii() or any(sign in value for sign in "@?#")
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise RuleError("is not an http or https address", hide_value=secret) from None
    if parts.username is not None or parts.password is not None:
        raise RuleError("holds a user name or password, which would show in plain text", hide_value=True)
    if len(value) > 500 or parts.scheme not in ("http", "https") or not host or not value.isascii():
        raise RuleError("is not an http or https address", hide_value=secret)
    if not re.fullmatch(r"[A-Za-z0-9.-]+|[0-9A-Fa-f:]+", host) or re.search(r"[\s\"'`$\\<>|;&(){}]", value):
        raise RuleError("is not an http or https address", hide_value=secret)
    if parts.query or parts.fragment:
        raise RuleError("has a query or a fragment", hide_value=True)
    return value.rstrip("/")


RESERVED_PORTS: Final = {
    RELAY_PORT: "the DNS relay listens on the router",
    51871: "Cilium has its own WireGuard",
}
"""UDP ports of the router that are taken, with what has each of them."""


def wireguard_port(value: int) -> int:
    """None of the UDP ports that are taken on the router."""
    if value in RESERVED_PORTS:
        raise RuleError(f"is the port where {RESERVED_PORTS[value]}", "take 51820 or another one that is free")
    return value


wireguard_port.__doc__ = f"None of the UDP ports that are taken on the router: {', '.join(map(str, RESERVED_PORTS))}."


def registry_host(value: str) -> str:
    """The name of a registry as images name it, with a port where it has one."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,200}[a-z0-9])?(:[0-9]{1,5})?", value, re.ASCII):
        raise RuleError("is not the name of an image registry", "write it like docker.io", hide_value="@" in value)
    return value


K3S_KEY: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
"""How a setting of k3s's config file is spelled."""


def k3s_key(value: str) -> str:
    """The name of a setting of k3s's config file: that of the flag, in full."""
    if len(value) < 2 or len(value) > 60 or not K3S_KEY.fullmatch(value):
        raise RuleError("is not the name of a setting of k3s", "write it like kubelet-arg")
    return value


def k3s_value(value: object) -> object:
    """Text, a number, true or false, or a list of texts."""
    if isinstance(value, str | bool | int):
        return value
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return tuple(value)
    raise RuleError("is neither text, a whole number, true, false nor a list of texts", "write it like [max-pods=200]")


FORWARD_SERVERS_LIMIT: Final = 15
"""CoreDNS takes no more in a ``forward``."""


def few_servers(value: object) -> object:
    """At most 15 servers."""
    if isinstance(value, list | tuple) and len(value) > FORWARD_SERVERS_LIMIT:
        rule = f"has {len(value)} entries; at most {FORWARD_SERVERS_LIMIT} are possible"
        raise RuleError(rule, "write fewer", hide_value=True)
    return value


def foreign_zone(value: str) -> str:
    """A zone that is not of Kubernetes; arpa zones are possible, for names of addresses."""
    labels = value.split(".")
    if len(value) > 200 or not all(
        re.fullmatch(r"_?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", one, re.ASCII) for one in labels
    ):
        raise RuleError(
            "is not a DNS zone of lower-case labels without a trailing dot", "write it like corp.example.com"
        )
    if value == "cluster.local" or value.endswith(".cluster.local"):
        raise RuleError("is a zone that CoreDNS serves for the cluster itself", "remove it")
    return value


# --- ready-made types ------------------------------------------------------------------------------------------------

_AS_TEXT: Final = PlainSerializer(str, return_type=str)
_CIDR_SCHEMA: Final = WithJsonSchema(
    {"type": "string", "pattern": r"^(\d{1,3}\.){3}\d{1,3}/\d{1,2}$", "examples": ["10.42.0.0/16"]}
)
_ADDRESS_SCHEMA: Final = WithJsonSchema({"type": "string", "format": "ipv4"})

_LABEL_PATTERN: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"


def _pattern(pattern: str) -> WithJsonSchema:
    """For editors; the rule itself says more than its form."""
    return WithJsonSchema({"type": "string", "pattern": f"^({pattern})$"})


Cidr = Annotated[IPv4Network, BeforeValidator(cidr), _AS_TEXT, _CIDR_SCHEMA]
"""Any IPv4 network, for example who may reach the API."""
NodeRange = Annotated[Cidr, AfterValidator(usable_range)]
HostAddress = Annotated[IPv4Address, BeforeValidator(address), _AS_TEXT, _ADDRESS_SCHEMA]
NodeName = Annotated[StrictStr, AfterValidator(node_name), _pattern(rf"{_LABEL_PATTERN}(\.{_LABEL_PATTERN})*")]
StackName = Annotated[StrictStr, AfterValidator(stack_name), _pattern(r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?")]
DnsZone = Annotated[StrictStr, AfterValidator(dns_zone), _pattern(rf"{_LABEL_PATTERN}(\.{_LABEL_PATTERN})+")]
UserName = Annotated[StrictStr, AfterValidator(user_name), _pattern(r"[a-z_][a-z0-9_-]{0,31}")]
ProviderWord = Annotated[StrictStr, AfterValidator(provider_word), _pattern(r"[a-z0-9][a-z0-9._-]{0,62}")]
ServerImage = Annotated[
    StrictStr,
    BeforeValidator(server_image),
    AfterValidator(provider_word),
    WithJsonSchema({"type": ["string", "integer"]}),
]
K3sVersion = Annotated[
    StrictStr, AfterValidator(k3s_version), _pattern(r"v1\.[0-9]{1,3}\.[0-9]{1,3}(-rc[0-9]{1,3})?\+k3s[0-9]{1,3}")
]
Sha256 = Annotated[StrictStr, AfterValidator(sha256_hex), _pattern(r"[0-9a-f]{64}")]
CiliumVersion = Annotated[
    StrictStr, AfterValidator(cilium_version), _pattern(rf"{CILIUM_MINOR.replace('.', '[.]')}[.][0-9]{{1,3}}")
]
ChartVersion = Annotated[StrictStr, AfterValidator(chart_version), _pattern(r"[0-9]{1,4}(\.[0-9]{1,4}){2}(-.+)?")]
Image = Annotated[StrictStr, AfterValidator(image), _pattern(r"[a-z0-9].*[:@].+")]
RelayImage = Annotated[StrictStr, AfterValidator(image), AfterValidator(relay_image), _pattern(r"[a-z0-9].*[:@].+")]
Url = Annotated[StrictStr, AfterValidator(url), _pattern(r"https?://[^\s?#]+")]
RegistryHost = Annotated[
    StrictStr, AfterValidator(registry_host), _pattern(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?")
]
K3sConfig = dict[
    Annotated[StrictStr, AfterValidator(k3s_key), _pattern(K3S_KEY.pattern)],
    Annotated[
        object,
        AfterValidator(k3s_value),
        WithJsonSchema({"type": ["string", "integer", "boolean", "array"], "items": {"type": "string"}}),
    ],
]
ForwardZones = dict[
    Annotated[StrictStr, AfterValidator(foreign_zone)],
    Annotated[
        tuple[HostAddress, ...], Field(min_length=1, max_length=FORWARD_SERVERS_LIMIT), BeforeValidator(few_servers)
    ],
]


def cause_of(error: Any) -> RuleError | None:
    """The broken rule behind one entry of a pydantic ``ValidationError.errors()``, None for pydantic's own checks."""
    cause = error.get("ctx", {}).get("error")
    return cause if isinstance(cause, RuleError) else None


def without_followers(errors: Sequence[Any]) -> list[Any]:
    """Errors of pydantic without "too short" for a list that is short only because its entries were refused."""
    places = {error["loc"][:length] for error in errors for length in range(len(error["loc"]))}
    return [error for error in errors if error["type"] != "too_short" or error["loc"] not in places]
