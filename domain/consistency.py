"""All rules between the settings of one stack, by theme: one module a theme, one named function a rule.

It owns the list of what has to fit together; single values are ``domain/values/``'s. Every rule works on a draft, so
one wrong value hides no other mistake: where a part that a rule needs was refused, the rule is silent.
"""

from __future__ import annotations

from typing import Final

from domain.address_rules import cluster_dns_in_services, pods_for_every_node
from domain.agent_rules import agent_environment_allowed
from domain.cilium_rules import CILIUM_RULES
from domain.k3s_flags import FLAG_RULES
from domain.k3s_rules import K3S_RULES
from domain.keeper_rules import KEEPER_RULES
from domain.mtu_rules import mtu_chain, netbird_in_underlay
from domain.peer_rules import peers_of_others
from domain.place_rules import k3s_where_installed, one_place, provider_only_at_its_place
from domain.places.place import Rule
from domain.places.registry import place_rules
from domain.plain_secrets import SECRET_RULES
from domain.problems import Problem
from domain.secret_rules import secrets_there
from domain.settings.draft import StackDraft
from domain.zone_rules import ZONE_RULES


def stack_problems(draft: StackDraft) -> list[Problem]:
    """Everything that does not fit within the stack, except for its ranges (:func:`range_problems`)."""
    return [problem for rule in stack_rules() for problem in rule(draft)]


def stack_rules() -> tuple[Rule, ...]:
    """All of them, in the order of the reference."""
    return (*_BEFORE_PLACES, *place_rules(), *_AFTER_PLACES)


_BEFORE_PLACES: Final[tuple[Rule, ...]] = (
    one_place,
    k3s_where_installed,
    provider_only_at_its_place,
    secrets_there,
    cluster_dns_in_services,
    pods_for_every_node,
)
_AFTER_PLACES: Final[tuple[Rule, ...]] = (
    mtu_chain,
    netbird_in_underlay,
    *K3S_RULES,
    *FLAG_RULES,
    *ZONE_RULES,
    *CILIUM_RULES,
    *KEEPER_RULES,
    agent_environment_allowed,
    *SECRET_RULES,
    peers_of_others,
)
