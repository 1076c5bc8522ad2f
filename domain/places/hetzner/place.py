"""Hetzner Cloud: servers, network and firewall that the program makes."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Final

from domain.places.hetzner.changes import FIXED, changes, fixed, generation_at
from domain.places.hetzner.model import HcloudSettings, HetznerSettings
from domain.places.hetzner.name_rules import names_apart
from domain.places.hetzner.nodes import HETZNER_PRIVATE_MTU, node_count, nodes
from domain.places.hetzner.rules import GATEWAY, HETZNER_RULES
from domain.places.hetzner.starter_text import secret_line, section_text
from domain.places.hetzner.words import provider_word
from domain.places.place import NodeNetwork, Place, Provider, StarterText
from domain.settings.draft import known
from domain.settings.secrets import Secret

HCLOUD_TOKEN: Final = Secret(
    "hcloud:token",
    "Hetzner's resources are made with it",
    "pulumi config set --secret hcloud:token -s {stack}",
)
HCLOUD_TOKEN_LENGTH: Final = 64
"""The Hetzner provider refuses any other."""


def _token_fault(secret: Secret, value: str) -> str | None:
    if len(value) == HCLOUD_TOKEN_LENGTH:
        return None
    return f"has {len(value)} characters; Hetzner's tokens have {HCLOUD_TOKEN_LENGTH}"


def _access(section: HetznerSettings) -> dict[str, tuple[IPv4Network, ...]]:
    return {"api": section.api_allowed_cidrs, "ssh": section.ssh_allowed_cidrs}


HETZNER: Final = Place(
    name="hetzner",
    section="hetzner",
    model=HetznerSettings,
    chosen=lambda settings: known(settings, "hetzner") is not None,
    nodes=nodes,
    node_count=node_count,
    said=lambda section: f"Hetzner {section.location}",
    elsewhere="nothing of this stack is at Hetzner",
    rules=HETZNER_RULES,
    across=names_apart,
    names_once=True,
    node_network=NodeNetwork(HETZNER_PRIVATE_MTU, "Hetzner's private networks"),
    own_network="hetzner.network_cidr",
    reserved=(IPv4Network(GATEWAY),),
    hosts={"api.hetzner.cloud": "Hetzner's API"},
    secrets=(HCLOUD_TOKEN,),
    secret_fault=_token_fault,
    provider=Provider("hcloud", HcloudSettings, "Settings of the Hetzner provider", ("endpoint",)),
    fixed=fixed,
    fixed_because=FIXED,
    changes=changes,
    generation_at=generation_at,
    access=_access,
    starter=StarterText(
        text=section_text,
        secret=secret_line,
        where="at Hetzner Cloud",
        nodes="Hetzner subnet of the servers, within hetzner.network_cidr",
        location=("hetzner.location", provider_word),
    ),
)
