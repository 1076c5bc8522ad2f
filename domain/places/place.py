"""What the program has to know of a place where clusters stand: one :class:`Place` for each, made by its own module.

It owns the shape. The places themselves are in the modules beside it, and ``registry.py`` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any

from domain.nodes import Node
from domain.problems import Problem
from domain.settings.draft import StackDraft
from domain.settings.secrets import Secret
from domain.settings.section import Section
from domain.settings.stack import CommonSettings

Rule = Callable[[StackDraft], Iterator[Problem]]
Outputs = Mapping[str, Any]


@dataclass(frozen=True)
class NodeNetwork:
    """The network between the nodes, where it takes less than Ethernet does: its MTU in bytes, and whose it is."""

    mtu: int
    whose: str


@dataclass(frozen=True)
class Provider:
    """A provider of Pulumi that takes settings of its own, under its own namespace."""

    namespace: str
    model: type[Section]
    title: str
    """Heading in the reference."""
    addresses: tuple[str, ...] = ()
    """Which of them are addresses that the program asks."""


@dataclass(frozen=True)
class StarterText:
    """What a new stack file at a place says. ``text`` makes the section of the ranges (setting -> range), the stack's
    name and a location; ``secret`` is the comment with the command that sets the place's own secret.
    """

    text: Callable[[str, Mapping[str, IPv4Network], str], str]
    secret: Callable[[str], str]
    where: str
    nodes: str
    """Comment at ``network.node_cidr``."""
    nodes_example: str = ""
    """Of it, where the program can't choose it."""
    location: tuple[str, Callable[[str], str]] | None = None
    """The setting that a location goes to, and its rule."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """One kind of place. ``section`` is the name of its settings in a stack file, ``model`` their form; two places may
    share them. Functions that take a section get an instance of ``model``.
    """

    name: str
    """How the output ``raised_with`` calls it."""
    section: str
    model: type[Section]
    chosen: Callable[[object], bool]
    """Whether settings, complete or not, say that the cluster stands here."""
    nodes: Callable[[CommonSettings, Any], tuple[Node, ...]]
    node_count: Callable[[object], int | None]
    """How many nodes settings, complete or not, make; None where that is unknown."""
    said: Callable[[Any], str]
    """Where the cluster stands, in a few words."""
    elsewhere: str = ""
    """Why settings of its provider have no effect in another place."""
    rules: tuple[Rule, ...] = ()
    across: Callable[[Mapping[str, StackDraft]], Iterator[Problem]] = lambda drafts: iter(())
    """What does not fit between the stacks of this place."""
    names_once: bool = False
    """Whether no two machines have one name, be they of two stacks: the program makes them where a name is there
    once."""
    unclear: Callable[[object], bool] = lambda settings: False
    """Whether something hides which of the places of this section is meant."""
    installs_k3s: bool = True
    lan: bool = False
    """Whether the machines and their network are there before the cluster."""
    node_network: NodeNetwork | None = None
    own_network: str | None = None
    """The setting of a network that the program makes and that holds ``network.node_cidr``."""
    reserved: tuple[IPv4Network, ...] = ()
    """What the place itself has on every machine; no range proposed holds it."""
    hosts: Mapping[str, str] = field(default_factory=dict)
    """Hosts that the program has to do with because of this place, and what each is."""
    secrets: tuple[Secret, ...] = ()
    secret_fault: Callable[[Secret, str], str | None] = lambda secret, value: None
    """What is wrong with the form of one of those secrets."""
    provider: Provider | None = None
    fixed: Callable[[Any], Mapping[str, object]] = lambda section: {}
    """What a cluster that runs can't leave, for the output ``raised_with``."""
    fixed_because: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Setting and reason for each of them."""
    taken_otherwise: Callable[[str, str], Problem | None] = lambda stack, before: None
    """Why a cluster that was raised in the place of that name is not taken over here; both have the same section."""
    changes: Callable[[Outputs, CommonSettings, Any], Iterator[Problem]] = lambda outputs, settings, section: iter(())
    """What can't be changed while the cluster runs, beyond what is fixed; outputs are those of its last update."""
    generation_at: Callable[[Any, str], str | None] = lambda section, name: None
    """The setting of a node's generation, None where nodes have none."""
    access: Callable[[Any], Mapping[str, tuple[IPv4Network, ...]] | None] = lambda section: None
    """Who may reach ``api`` and ``ssh`` by the firewall that the program makes; None where the site has its own."""
    starter: StarterText | None = None
