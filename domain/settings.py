"""The settings of one stack, as they stand in ``Pulumi.NAME.yaml``: models, their rules, and how they are read.

It owns the meaning of a stack file's ``config`` object. It doesn't read YAML (``stack_file.py``) and doesn't compare
stacks (``fleet.py``). Secrets never come here: only their names do, for whether they are there.
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Annotated, Any, Final, Literal, cast, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, TypeAdapter
from pydantic import ValidationError as PydanticError
from pydantic.fields import FieldInfo
from yaml import safe_load

from domain import netbird_rules, rules
from domain.firewall_sources import PublicSource
from domain.host_keys import SshPublicKey
from domain.mtu import (
    ETHERNET_MTU,
    HETZNER_PRIVATE_MTU,
    MTU_MAXIMUM,
    MTU_MINIMUM,
    WIREGUARD_OVERHEAD,
    largest_cilium_mtu,
    largest_netbird_mtu,
)
from domain.names import CLUSTER_DNS_OFFSET, PROJECT, VXLAN_PORT
from domain.problems import HIDDEN, PROBLEMS_LIMIT, Problem, kind_of, shown
from domain.secret_texts import holds_secret
from domain.tunnel_port import TunnelPort
from domain.written_values import Kind, meant

SERVICE_PREFIX_MINIMUM: Final = 12
"""kube-apiserver takes at most 2^20 service addresses."""
SERVICE_PREFIX_MAXIMUM: Final = 22
"""Of a smaller range the addresses kept for fixed ClusterIPs end below the relay's (offset 53)."""
POD_PREFIX_MINIMUM: Final = 10
POD_PREFIX_MAXIMUM: Final = 23
"""Every node takes a /24 of the pod CIDR, and there are at least two."""
HETZNER_SERVER_LIMIT: Final = 10
"""Servers of one stack: a spread placement group holds no more
(https://docs.hetzner.com/cloud/placement-groups/overview)."""
PEERS_LIMIT: Final = 200
CIDRS_LIMIT: Final = 100
MACHINES_LIMIT: Final = 200
UNLISTED_LIMIT: Final = 20
ENTRIES_LIMIT: Final = 100
"""Entries of lists and mappings: more than anybody needs, and few enough to look at each of them in no time. What is
longer is refused as a whole."""

PodCidr = Annotated[
    rules.NodeRange,
    AfterValidator(rules.private_range),
    AfterValidator(rules.prefix_length(POD_PREFIX_MINIMUM, POD_PREFIX_MAXIMUM, "every node takes a /24 of it")),
]
ServiceCidr = Annotated[
    rules.NodeRange,
    AfterValidator(rules.private_range),
    AfterValidator(
        rules.prefix_length(
            SERVICE_PREFIX_MINIMUM,
            SERVICE_PREFIX_MAXIMUM,
            "the API server takes no larger one, and a smaller one has no room for the relay's fixed address",
        )
    ),
]
NodeCidr = Annotated[
    rules.NodeRange, AfterValidator(rules.prefix_length(8, 29, "the machines of a site have to fit into it"))
]
Mtu = Annotated[StrictInt, Field(ge=MTU_MINIMUM, le=MTU_MAXIMUM)]
Seconds = Annotated[StrictInt, Field(ge=0, le=3600)]
UNITS: Final = {"mtu": "bytes", "underlay_mtu": "bytes", "count": "servers"}
"""Units of settings whose names don't say them; ``..._seconds`` does."""


class Section(BaseModel):
    """Base of all models: unknown keys are refused, and nothing changes after the check."""

    # Fields are checked one by one (see read_stack), so pydantic need not build a checker for a whole model. What a
    # setting means stands in docstrings, read where it is wanted (setting_docs.py): that takes longer than all checks.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class NetworkSettings(Section):
    """Addresses and names of the cluster. None of the ranges can change once the cluster runs."""

    pod_cidr: PodCidr = Field(examples=["10.42.0.0/16"])
    """Addresses of the pods. Distinct among linked clusters, because the link routes them."""
    service_cidr: ServiceCidr = Field(examples=["10.43.0.0/16"])
    """Addresses of the services (ClusterIPs). Distinct among linked clusters."""
    node_cidr: NodeCidr = Field(examples=["10.0.1.0/24"])
    """The network of the machines: the Hetzner subnet, or the LAN on-premise."""
    dns_zone: rules.DnsZone = Field(examples=["de.internal"])
    """Zone of this cluster's names as all clusters of the fleet use them: SERVICE.NAMESPACE.svc.ZONE."""
    cluster_dns: rules.HostAddress | None = Field(default=None, examples=["10.43.0.10"])
    """Address of the cluster's DNS service. Default: the tenth of the service CIDR, where k3s has it."""

    @property
    def cluster_dns_address(self) -> IPv4Address:
        """The address of the cluster's DNS service, given or derived."""
        return self.cluster_dns or self.service_cidr[CLUSTER_DNS_OFFSET]


