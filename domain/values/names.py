"""Rules for names: of stacks, nodes, zones, users."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, StrictStr

from domain.values.forwarders import ForwardServers
from domain.values.patterns import LABEL_PATTERN, pattern
from domain.values.rule_error import RuleError

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


def foreign_zone(value: str) -> str:
    """A zone that is not of Kubernetes; arpa zones are possible, for names of addresses."""
    labels = value.split(".")
    if len(value) > 200 or not all(
        re.fullmatch(r"_?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", label, re.ASCII) for label in labels
    ):
        raise RuleError(
            "is not a DNS zone of lower-case labels without a trailing dot", "write it like corp.example.com"
        )
    if value == "cluster.local" or value.endswith(".cluster.local"):
        raise RuleError("is a zone that CoreDNS serves for the cluster itself", "remove it")
    return value


NodeName = Annotated[StrictStr, AfterValidator(node_name), pattern(rf"{LABEL_PATTERN}(\.{LABEL_PATTERN})*")]
StackName = Annotated[StrictStr, AfterValidator(stack_name), pattern(r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?")]
DnsZone = Annotated[StrictStr, AfterValidator(dns_zone), pattern(rf"{LABEL_PATTERN}(\.{LABEL_PATTERN})+")]
UserName = Annotated[StrictStr, AfterValidator(user_name), pattern(r"[a-z_][a-z0-9_-]{0,31}")]
ForwardZones = dict[Annotated[StrictStr, AfterValidator(foreign_zone)], ForwardServers]
