"""The section ``hetzner``, and the settings of Hetzner's provider."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, StrictBool, StrictInt, StrictStr

from domain.nodes import Generation
from domain.places.hetzner.sources import PublicSource
from domain.places.hetzner.words import Location, ProviderWord, ServerImage, pool_name
from domain.settings.section import ENTRIES_LIMIT, Section
from domain.values.addresses import NodeRange, prefix_length, private_range
from domain.values.node_marks import LabelKey, LabelValue, Taint
from domain.values.patterns import pattern
from domain.values.services import Url

PLACEMENT_GROUP_LIMIT: Final = 10
"""Servers of a spread placement group (https://docs.hetzner.com/cloud/placement-groups/overview)."""
NETWORK_LIMIT: Final = 100
"""Servers of one private network, and so of one stack."""
POOLS_LIMIT: Final = 40
MEMBERS_LIMIT: Final = 200
"""The highest number that a server of a pool may have. A pool may lack many below it."""
CIDRS_LIMIT: Final = 100
UNLISTED_LIMIT: Final = 20


class NodePool(Section):
    """Servers of one kind."""

    server_type: ProviderWord = Field(examples=["cx23"])
    """Hetzner's server type, one that the location has. An Arm one needs ``k3s.sha256_arm64``."""
    count: Annotated[StrictInt, Field(ge=0, le=PLACEMENT_GROUP_LIMIT)] = Field(examples=[1])
    """How many servers. Control plane and workers share one spread placement group, so they are 10 together at most;
    more are in ``pools``."""


NodeLabels = Annotated[dict[LabelKey, LabelValue], Field(max_length=ENTRIES_LIMIT)]
Taints = Annotated[tuple[Taint, ...], Field(max_length=ENTRIES_LIMIT)]
MemberNumber = Annotated[StrictInt, Field(ge=1, le=MEMBERS_LIMIT)]


class Pool(Section):
    """Further workers of one kind, STACK-NAME-1 and so on: names and addresses of each follow from the pool's own
    settings and from nothing else in the file. Who is added, removed or changed moves no server of another pool, and
    none of its own that stays.
    """

    server_type: ProviderWord = Field(examples=["ccx23"])
    """Hetzner's server type, one that the location has. An Arm one needs ``k3s.sha256_arm64``."""
    addresses: Annotated[
        NodeRange, AfterValidator(prefix_length(24, 30, f"the numbers of a pool's servers end at {MEMBERS_LIMIT}"))
    ] = Field(examples=["10.0.1.64/28"])
    """Range of the pool's servers in ``network.node_cidr``, behind its first 64 addresses, which control plane and
    workers have. The server with the number N has the Nth address after the range's own, so a /28 holds 14. A larger
    range that begins alike moves nobody; another beginning does, and is refused while servers run."""
    count: Annotated[StrictInt, Field(ge=0, le=NETWORK_LIMIT)] | None = Field(default=None, examples=[3])
    """How many servers, with the numbers from 1 on. Either this or ``members``. Default: none, since one of the two has
    to be there."""
    members: Annotated[tuple[MemberNumber, ...], Field(max_length=NETWORK_LIMIT)] = Field(
        default=(), examples=["[1, 3]"]
    )
    """The numbers of the servers, instead of ``count`` where some in the middle have gone. Default: none, since most
    pools have none missing."""
    location: Location | None = Field(default=None, examples=["nbg1"])
    """Where the pool's servers stand, in the same network zone. Default: none, which is ``hetzner.location``."""
    image: ServerImage | None = Field(default=None, examples=["debian-12"])
    """Image of the pool's servers, by name or id. Default: none, which is ``hetzner.image``. Servers that exist keep
    theirs."""
    labels: NodeLabels = Field(default_factory=dict, examples=["{workload: database}"])
    """Labels of the pool's Nodes. A change is made in place by the next ``up``. Default: none, since a pool needs no
    label to run what every node runs."""
    taints: Taints = Field(default=(), examples=['["workload=database:NoSchedule"]'])
    """Taints of the pool's Nodes, there from the moment they join. A change is made in place by the next ``up``; with
    NoExecute Kubernetes then ends pods that don't tolerate it at once, whatever their budgets. Default: none, so that
    everything may run there."""
    routers: Annotated[StrictInt, Field(ge=0, le=NETWORK_LIMIT)] = Field(default=0, examples=[1])
    """How many of the pool's servers carry the link, besides those of ``hetzner.routers``: those with the lowest
    numbers. Default: 0, so that a pool that comes or goes moves no link."""


PoolName = Annotated[StrictStr, AfterValidator(pool_name), pattern(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?")]

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
    pools: Annotated[dict[PoolName, Pool], Field(max_length=POOLS_LIMIT)] = Field(
        default_factory=dict,
        examples=["{db: {server_type: ccx23, addresses: 10.0.1.64/28, count: 3, taints: [workload=db:NoSchedule]}}"],
    )
    """Further workers, by the name of their pool: of other sizes, elsewhere, with labels and taints of their own, and
    more than 10. Default: none, since one kind of workers is enough for many."""
    routers: StrictInt = Field(default=1, examples=[2])
    """How many nodes carry the link, each with an agent, a NetBird identity and an address of its own: the first
    workers, and where there are fewer, the first servers as well. Those of pools count apart, and with one of them it
    may be 0. Default: 1, since a second one is for clusters whose link has to outlive a machine."""
    generations: Annotated[dict[StrictStr, Generation], Field(max_length=ENTRIES_LIMIT)] = Field(
        default_factory=dict, examples=["{de-agent-1: 2}"]
    )
    """By the name of a node, which one it is: with a higher number its server is made anew, with what the settings say
    of k3s and image by then. It leaves as if it were taken out, its disk is overwritten (Hetzner's rebuild: id,
    addresses and price stay), and it joins again; servers first, routers last, one after the other. Not the only
    server, whose disk has the cluster's data. Default: 1 for each, since none has been made anew."""
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
