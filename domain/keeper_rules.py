"""What has to fit for the keepers within a stack: their port, and how soon Cilium follows them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from domain.cilium_values import value_at
from domain.keeper_port import keepers_have_their_own
from domain.problems import Problem, shown
from domain.settings.draft import StackDraft, known

TRIGGER_INTERVAL: Final = "egressGateway.reconciliationTriggerInterval"
_DURATION: Final = re.compile(r"([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+", re.ASCII)
"""As Go reads one (https://pkg.go.dev/time#ParseDuration); without a unit Cilium takes it for nanoseconds."""


def keepers_port_is_free(draft: StackDraft) -> Iterator[Problem]:
    """The keepers, NetBird's WireGuard and Cilium's tunnel have a UDP port each, where there are keepers."""
    if known(draft.settings, "keeper", "enabled") is False:
        return
    others = {
        name: known(draft.settings, *name.split(".")) for name in ("netbird.wireguard_port", "cilium.tunnel_port")
    }
    yield from keepers_have_their_own(draft.stack, known(draft.settings, "keeper", "port"), others)


def egress_policies_are_followed(draft: StackDraft) -> Iterator[Problem]:
    """How often Cilium looks at the egress policies is a duration: the agent does not start with anything else."""
    given, value = value_at(known(draft.settings, "cilium", "values") or {}, TRIGGER_INTERVAL)
    if given and not (isinstance(value, str) and _DURATION.fullmatch(value)):
        setting = f"cilium.values.{TRIGGER_INTERVAL}"
        yield Problem(draft.stack, setting, shown(value), "is not a duration", "write it like 100ms")


KEEPER_RULES: Final = (keepers_port_is_free, egress_policies_are_followed)