class NodePool(Section):
    """Servers of one kind."""

    server_type: rules.ProviderWord = Field(examples=["cx23"])
    """Hetzner's server type, one that the location has. Only x86: the checksum of k3s is that of one architecture."""
    count: Annotated[StrictInt, Field(ge=0, le=HETZNER_SERVER_LIMIT)] = Field(examples=[1])
    """How many servers."""


LabelMap = Annotated[dict[StrictStr, StrictStr], Field(max_length=ENTRIES_LIMIT)]
AllowedCidrs = Annotated[tuple[PublicSource, ...], Field(min_length=1, max_length=CIDRS_LIMIT)]


class HetznerSettings(Section):
    """A cluster whose machines this program makes at Hetzner Cloud."""

    location: rules.ProviderWord = Field(examples=["fsn1"])
    """Where the servers stand: a location of Hetzner's, not a datacenter or a network zone."""
    network_zone: rules.ProviderWord = Field(examples=["eu-central"])
    """Network zone of that location."""
    unlisted: Annotated[tuple[rules.ProviderWord, ...], Field(max_length=UNLISTED_LIMIT)] = Field(
        default=(), examples=["[cx24]"]
    )
    """Locations and server types that are taken although the program's own list of Hetzner's (September 2026) has not
    got them, or not there: what is newer than the list, and types that are no longer sold, where servers of them run.
    The program asks Hetzner's API in any case. Default: none, since the list has what most take."""
    network_cidr: Annotated[
        rules.NodeRange,
        AfterValidator(rules.private_range),
        AfterValidator(rules.prefix_length(8, 24, "Hetzner's networks are of these sizes")),
    ] = Field(examples=["10.0.0.0/16"])
    """Range of the private network; ``network.node_cidr`` is a subnet of it."""
    image: rules.ServerImage = Field(default="debian-12", examples=["debian-12"])
    """Image of the servers, by name or id. Default: debian-12, with which the bootstrap is tried. Servers that exist
    keep theirs."""
    control_plane: NodePool = Field(examples=["{server_type: cx23, count: 1}"])
    """Servers that run the API. One, or an odd number from three, since etcd needs a majority."""
    workers: NodePool = Field(examples=["{server_type: cx23, count: 1}"])
    """Servers that run workloads only."""
    routers: StrictInt = Field(default=1, examples=[1])
    """Nodes that carry the link. Default: 1, the only value: fail-over between routers is not built."""
    api_allowed_cidrs: AllowedCidrs = Field(examples=["[203.0.113.0/24]"])
    """Who may reach the Kubernetes API (6443) on the public addresses: at least where ``pulumi up`` runs."""
    ssh_allowed_cidrs: AllowedCidrs = Field(examples=["[203.0.113.0/24]"])
    """Who may reach SSH (22) on the public addresses: at least where ``pulumi up`` runs."""
    labels: LabelMap = Field(default_factory=dict, examples=["{team: platform}"])
    """Labels on every Hetzner resource, besides our own. Default: none; the program finds its own without."""
    delete_protection: StrictBool = Field(default=False, examples=[True])
    """Hetzner's own protection against deletion, on servers and network. Default: off, so that `pulumi destroy`
    works."""


class Machine(Section):
    """A machine that exists already."""

    name: rules.NodeName = Field(examples=["mn-1"])
    """The name of its Node."""
    address: rules.HostAddress = Field(examples=["192.168.7.11"])
    """Its address in ``network.node_cidr``; the other nodes and ``pulumi up`` reach it there."""
    role: Literal["server", "agent"] | None = Field(default=None, examples=["server"])
    """``server`` runs the API, ``agent`` workloads only. Needed with ``ssh``, refused otherwise. Default: none, since
    an existing cluster has its roles."""
    router: StrictBool = Field(default=False, examples=[True])
    """Whether it carries the link. Exactly one does. Default: false, since it is so for most."""
    host_key: SshPublicKey | None = Field(default=None, examples=["ssh-ed25519 AAAA..."])
    """Its SSH host key, so that the first connection is verified already. Needed with ``ssh``, refused otherwise.
    Default: none, since an existing cluster is not reached over SSH."""


