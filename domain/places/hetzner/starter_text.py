"""What a new stack file says of a cluster at Hetzner."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Final

from domain.places.hetzner.catalogue import NETWORK_ZONES
from domain.yaml_words import word

EUROPE: Final = "eu-central"
"""The network zone whose locations have the server type that is proposed."""


def secret_line(name: str) -> str:
    """The command that sets the token."""
    command = f"pulumi config set --secret hcloud:token -s {name}"
    return f"#   {command}   # API token of the Hetzner project, read and write\n"


def section_text(name: str, ranges: Mapping[str, IPv4Network], location: str) -> str:
    """The section ``hetzner``."""
    zone = NETWORK_ZONES.get(location)
    server_type = "cx23" if zone == EUROPE else '"<an x86 server type of that location>"'
    network_zone = (
        '"<the network zone of that location>"' if zone is None else f"{zone} # network zone of that location"
    )
    return f"""\
  isthmus:hetzner:
    location: {word(location)} # where the servers stand
    network_zone: {network_zone}
    network_cidr: {ranges["hetzner.network_cidr"]} # private network
    image: debian-12
    control_plane: {{ server_type: {server_type}, count: 1 }} # servers that run the API: 1, 3 or 5
    workers: {{ server_type: {server_type}, count: 1 }} # the first one carries the link; `routers: 2`: the first two
    # Who may reach the Kubernetes API (6443) and SSH (22): at least where `pulumi up` runs.
    # When that address changes: change it here; docs/tutorial.md has the command that opens the firewall for it.
    api_allowed_cidrs: ["<your public addresses, like 203.0.113.7/32>"]
    ssh_allowed_cidrs: ["<your public addresses, like 203.0.113.7/32>"]
"""
