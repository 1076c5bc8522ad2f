"""Rules for single settings of ``netbird``: the server's address, versions that the router's settings know, names of
the agent's environment.

It owns which versions those are. NetBird's objects are ``netbird.py``'s.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, StrictStr, WithJsonSchema

from domain.overlay import NETBIRD_RANGE
from domain.values.releases import ChartVersion, Image, version_of_image
from domain.values.rule_error import RuleError
from domain.values.services import Url

CLOUD: Final = "https://api.netbird.io"
"""NetBird's own management service."""
NOT_MANAGEMENT: Final = {
    "app.netbird.io": "NetBird's dashboard",
    "netbird.io": "NetBird's web site",
    "www.netbird.io": "NetBird's web site",
    "docs.netbird.io": "NetBird's documentation",
    "login.netbird.io": "where people log in",
    "signal.netbird.io": "NetBird's signal service",
    "relay.netbird.io": "NetBird's relay",
    "stun.netbird.io": "NetBird's STUN service",
    "turn.netbird.io": "NetBird's TURN service",
    "pkgs.netbird.io": "where NetBird's packages lie",
}
"""Hosts of NetBird Cloud that people take for the management service."""


def management_url(value: str) -> str:
    """The address of NetBird's management service alone: no path, and of NetBird Cloud no other host than the API's."""
    parts = urlsplit(value)
    host = (parts.hostname or "").lower()
    if (what := NOT_MANAGEMENT.get(host)) is not None:
        raise RuleError(f"is {what}, not its management service", f"write {CLOUD}")
    if host == "api.netbird.io" and parts.scheme != "https":
        raise RuleError("would send the token in plain text", f"write {CLOUD}")
    if (what := _never_reached(host)) is not None:
        raise RuleError(f"is {what}, where no agent in a pod finds a server", f"write it like {CLOUD}")
    if parts.path.strip("/"):
        rule = "has a path; the program and the agents add theirs to the address of the server"
        raise RuleError(rule, f"write {parts.scheme}://{parts.netloc}")
    return value


_NOWHERE: Final = {
    IPv4Network("0.0.0.0/8"): "no address of a server",
    IPv4Network("169.254.0.0/16"): "a link-local address",
    IPv4Network("224.0.0.0/4"): "a multicast address",
    IPv4Network("240.0.0.0/4"): "a reserved address",
    NETBIRD_RANGE: "in NetBird's own range",
}
"""127.0.0.0/8 is not among them: a pod in its node's network finds what listens there."""


def _never_reached(host: str) -> str | None:
    """What a host is that agents can't reach, None for any other."""
    if host == "localhost" or host.endswith(".localhost"):
        return "the pod itself"
    if host == "cluster.local" or host.endswith(".cluster.local"):
        return "a service of one cluster alone"
    try:
        address = IPv4Address(host)
    except ValueError:
        return None
    return next((what for network, what in _NOWHERE.items() if address in network), None)


def same_server(address: str, other: str) -> bool:
    """Whether two addresses are of one server, however they are spelled."""
    return _normal(address) == _normal(other)


def _normal(address: str) -> tuple[str, str, int]:
    parts = urlsplit(address)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)


OPERATOR_MINOR: Final = "0.8"
"""The minor release of the operator whose pod the override of the router repeats, entry by entry."""


def operator_version(value: str) -> str:
    """A release of the operator whose pod the program knows."""
    if not re.fullmatch(rf"{re.escape(OPERATOR_MINOR)}\.[0-9]{{1,4}}", value, re.ASCII):
        raise RuleError(
            f"is not a release of {OPERATOR_MINOR}, the only one whose router pod is known to this program",
            f"take {OPERATOR_MINOR}.0",
        )
    return value


AGENT_MINIMUM: Final = (0, 75, 1)
"""Before, a connection that had gone to sleep came back without its routes (netbirdio/netbird#6250)."""
AGENT_NEWEST_MINOR: Final = (0, 77)
"""The newest minor release that the router's settings were tried with."""


_OTHER_PARTS: Final = ("management", "signal", "relay", "dashboard", "reverse-proxy", "netbird-server", "upload")
"""Images of NetBird's own that are no agent."""


def agent_image(value: str) -> str:
    """An agent of a release that the router's settings were tried with, where the tag tells the release."""
    name, _, tag = value.partition("@")[0].rpartition(":")
    if name.removeprefix("docker.io/").partition("/")[::2] in {("netbirdio", part) for part in _OTHER_PARTS}:
        raise RuleError("is no agent of NetBird but a part of its server", "take netbirdio/netbird")
    if "rootless" in tag:
        raise RuleError("is the agent without root, which makes no wt0", "take the tag without rootless")
    release = version_of_image(value)
    if release is None:
        return value
    newest = ".".join(map(str, AGENT_NEWEST_MINOR))
    if release < AGENT_MINIMUM:
        minimum = ".".join(map(str, AGENT_MINIMUM))
        raise RuleError(
            f"is older than NetBird {minimum}, before which a link that had slept lost its routes",
            f"take a release from {minimum} to {newest}",
        )
    if release[:2] > AGENT_NEWEST_MINOR:
        raise RuleError(
            f"is newer than NetBird {newest}, the last one that the router's settings were tried with",
            f"take a {newest}.x, or name what you have tried by its digest alone",
        )
    return value


PROXY_VARIABLES: Final = ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "grpc_proxy")
"""Variables that programs read in lower case as well, and some in lower case only."""
_ENVIRONMENT_NAME: Final = re.compile(rf"[A-Z][A-Z0-9_]{{0,99}}|{'|'.join(PROXY_VARIABLES)}", re.ASCII)


def environment_name(value: str) -> str:
    """The name of an environment variable: upper case, but for the proxy's."""
    if not _ENVIRONMENT_NAME.fullmatch(value):
        raise RuleError("is not the name of an environment variable", "write it like NB_RELAY_TRANSPORT")
    return value


ManagementUrl = Annotated[Url, AfterValidator(management_url)]
OperatorVersion = Annotated[ChartVersion, AfterValidator(operator_version)]
AgentImage = Annotated[Image, AfterValidator(agent_image)]
EnvironmentName = Annotated[
    StrictStr,
    AfterValidator(environment_name),
    WithJsonSchema({"type": "string", "pattern": f"^({_ENVIRONMENT_NAME.pattern})$"}),
]