class SshSettings(Section):
    """How ``pulumi up`` logs in to the machines; the key is the secret ``isthmus:sshPrivateKey``."""

    user: rules.UserName = Field(default="root", examples=["root"])
    """root, or a user who may run everything with ``sudo -n``. Default: root, who needs no sudo."""
    port: Annotated[StrictInt, Field(ge=1, le=65535)] = Field(default=22, examples=[22])
    """TCP port of sshd. Default: 22, where sshd listens if nobody has changed it."""


class KubeconfigSettings(Section):
    """An existing cluster, instead of SSH; the kubeconfig is the secret ``isthmus:kubeconfig``."""

    context: Annotated[StrictStr, Field(min_length=1, max_length=253)] = Field(examples=["mn"])
    """Context of that kubeconfig."""


class OnPremiseSettings(Section):
    """A cluster on machines that exist already: raised over SSH, or existing and given by its kubeconfig."""

    machines: Annotated[tuple[Machine, ...], Field(min_length=1, max_length=MACHINES_LIMIT)] = Field(
        examples=["[{name: mn-1, address: 192.168.7.11, role: server, router: true, host_key: ssh-ed25519 AAAA...}]"]
    )
    """The nodes. With ``ssh`` all of them; with ``kubeconfig`` at least the router's."""
    ssh: SshSettings | None = Field(default=None, examples=["{user: root, port: 22}"])
    """Raise k3s on the machines over SSH. Default: none, because one of ssh and kubeconfig has to be chosen."""
    kubeconfig: KubeconfigSettings | None = Field(default=None, examples=["{context: mn}"])
    """Take the cluster that runs there already. Default: none, because one of ssh and kubeconfig has to be chosen."""


class K3sSettings(Section):
    """The k3s that is installed on the nodes."""

    version: rules.K3sVersion = Field(examples=["v1.34.9+k3s1"])
    """Tag of the release (https://github.com/k3s-io/k3s/releases). On-premise nodes follow a change at the next ``up``;
    Hetzner servers that exist keep theirs, since it is part of their first boot. It goes forward only, one minor
    release at a time."""
    sha256: rules.Sha256 = Field(examples=["64 HEXADECIMAL DIGITS"])
    """Checksum of the file ``k3s`` of that release, from its ``sha256sum-amd64.txt``."""
    server_config: rules.K3sConfig = Field(
        default_factory=dict, max_length=ENTRIES_LIMIT, examples=["{kube-apiserver-arg: [v=2]}"]
    )
    """Further settings of k3s on the nodes that run the API, in the words of its config file
    (https://docs.k3s.io/cli/server). Those that this program sets, or that would break the link, are refused;
    ``disable`` adds to ours. Not for secrets: they would stand in plain text. Hetzner servers that exist keep theirs.
    Default: none, because ours are enough."""
    agent_config: rules.K3sConfig = Field(
        default_factory=dict, max_length=ENTRIES_LIMIT, examples=["{kubelet-arg: [max-pods=200]}"]
    )
    """The same for the nodes that run workloads only (https://docs.k3s.io/cli/agent). Default: none, because ours are
    enough."""


class CiliumSettings(Section):
    """The network of the pods."""

    version: rules.CiliumVersion = Field(default="1.19.6", examples=["1.19.6"])
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
    wireguard_port: Annotated[StrictInt, Field(ge=1024, le=65535), AfterValidator(rules.wireguard_port)] = Field(
        default=51820, examples=[51820]
    )
    """UDP port of WireGuard on the router. Default: 51820, NetBird's own."""
    agent_env: dict[netbird_rules.EnvironmentName, StrictStr] = Field(
        default_factory=dict, max_length=ENTRIES_LIMIT, examples=['{NB_RELAY_TRANSPORT: "ws"}']
    )
    """Further environment of the agent, for example ``NB_RELAY_TRANSPORT: ws`` for a relay without TLS. Names that this
    program sets itself are refused. Not for secrets. Default: none, because ours is enough."""


