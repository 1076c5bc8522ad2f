"""Rules for what is reached, and how k3s is set up: addresses of services, ports, registries, k3s's own settings."""

from __future__ import annotations

import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StrictInt, StrictStr, WithJsonSchema

from domain.names import RELAY_PORT
from domain.values.patterns import pattern
from domain.values.rule_error import RuleError


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
    if isinstance(value, list | tuple) and all(isinstance(entry, str) for entry in value):
        return tuple(value)
    raise RuleError("is neither text, a whole number, true, false nor a list of texts", "write it like [max-pods=200]")


def switched_on(value: object) -> bool:
    """Whether k3s takes the value of a setting for yes (Go's strconv.ParseBool). Pure."""
    return str(value).lower() not in ("false", "0", "f")


Url = Annotated[StrictStr, AfterValidator(url), pattern(r"https?://[^\s?#]+")]
WireguardPort = Annotated[StrictInt, Field(ge=1024, le=65535), AfterValidator(wireguard_port)]
RegistryHost = Annotated[
    StrictStr, AfterValidator(registry_host), pattern(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?")
]
K3sConfig = dict[
    Annotated[StrictStr, AfterValidator(k3s_key), pattern(K3S_KEY.pattern)],
    Annotated[
        object,
        AfterValidator(k3s_value),
        WithJsonSchema({"type": ["string", "integer", "boolean", "array"], "items": {"type": "string"}}),
    ],
]
