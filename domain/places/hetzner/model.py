"""The section ``hetzner``, and the settings of Hetzner's provider."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, StrictBool, StrictInt, StrictStr

from domain.places.hetzner.sources import PublicSource
from domain.places.hetzner.words import Location, ProviderWord, ServerImage
from domain.settings.section import ENTRIES_LIMIT, Section
from domain.values.addresses import NodeRange, prefix_length, private_range
from domain.values.services import Url

HETZNER_SERVER_LIMIT: Final = 10
"""Servers of one stack: a spread placement group holds no more
(https://docs.hetzner.com/cloud/placement-groups/overview)."""
CIDRS_LIMIT: Final = 100
UNLISTED_LIMIT: Final = 20


class NodePool(Section):
    """Servers of one kind."""

    server_type: ProviderWord = Field(examples=["cx23"])
    """Hetzner's server type, one that the location has. Only x86: the checksum of k3s is that of one architecture."""
    count: Annotated[StrictInt, Field(ge=0, le=HETZNER_SERVER_LIMIT)] = Field(examples=[1])
    """How many servers."""


LabelMap = Annotated[dict[StrictStr, StrictStr], Field(max_length=ENTRIES_LIMIT)]
AllowedCidrs = Annotated[tuple[PublicSource, ...], Field(min_length=1, max_length=CIDRS_LIMIT)]


class HetznerSettings(Section):
    """A cluster whose machines this program makes at Hetzner Cloud."""

    location: Location = Field(examples=["fsn1"])
    """Where the servers stand: a location of Hetzner's, not a datacenter or a network zone."""
    network_zone: ProviderWord = Field(examples=["eu-central"])
    """Network zone of that location."""
    unlisted: Annotated[tuple[ProviderWord, ...], Field(max_length=UNLISTED_LIMIT)] = Field(
        default=(), examples=["[cx24]"]
    )
    """Locations and server types that are taken although the program's own list of Hetzner's (September 2026) has not
    got them, or not there: what is newer than the list, and types that are no longer sold, where servers of them run.
    The program asks Hetzner's API in any case. Default: none, since the list has what most take."""
    network_cidr: Annotated[
        NodeRange,
        AfterValidator(private_range),
        AfterValidator(prefix_length(8, 24, "Hetzner's networks are of these sizes")),
    ] = Field(examples=["10.0.0.0/16"])
    """Range of the private network; ``network.node_cidr`` is a subnet of it."""
    image: ServerImage = Field(default="debian-12", examples=["debian-12"])
    """Image of the servers, by name or id. Default: debian-12, with which the bootstrap is tried. Servers that exist
    keep theirs."""
    control_plane: NodePool = Field(examples=["{server_type: cx23, count: 1}"])
    """Servers that run the API. One, or an odd number from three, since etcd needs a majority. One keeps its data in
    SQLite, which no other can join, so at Hetzner three can't be made of one later."""
    workers: NodePool = Field(examples=["{server_type: cx23, count: 1}"])
    """Servers that run workloads only."""
    routers: StrictInt = Field(default=1, examples=[2])
    """How many nodes carry the link, each with an agent, a NetBird identity and an address of its own: the first
    workers, and where there are fewer, the first servers as well. Default: 1, since a second one is for clusters whose
    link has to outlive a machine."""
    api_allowed_cidrs: AllowedCidrs = Field(examples=["[203.0.113.0/24]"])
    """Who may reach the Kubernetes API (6443) on the public addresses: at least where ``pulumi up`` runs."""
    ssh_allowed_cidrs: AllowedCidrs = Field(examples=["[203.0.113.0/24]"])
    """Who may reach SSH (22) on the public addresses: at least where ``pulumi up`` runs."""
    labels: LabelMap = Field(default_factory=dict, examples=["{team: platform}"])
    """Labels on every Hetzner resource, besides our own. Default: none; the program finds its own without."""
    delete_protection: StrictBool = Field(default=False, examples=[True])
    """Hetzner's own protection against deletion, on servers and network. Default: off, so that `pulumi destroy`
    works."""


PollInterval = Annotated[StrictStr, Field(pattern=r"^[1-9][0-9]{0,5}(ms|s)$")]
PollFunction = Literal["constant", "exponential"]


class HcloudSettings(Section):
    """Settings of the Hetzner provider (``hcloud:...``) that this program passes on."""

    endpoint: Url | None = Field(default=None, examples=["https://api.hetzner.cloud/v1"])
    """Address of the API. Default: Hetzner's, which the provider knows."""
    pollInterval: PollInterval | None = Field(default=None, examples=["500ms"])  # noqa: N815 (the provider's spelling)
    """How often a running action is asked for. Default: the provider's, which suits Hetzner's API."""
    pollFunction: PollFunction | None = Field(default=None, examples=["constant"])  # noqa: N815 (the provider's spelling)
    """How that interval grows. Default: the provider's, which suits Hetzner's API."""