class DnsSettings(Section):
    """Names across the clusters."""

    relay_image: rules.RelayImage = Field(default="coredns/coredns:1.14.7", examples=["coredns/coredns:1.14.7"])
    """Image of the DNS relay, CoreDNS 1.14.5 or later. Default: the one that the link is tested with."""
    record_ttl_seconds: Seconds = Field(default=5, examples=[5])
    """How long others may keep an answer of the own zone. Default: 5 s, as in CoreDNS, because pod addresses change."""
    cache_seconds: Annotated[StrictInt, Field(ge=1, le=3600)] = Field(default=30, examples=[30])
    """At most this long an answer of a peer's zone is kept here. Default: 30 s, because the record's own TTL is mostly
    shorter and this is only its upper bound."""
    stale_seconds: Seconds = Field(default=300, examples=[300])
    """For how long an expired answer of a peer's zone is still given when the peer doesn't answer; 0 = never. Default:
    300 s, which bridges a restart of the relay."""
    forward_zones: rules.ForwardZones = Field(
        default_factory=dict, max_length=ENTRIES_LIMIT, examples=["{corp.example.com: [192.168.7.53]}"]
    )
    """Further zones that the pods of this cluster can resolve, each with the DNS servers that answer for it. Default:
    none; every other name goes the way that the node's own resolver goes."""


class MirrorSettings(Section):
    """Where artifacts come from instead of the Internet, for sites that can't reach it."""

    k3s: rules.Url | None = Field(default=None, examples=["https://mirror.example.net/k3s"])
    """Directory with VERSION/k3s. Default: k3s's releases on GitHub, where it comes from."""
    charts: rules.Url | None = Field(default=None, examples=["https://mirror.example.net/charts"])
    """Directory with NAME-VERSION.tgz of the charts cilium and netbird-operator. Default: their own repositories, where
    they come from."""
    registries: dict[rules.RegistryHost, rules.Url] = Field(
        default_factory=dict, max_length=ENTRIES_LIMIT, examples=["{docker.io: https://mirror.example.net}"]
    )
    """For each image registry, the address that is asked in its place. Default: none, so each is asked itself."""


PollInterval = Annotated[StrictStr, Field(pattern=r"^[1-9][0-9]{0,5}(ms|s)$")]
PollFunction = Literal["constant", "exponential"]


class HcloudSettings(Section):
    """Settings of the Hetzner provider (``hcloud:...``) that this program passes on."""

    endpoint: rules.Url | None = Field(default=None, examples=["https://api.hetzner.cloud/v1"])
    """Address of the API. Default: Hetzner's, which the provider knows."""
    pollInterval: PollInterval | None = Field(default=None, examples=["500ms"])  # noqa: N815 (the provider's spelling)
    """How often a running action is asked for. Default: the provider's, which suits Hetzner's API."""
    pollFunction: PollFunction | None = Field(default=None, examples=["constant"])  # noqa: N815 (the provider's spelling)
    """How that interval grows. Default: the provider's, which suits Hetzner's API."""


class StackSettings(Section):
    """One stack file: one cluster. Exactly one of ``hetzner`` and ``on_premise`` says where it stands."""

    stack: rules.StackName
    """The stack's name, which is the cluster's."""
    network: NetworkSettings = Field(
        examples=["{pod_cidr: 10.42.0.0/16, service_cidr: 10.43.0.0/16, node_cidr: 10.0.1.0/24, dns_zone: de.internal}"]
    )
    peers: tuple[rules.StackName, ...] = Field(default=(), max_length=PEERS_LIMIT, examples=["[mn]"])
    """Stacks to be linked with; each of them lists this one, too. Default: none; a cluster may stand alone."""
    hetzner: HetznerSettings | None = None
    on_premise: OnPremiseSettings | None = None
    k3s: K3sSettings | None = None
    """Needed wherever the program installs k3s, that is without ``on_premise.kubeconfig``. Default: none, because an
    existing cluster has its own."""
    # model_construct, because a call of the class would build its checker.
    cilium: CiliumSettings = CiliumSettings.model_construct()
    netbird: NetbirdSettings = NetbirdSettings.model_construct()
    dns: DnsSettings = DnsSettings.model_construct()
    mirrors: MirrorSettings = MirrorSettings.model_construct()
    hcloud: HcloudSettings = HcloudSettings.model_construct()

    @property
    def installs_k3s(self) -> bool:
        """False for an existing cluster that is given by its kubeconfig."""
        return self.on_premise is None or self.on_premise.kubeconfig is None


SECTIONS: Final = tuple(name for name in StackSettings.model_fields if name not in ("stack", "hcloud"))
"""The names behind ``isthmus:`` that hold plain settings, in the order of the model."""


@dataclass(frozen=True)
class Secret:
    """A secret's key in the stack file, what it is for, and the command that sets it."""

    key: str
    purpose: str
    command: str


