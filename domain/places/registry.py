"""The places where clusters stand, and the settings of a stack with all of them.

It owns the list, and what follows from it for the rest of the program, which knows no single place. Another place is a
module beside this one, entered in :data:`PLACES` and, for those who ask for its section by name, in
:class:`StackSettings`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network
from typing import Any, Final

from pydantic import create_model

from domain.places.existing import EXISTING
from domain.places.hetzner.model import HcloudSettings, HetznerSettings
from domain.places.hetzner.place import HETZNER
from domain.places.machines import MACHINES
from domain.places.on_premise.model import OnPremiseSettings
from domain.places.place import Place, Provider, Rule
from domain.problems import Problem
from domain.settings.draft import StackDraft, known
from domain.settings.secrets import CLUSTER_SECRET, NETBIRD_API_TOKEN, Secret
from domain.settings.stack import CommonSettings

PLACES: tuple[Place, ...] = (HETZNER, MACHINES, EXISTING)


class StackSettings(CommonSettings):
    """One stack file: one cluster. Exactly one of ``hetzner`` and ``on_premise`` says where it stands."""

    hetzner: HetznerSettings | None = None
    on_premise: OnPremiseSettings | None = None
    # model_construct, because a call of the class would build its checker.
    hcloud: HcloudSettings = HcloudSettings.model_construct()

    @property
    def place(self) -> Place:
        """Where the cluster stands."""
        found = next((place for place in PLACES if place.chosen(self)), None)
        if found is None:
            raise ValueError(f"{self.stack}: none of {', '.join(place_sections())} is set")
        return found

    @property
    def section(self) -> Any:
        """The settings of that place, an instance of its model."""
        return getattr(self, self.place.section)

    @property
    def installs_k3s(self) -> bool:
        """False for an existing cluster that is given by its kubeconfig."""
        return self.place.installs_k3s


_BEFORE_PLACES: Final = ("network", "peers")


def stack_model() -> type[StackSettings]:
    """The model of a stack file with the sections of all places."""
    return _stack_model(PLACES)


@functools.cache
def _stack_model(places: tuple[Place, ...]) -> type[StackSettings]:
    fields: dict[str, Any] = {place.section: (place.model | None, None) for place in places}
    for provider in (place.provider for place in places):
        if provider is not None:
            fields[provider.namespace] = (provider.model, provider.model.model_construct())
    further = {name: field for name, field in fields.items() if name not in StackSettings.model_fields}
    return create_model("StackSettings", __base__=StackSettings, **further) if further else StackSettings


def place_sections() -> tuple[str, ...]:
    """The names of the sections, of which a stack file has one."""
    return _place_sections(PLACES)


@functools.cache
def _place_sections(places: tuple[Place, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(place.section for place in places))


def sections() -> tuple[str, ...]:
    """The names behind ``isthmus:`` that hold plain settings, in the order of the reference."""
    return _sections(PLACES)


@functools.cache
def _sections(places: tuple[Place, ...]) -> tuple[str, ...]:
    common = [name for name in CommonSettings.model_fields if name not in ("stack", *_BEFORE_PLACES)]
    return (*_BEFORE_PLACES, *_place_sections(places), *common)


def providers() -> tuple[Provider, ...]:
    """Providers that take settings of their own."""
    return _providers(PLACES)


def namespaces() -> frozenset[str]:
    """Before the names of their settings."""
    return _namespaces(PLACES)


@functools.cache
def _namespaces(places: tuple[Place, ...]) -> frozenset[str]:
    return frozenset(provider.namespace for provider in _providers(places))


@functools.cache
def _providers(places: tuple[Place, ...]) -> tuple[Provider, ...]:
    return tuple(place.provider for place in places if place.provider is not None)


def secrets() -> dict[str, Secret]:
    """Every secret there is, by its key: ours, then the providers'."""
    return _secrets(PLACES)


@functools.cache
def _secrets(places: tuple[Place, ...]) -> dict[str, Secret]:
    found = [CLUSTER_SECRET, NETBIRD_API_TOKEN, *(secret for place in places for secret in place.secrets)]
    return {secret.key: secret for secret in sorted(found, key=lambda secret: not secret.key.startswith("isthmus:"))}


def hosts() -> dict[str, str]:
    """Hosts that the program has to do with because there are such places, and what each is."""
    return {host: what for place in PLACES for host, what in place.hosts.items()}


def place_rules() -> tuple[Rule, ...]:
    """The rules of all places."""
    return tuple(dict.fromkeys(rule for place in PLACES for rule in place.rules))


def problems_across(drafts: Mapping[str, StackDraft]) -> Iterator[Problem]:
    """What does not fit between stacks of one place."""
    for place in PLACES:
        yield from place.across(drafts)


# --- of settings that may be incomplete ------------------------------------------------------------------------------


def chosen_sections(settings: object) -> list[str]:
    """The sections of places that are there; one that was refused is there, too."""
    return [name for name in place_sections() if known(settings, name) is not None]


def places_of(draft: StackDraft) -> Iterator[Place]:
    """The places that the settings name: one, if nothing is wrong with them."""
    return (place for place in PLACES if place.chosen(draft.settings))


def access_unclear(draft: StackDraft) -> bool:
    """True where something hides whether the program installs k3s."""
    return any(place.unclear(draft.settings) for place in PLACES)


def place_unclear(draft: StackDraft) -> bool:
    """True where it is not clear which kind of stack this is."""
    return len(chosen_sections(draft.settings)) != 1 or access_unclear(draft)


def is_given(draft: StackDraft) -> bool:
    """True for an existing cluster, as far as one can tell."""
    return any(not place.installs_k3s for place in places_of(draft))


def on_lan(draft: StackDraft) -> bool:
    """Whether the machines are there before the cluster."""
    there = chosen_sections(draft.settings)
    return any(place.lan and place.section in there for place in PLACES)


def node_count(draft: StackDraft) -> int | None:
    """How many nodes the cluster has, None where that is unknown."""
    return next((count for place in PLACES if (count := place.node_count(draft.settings)) is not None), None)


def own_network_of(draft: StackDraft) -> str | None:
    """The setting of the network that holds the node CIDR, where the program makes one."""
    networks = (place.own_network for place in PLACES)
    return next(
        (network for network in networks if network and known(draft.settings, *network.split(".")) is not None), None
    )


def reserved() -> tuple[IPv4Network, ...]:
    """What places have on their machines; no range proposed holds it."""
    return tuple(network for place in PLACES for network in place.reserved)
