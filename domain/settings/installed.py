"""The sections of what is installed in a cluster: k3s, Cilium, NetBird, the keeper, the DNS relay, and where it all
comes from.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, StrictBool, StrictInt, StrictStr

from domain import netbird_rules
from domain.keeper_port import KeeperPort
from domain.leaving import DRAIN_SECONDS
from domain.names import KEEPER_PORT, VXLAN_PORT
from domain.overlay import MTU_MAXIMUM, MTU_MINIMUM, WIREGUARD_OVERHEAD
from domain.settings.section import ENTRIES_LIMIT, Section
from domain.tunnel_port import TunnelPort
from domain.values.names import DnsZone, ForwardZones, StackName
from domain.values.releases import CiliumVersion, K3sVersion, PythonImage, RelayImage, Sha256, Sha256Arm64
from domain.values.services import K3sConfig, RegistryHost, Url, WireguardPort, switched_on

SECRETS_ENCRYPTION: Final = "secrets-encryption"

Mtu = Annotated[StrictInt, Field(ge=MTU_MINIMUM, le=MTU_MAXIMUM)]
Seconds = Annotated[StrictInt, Field(ge=0, le=3600)]
DrainSeconds = Annotated[StrictInt, Field(ge=30, le=3600)]


class K3sSettings(Section):
    """The k3s that is installed on the nodes."""

    version: K3sVersion = Field(examples=["v1.34.9+k3s1"])
    """Tag of the release (https://github.com/k3s-io/k3s/releases). Nodes follow a change at the next ``up``, servers
    first. It goes forward only, one minor release at a time."""
    sha256: Sha256 = Field(examples=["64 HEXADECIMAL DIGITS"])
    """Checksum of the file ``k3s`` of that release, from its ``sha256sum-amd64.txt``."""
    sha256_arm64: Sha256Arm64 | None = Field(default=None, examples=["64 HEXADECIMAL DIGITS"])
    """Checksum of the file ``k3s-arm64`` of that release, from its ``sha256sum-arm64.txt``, for Arm servers at Hetzner.
    Default: none, since most have none."""
    server_config: K3sConfig = Field(
        default_factory=dict, max_length=ENTRIES_LIMIT, examples=["{kube-apiserver-arg: [v=2]}"]
    )
    """Further settings of k3s on the nodes that run the API, in the words of its config file
    (https://docs.k3s.io/cli/server). Those that this program sets, or that would break the link, are refused;
    ``disable`` adds to ours. Not for secrets: they would stand in plain text. Nodes that run take a change with the
    next ``up``, which starts their k3s anew; only ``secrets-encryption`` stays as the cluster was raised with it.
    Default: none, because ours are enough."""
    agent_config: K3sConfig = Field(
        default_factory=dict, max_length=ENTRIES_LIMIT, examples=["{kubelet-arg: [max-pods=200]}"]
    )
    """The same for the nodes that run workloads only (https://docs.k3s.io/cli/agent). Default: none, because ours are
    enough."""
    drain_seconds: DrainSeconds = Field(default=DRAIN_SECONDS, examples=[900])
    """For how long an ``up`` asks the pods of a node that leaves to go, as their PodDisruptionBudgets allow; then the
    node stays. Default: 600, since with a budget one pod's successor has to be ready before the next one goes."""

    @property
    def encrypts_secrets(self) -> bool:
        """Whether Kubernetes's Secrets are encrypted in the datastore."""
        return switched_on(self.server_config.get(SECRETS_ENCRYPTION, False))


class CiliumSettings(Section):
    """The network of the pods."""

    version: CiliumVersion = Field(default="1.19.6", examples=["1.19.6"])
    """Chart version. Default: the one that the link is tested with."""
    mtu: Mtu = Field(default=1280, examples=[1280])
    """MTU of the nodes as Cilium counts it; pods get 50 less (VXLAN). ``cilium.mtu - 50 <= netbird.mtu - 10``, else
    large packets vanish without a word. Default: 1280, which goes with that of ``netbird.mtu``; computed where
    ``netbird.underlay_mtu`` is given, as the largest that all linked clusters take."""
    tunnel_port: TunnelPort = Field(default=VXLAN_PORT, examples=[8223])
    """UDP port of the tunnel between the nodes (VXLAN), for networks that drop the usual one, as some of VMware do.
    Default: 8472, Cilium's own, or the ``tunnelPort`` of ``cilium.values``. Nodes with two ports don't reach each
    other, so a change cuts the network of the pods for as long as its agents take to start."""
    values: dict[StrictStr, Any] = Field(default_factory=dict, examples=["{hubble: {enabled: true}}"])
    """Further values for the chart, merged with ours; one that would break the link is refused. Default: none, because
    ours are enough."""


class NetbirdSettings(Section):
    """The overlay between the clusters. The API token is the secret ``isthmus:netbirdApiToken``."""

    management_url: netbird_rules.ManagementUrl = Field(
        default="https://api.netbird.io", examples=["https://api.netbird.io"]
    )
    """NetBird's management service. Default: NetBird Cloud, which needs no server of one's own."""
    operator_version: netbird_rules.OperatorVersion = Field(default="0.8.0", examples=["0.8.0"])
    """Version of the chart netbird-operator. Default: the one that the link is tested with."""
    agent_image: netbird_rules.AgentImage = Field(
        default="netbirdio/netbird:0.77.1", examples=["netbirdio/netbird:0.77.1"]
    )
    """Image of the router's agent. Default: the one that the link is tested with."""
    underlay_mtu: Annotated[StrictInt, Field(ge=MTU_MINIMUM + WIREGUARD_OVERHEAD, le=9216)] | None = Field(
        default=None, examples=[1500]
    )
    """MTU of the path between the routers through the Internet, over IPv4. Given, ``netbird.mtu`` and ``cilium.mtu``
    are by default the largest that it takes; all clusters of a link give it. Two sites that could meet over IPv6 write
    20 less. Default: none; 1500 is assumed, and the MTUs stay at 1280, which fits nearly every path."""
    mtu: Mtu = Field(default=1280, examples=[1280])
    """MTU of wt0; WireGuard adds 60 to it on the underlay. Default: 1280, NetBird's own, which fits nearly every path;
    computed where ``netbird.underlay_mtu`` is given."""
    wireguard_port: WireguardPort = Field(default=51820, examples=[51820])
    """UDP port of WireGuard on the router. Default: 51820, NetBird's own."""
    agent_env: dict[netbird_rules.EnvironmentName, StrictStr] = Field(
        default_factory=dict, max_length=ENTRIES_LIMIT, examples=['{NB_RELAY_TRANSPORT: "ws"}']
    )
    """Further environment of the agent, for example ``NB_RELAY_TRANSPORT: ws`` for a relay without TLS. Names that this
    program sets itself are refused. Not for secrets. Default: none, because ours is enough."""


class KeeperSettings(Section):
    """The keeper on each router: it watches the links and moves them to another router where this one fails."""

    enabled: StrictBool = Field(default=True, examples=[False])
    """Whether there are keepers. Without them nothing moves a link to another router of this cluster. Default: true,
    because a link is to outlive its router."""
    image: PythonImage = Field(
        default="docker.io/library/python:3.13-slim", examples=["docker.io/library/python:3.13-slim"]
    )
    """Image of Python 3.11 or later with its standard library, bz2 as well, in which the keeper runs; the program
    itself brings the keeper. Default: Python's own image, because the keeper needs nothing else."""
    port: KeeperPort = Field(default=KEEPER_PORT, examples=[51823])
    """UDP port where the keepers of the routers hear each other, within the cluster and through the link. Default:
    51823, because nothing else is known to have it."""
    metrics: StrictBool = Field(default=False, examples=[True])
    """Whether the keepers give their metrics to whoever asks for them at the routers' node addresses, TCP port 8055;
    peers can't. Default: false, because they name the peers' routers and any pod and node may read them."""


FALLBACK_PEERS_LIMIT: Final = 5
"""Each is asked after the other where none has a name."""


class FallbackSettings(Section):
    """Names that are the same in several clusters: SERVICE.NAMESPACE.svc.ZONE is this cluster's service where it has
    one, and that of a peer otherwise. A service counts as absent while none of its pods is ready, so a name may lead to
    the other cluster for a while; of a database that both write to, ask by its own zone.
    """

    zone: DnsZone = Field(examples=["any.internal"])
    """The zone of such names, of no cluster itself. A name is the same in two clusters if both have the same zone
    here."""
    peers: tuple[StackName, ...] = Field(default=(), max_length=FALLBACK_PEERS_LIMIT, examples=["[mn]"])
    """Which peers are asked, in this order: the first that has the name answers. Default: all that ``peers`` lists, in
    its order."""


class DnsSettings(Section):
    """Names across the clusters."""

    relay_image: RelayImage = Field(default="coredns/coredns:1.14.7", examples=["coredns/coredns:1.14.7"])
    """Image of the DNS relay, CoreDNS 1.14.5 or later. Default: the one that the link is tested with."""
    record_ttl_seconds: Seconds = Field(default=5, examples=[5])
    """How long others may keep an answer of the own zone. Default: 5 s, as in CoreDNS, because pod addresses change."""
    cache_seconds: Annotated[StrictInt, Field(ge=1, le=3600)] = Field(default=30, examples=[30])
    """At most this long an answer of a peer's zone is kept here. Default: 30 s, because the record's own TTL is mostly
    shorter and this is only its upper bound."""
    stale_seconds: Seconds = Field(default=300, examples=[300])
    """For how long an expired answer of a peer's zone is still given when the peer doesn't answer; 0 = never. Default:
    300 s, which bridges a restart of the relay."""
    forward_zones: ForwardZones = Field(
        default_factory=dict, max_length=ENTRIES_LIMIT, examples=["{corp.example.com: [192.168.7.53]}"]
    )
    """Further zones that the pods of this cluster can resolve, each with the DNS servers that answer for it: an
    address, with a port where that is not 53, or ``tls://9.9.9.9#dns.quad9.net`` for one over TLS, whose certificate is
    checked. Default: none; every other name goes the way that the node's own resolver goes."""
    fallback: FallbackSettings | None = Field(default=None, examples=["{zone: any.internal}"])
    """A zone of names that are looked up in this cluster first and at its peers otherwise. Default: none, because most
    clients mean one cluster."""


class MirrorSettings(Section):
    """Where artifacts come from instead of the Internet, for sites that can't reach it."""

    k3s: Url | None = Field(default=None, examples=["https://mirror.example.net/k3s"])
    """Directory with VERSION/k3s, and for Arm servers VERSION/k3s-arm64. Default: k3s's releases on GitHub, where it
    comes from."""
    charts: Url | None = Field(default=None, examples=["https://mirror.example.net/charts"])
    """Directory with NAME-VERSION.tgz of the charts cilium and netbird-operator. Default: their own repositories, where
    they come from."""
    registries: dict[RegistryHost, Url] = Field(
        default_factory=dict, max_length=ENTRIES_LIMIT, examples=["{docker.io: https://mirror.example.net}"]
    )
    """For each image registry, the address that is asked in its place. Nodes that run take a change with the next
    ``up``, which starts their k3s anew. Default: none, so each is asked itself."""