CLUSTER_SECRET: Final = Secret(
    "isthmus:clusterSecret",
    "the k3s token and all SSH keys are derived from it",
    "openssl rand -hex 32 | pulumi config set --secret clusterSecret -s {stack}",
)
NETBIRD_API_TOKEN: Final = Secret(
    "isthmus:netbirdApiToken",
    "NetBird's objects are made with it",
    "pulumi config set --secret netbirdApiToken -s {stack}",
)
SSH_PRIVATE_KEY: Final = Secret(
    "isthmus:sshPrivateKey",
    "the machines are reached with it",
    "pulumi config set --secret sshPrivateKey -s {stack} < KEYFILE",
)
KUBECONFIG: Final = Secret(
    "isthmus:kubeconfig",
    "the existing cluster is reached with it",
    "pulumi config set --secret kubeconfig -s {stack} < KUBECONFIG",
)
HCLOUD_TOKEN: Final = Secret(
    "hcloud:token",
    "Hetzner's resources are made with it",
    "pulumi config set --secret hcloud:token -s {stack}",
)
SECRETS: Final = {
    one.key: one for one in (CLUSTER_SECRET, NETBIRD_API_TOKEN, SSH_PRIVATE_KEY, KUBECONFIG, HCLOUD_TOKEN)
}


# --- reading ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StackDraft:
    """What could be read of a stack: ``settings`` holds every valid field (an invalid one has no attribute at all,
    see :func:`known`), ``problems`` a line for each of the others. ``secrets`` are the names of the secrets that are
    there. ``computed_cilium_mtu`` is what ``cilium.mtu`` is by the stack alone where no file says it.
    """

    stack: str
    settings: StackSettings
    problems: tuple[Problem, ...]
    secrets: frozenset[str]
    computed_cilium_mtu: int | None = None


def known(section: object, *path: str) -> Any:
    """The attribute at the path, or None where a part of it is missing or was refused."""
    value: Any = section
    for name in path:
        value = getattr(value, name, None)
    return value


def engine_config(config: Mapping[str, str]) -> dict[str, Any]:
    """The engine's configuration (every value text, objects as JSON) in the form of a stack file. Secrets' values are
    left out: only their keys stay, with an empty value.
    """
    result: dict[str, Any] = {}
    for key, value in config.items():
        if key in SECRETS:
            result[key] = ""
        elif key.partition(":")[2] in SECTIONS and key.startswith(f"{PROJECT}:"):
            try:
                result[key] = json.loads(value)
            except (ValueError, RecursionError):
                result[key] = value
        else:
            result[key] = value
    return result


def read_stack(stack: str, config: Mapping[str, Any], *, secrets: Collection[str] | None = None) -> StackDraft:
    """Every section and field on its own; what fits between them is checked by ``consistency.py``."""
    problems: list[Problem] = []
    found = frozenset(key for key in config if key in SECRETS) if secrets is None else frozenset(secrets)
    sections: dict[str, Any] = {"stack": stack}
    hcloud: dict[str, Any] = {}
    try:
        rules.stack_name(stack)
    except rules.RuleError as broken:
        problems.append(Problem(stack, "stack", shown(stack), broken.rule, broken.fix or "write it like de"))
    for key, value in config.items():
        namespace, _, name = key.partition(":")
        if key in SECRETS:
            continue
        if namespace == PROJECT and name in SECTIONS:
            sections[name] = value
        elif namespace == "hcloud" and name in HcloudSettings.model_fields:
            # Pulumi hands every plain value on as a text.
            hcloud[name] = json.dumps(value) if isinstance(value, bool | int | float) else value
        elif namespace in (PROJECT, "hcloud"):
            problems.append(_unknown(stack, key, namespace, name, len(problems)))
    if hcloud:
        sections["hcloud"] = hcloud
    values = {
        name: value
        for name, field in StackSettings.model_fields.items()
        if name != "stack" and (value := _read_field(stack, name, field, sections, problems)) is not _REFUSED
    }
    for name in ("hetzner", "on_premise", "k3s"):
        # Refused and absent are different: a refused section must not be reported as missing a second time.
        if name in sections and name not in values:
            values[name] = Refused()
    computed = _compute_mtus(values, sections)
    _take_tunnel_port(stack, values, sections, problems)
    settings = StackSettings.model_construct(stack=stack, **values)
    for name in StackSettings.model_fields:
        if name != "stack" and name not in values:
            settings.__dict__.pop(name, None)
    named = tuple(replace(one, setting=_as_in_file(one.setting)) for one in problems)
    return StackDraft(stack=stack, settings=settings, problems=named, secrets=found, computed_cilium_mtu=computed)


def _compute_mtus(values: dict[str, Any], sections: Mapping[str, Any]) -> int | None:
    """Where ``netbird.underlay_mtu`` is given, the MTUs that are not are the largest that fit. Returns that of Cilium
    if it was computed.
    """

    def given(section: str) -> bool:
        return isinstance(sections.get(section), Mapping) and "mtu" in sections[section]

    netbird, cilium = values.get("netbird"), values.get("cilium")
    if (underlay := known(netbird, "underlay_mtu")) is None or netbird is None:
        return None
    if not given("netbird"):
        netbird = netbird.model_copy(update={"mtu": largest_netbird_mtu(underlay)})
        values["netbird"] = netbird
    if cilium is not None and not given("cilium") and (mtu := known(netbird, "mtu")) is not None:
        node_network = HETZNER_PRIVATE_MTU if "hetzner" in sections else ETHERNET_MTU
        computed = largest_cilium_mtu(mtu, node_network)
        values["cilium"] = cilium.model_copy(update={"mtu": computed})
        return computed
    return None


def _take_tunnel_port(stack: str, values: dict[str, Any], sections: Mapping[str, Any], problems: list[Problem]) -> None:
    """Where the port of the tunnel is no setting of ours, it may be one of the chart's."""
    cilium, given = values.get("cilium"), sections.get("cilium")
    further = known(cilium, "values")
    if (isinstance(given, Mapping) and "tunnel_port" in given) or not isinstance(further, Mapping):
        return
    if "tunnelPort" in further and isinstance(cilium, CiliumSettings):
        field = CiliumSettings.model_fields["tunnel_port"]
        port = _read_value(stack, "cilium.values.tunnelPort", field, further["tunnelPort"], problems)
        values["cilium"] = cilium.model_copy(update={} if port is _REFUSED else {"tunnel_port": port})
        if port is _REFUSED:
            values["cilium"].__dict__.pop("tunnel_port", None)


def _as_in_file(setting: str) -> str:
    """The provider's settings stand with their namespace in the file, ours without."""
    return setting.replace("hcloud.", "hcloud:", 1) if setting.startswith("hcloud.") else setting


class Encrypted:
    """Stands for a value that Pulumi has encrypted where a plain one belongs; ``file_shape.py`` says so."""


class Refused:
    """Stands in a draft for a section that is there and has no valid form at all; :func:`known` finds nothing in it."""


_REFUSED: Final = object()


def _unknown(stack: str, key: str, namespace: str, name: str, found: int) -> Problem:
    candidates = [one.partition(":")[2] for one in SECRETS if one.startswith(f"{namespace}:")]
    candidates += SECTIONS if namespace == PROJECT else HcloudSettings.model_fields
    shown_key = shown(key)
    if namespace == PROJECT:
        shown_key = shown(name)
    return Problem(stack, shown_key, "", "is not a setting of this program", _guess(name, candidates, found))


def _guess(name: str, candidates: Collection[str], found: int) -> str:
    """What is meant, perhaps. ``found``: how many problems there are already; with many, nobody reads the guess, which
    takes its time.
    """
    near = [] if found > PROBLEMS_LIMIT else difflib.get_close_matches(name[:60], candidates, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(candidates))}"


def _read_field(stack: str, path: str, field: FieldInfo, values: Mapping[str, Any], problems: list[Problem]) -> Any:
    """The field's typed value; the default where it is absent; ``_REFUSED`` and problems where it is wrong."""
    name = path.rpartition(".")[2]
    if name not in values:
        if field.is_required():
            problems.append(_missing(stack, path, field))
            return _REFUSED
        # Not get_default, which copies, and looks anew at how a factory is called: nothing changes a default.
        return field.default if field.default_factory is None else cast("Callable[[], Any]", field.default_factory)()
    return _read_value(stack, path, field, values[name], problems)


def _read_value(stack: str, path: str, field: FieldInfo, value: Any, problems: list[Problem]) -> Any:
    if isinstance(value, Encrypted):
        return _REFUSED
    form = _form_of(field)
    value = meant(value, form.kind)
    if form.model is not None and isinstance(value, Mapping):
        return _read_model(stack, path, form.model, value, problems)
    if isinstance(value, list | dict) and (too_many := _too_many(stack, path, field, value)) is not None:
        problems.append(too_many)
        return _REFUSED
    item = form.item
    if item is not None and isinstance(value, list) and value:
        return tuple(
            _read_model(stack, f"{path}.{index}", item, one, problems)
            if isinstance(one, Mapping)
            else _wrong_kind(stack, f"{path}.{index}", one, "an object", _example(field, 1), problems)
            for index, one in enumerate(value)
        )
    try:
        return form.adapter.validate_python(value)
    except PydanticError as error:
        problems.extend(_problem(stack, path, field, one) for one in _distinct(rules.without_followers(error.errors())))
        return _REFUSED
    except RecursionError:
        return _wrong_kind(stack, path, value, "as flat as it should be", "write it with fewer levels", problems)


_FEWER: Final = {
    "machines": "make more clusters of them",
    "peers": "link with fewer",
    "api_allowed_cidrs": "join them to larger ranges",
    "ssh_allowed_cidrs": "join them to larger ranges",
}


def _too_many(stack: str, path: str, field: FieldInfo, value: list[Any] | dict[Any, Any]) -> Problem | None:
    """Looked at before any entry is, since every wrong one would have its own message."""
    if not isinstance(value, list if get_origin(field.annotation) is tuple else dict):
        return None
    limit = next((entry.max_length for entry in field.metadata if hasattr(entry, "max_length")), None)
    if limit is None or len(value) <= limit:
        return None
    rule = f"has {len(value)} entries; at most {limit} are possible"
    return Problem(stack, path, "", rule, _FEWER.get(path.rpartition(".")[2], "write fewer"))


def _wrong_kind(stack: str, path: str, value: object, kind: str, fix: str, problems: list[Problem]) -> Any:
    problems.append(Problem(stack, path, kind_of(value), f"is not {kind}", fix))
    return _REFUSED


def _read_model(
    stack: str, path: str, model: type[Section], values: Mapping[Any, Any], problems: list[Problem]
) -> Section:
    before = len(problems)
    known_fields = model.model_fields
    for key in values:
        if key not in known_fields:
            setting = f"{path}.{shown(key)}"
            rule = "is not a setting of this program"
            guess = _guess(str(key), list(known_fields), len(problems))
            problems.append(Problem(stack, setting, "", rule, guess))
    fields = {
        name: value
        for name, field in known_fields.items()
        if (value := _read_field(stack, f"{path}.{name}", field, values, problems)) is not _REFUSED
    }
    if len(problems) == before:
        return model.model_construct(**fields)
    built = model.model_construct()
    for name in known_fields:
        built.__dict__.pop(name, None)
    built.__dict__.update(fields)
    return built


class _Form:
    """What the values of a field have to be, found out once for all stack files."""

    def __init__(self, field: FieldInfo) -> None:
        self.model = model_of(field.annotation)
        self.item = item_model_of(field.annotation)
        self._field = field

    @functools.cached_property
    def kind(self) -> Kind | None:
        """What a value that Pulumi's commands wrote may have to be made."""
        return "object" if self.model is not None else _kind_of(self._field.annotation)

    @functools.cached_property
    def adapter(self) -> TypeAdapter[Any]:
        annotation: Any = self._field.annotation
        if self._field.metadata:
            annotation = Annotated[(annotation, *self._field.metadata)]
        return TypeAdapter(annotation)


@functools.cache
def _forms() -> dict[int, _Form]:
    return {}


def _form_of(field: FieldInfo) -> _Form:
    """The field's form. The fields live as long as their models, so their ids tell them apart."""
    forms = _forms()
    if (form := forms.get(id(field))) is None:
        form = forms[id(field)] = _Form(field)
    return form


def _kind_of(annotation: Any) -> Kind | None:
    """By the type behind ``Annotated[...]``, ``... | None`` and aliases of it."""
    if annotation in (int, bool):
        return "int" if annotation is int else "bool"
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind_of(inner[0])
    if origin in (tuple, dict):
        texts = origin is dict and get_args(inner[1])[:1] == (str,)
        return "list" if origin is tuple else ("texts" if texts else "object")
    return next((kind for one in inner if origin is not Literal and (kind := _kind_of(one)) is not None), None)


def model_of(annotation: Any) -> type[Section] | None:
    """The model behind ``Model`` or ``Model | None``."""
    for one in (annotation, *get_args(annotation)):
        if isinstance(one, type) and issubclass(one, Section):
            return one if get_origin(annotation) is not tuple else None
    return None


def item_model_of(annotation: Any) -> type[Section] | None:
    """The model behind ``tuple[Model, ...]``."""
    if get_origin(annotation) is tuple:
        item = get_args(annotation)[0]
        if isinstance(item, type) and issubclass(item, Section):
            return item
    return None


def _distinct(errors: list[Any]) -> Iterator[Any]:
    """Without the repetitions that the members of a union give: the first error of each place."""
    seen: set[tuple[str, ...]] = set()
    for error in errors:
        place = tuple(str(part) for part in error["loc"] if not str(part).startswith(("function-", "none", "literal")))
        if place not in seen:
            seen.add(place)
            yield {**error, "loc": place}


_TYPE_RULES: Final = {
    "string_type": "is not text",
    "int_type": "is not a whole number",
    "tuple_type": "is not a list",
    "dict_type": "is not an object",
    "model_type": "is not an object",
    "model_attributes_type": "is not an object",
}


UNSHOWN: Final = ("netbird.agent_env", "k3s.server_config", "k3s.agent_config")
"""Settings whose values no message shows, since somebody may have put a secret there."""
_OBJECTS: Final = ("dict_type", "model_type", "model_attributes_type")


def _problem(stack: str, path: str, field: FieldInfo, error: Any) -> Problem:
    cause = rules.cause_of(error)
    place = [
        HIDDEN if path in UNSHOWN and "=" in str(part) else shown(part) for part in error["loc"] if part != "[key]"
    ]
    if "[key]" in error["loc"] and cause is not None and cause.hide_value:
        place[-1] = HIDDEN
    setting = ".".join([path, *place])
    # A text where an object should be may be anything: a whole kubeconfig, for example.
    unshown = path in UNSHOWN or error["type"] in _OBJECTS
    value = "" if "[key]" in error["loc"] else (kind_of if unshown else shown)(error["input"])
    if isinstance(error["input"], str) and error["type"] in ("int_type", "bool_type"):
        value = f'"{value}"'
    example = _example(field, len(place), of_name="[key]" in error["loc"])
    if isinstance(error["input"], str) and holds_secret(error["input"]) and not unshown:
        rule = "has the form of a key or token, which stands here in plain text"
        return Problem(stack, setting, "", rule, f"make a new one, since this one has been in the file, and {example}")
    if cause is not None:
        return Problem(stack, setting, "" if cause.hide_value else value, cause.rule, cause.fix or example)
    context = error.get("ctx", {})
    match error["type"]:
        case "bool_type":
            return Problem(stack, setting, value, "is neither true nor false", "write true or false")
        case kind if kind in _TYPE_RULES:
            return Problem(stack, setting, value, _TYPE_RULES[kind], example)
        case "greater_than_equal":
            return Problem(stack, setting, value, f"is less than {context['ge']}", _bounds(field) or example)
        case "less_than_equal":
            return Problem(stack, setting, value, f"is more than {context['le']}", _bounds(field) or example)
        case "literal_error":
            return Problem(stack, setting, value, "is not one of the possible values", f"take {context['expected']}")
        case "too_short":
            return Problem(stack, setting, "", "is empty; at least one entry is needed", example)
        case "string_too_short":
            return Problem(stack, setting, "", "is empty", example)
        case "string_too_long":
            return Problem(stack, setting, "", f"has more than {context['max_length']} characters", example)
        case "string_pattern_mismatch":
            return Problem(stack, setting, value, "has not the right form", example)
        case _:
            return Problem(stack, setting, value, "is not a possible value", example)


def _missing(stack: str, path: str, field: FieldInfo) -> Problem:
    return Problem(stack, path, "", "is missing", _example(field))


def _example(field: FieldInfo, depth: int = 0, *, of_name: bool = False) -> str:
    """The example of the setting, or that many levels within it the one of an entry, or of an entry's name."""
    if not field.examples:
        return "see the example stack files"
    example = str(field.examples[0])
    if depth:
        value = safe_load(example)
        for level in range(depth, 0, -1):
            if isinstance(value, dict):
                value = next(iter(value if of_name and level == 1 else value.values()))
            elif isinstance(value, list):
                value = value[0]
        example = _flow(value)
    return f"write it like {example}"


def _flow(value: object) -> str:
    """Of the kinds that examples have, as YAML in one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {_flow(one)}' for name, one in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _bounds(field: FieldInfo) -> str | None:
    entries = list(_constraints([*field.metadata, field.annotation]))
    low = next((entry.ge for entry in entries if hasattr(entry, "ge")), None)
    high = next((entry.le for entry in entries if hasattr(entry, "le")), None)
    return None if low is None or high is None else f"take {low} to {high}"


def _constraints(parts: Collection[Any]) -> Iterator[Any]:
    """What is annotated on the field and on what it is made of, for example on the number of ``int | None``."""
    for part in parts:
        if isinstance(part, FieldInfo):
            yield from part.metadata
        elif metadata := getattr(part, "__metadata__", ()):
            yield from _constraints([*metadata, *get_args(part)])
        elif args := get_args(part):
            yield from _constraints(args)
        else:
            yield part
