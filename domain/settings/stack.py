"""What every stack has, wherever its cluster stands; ``places/registry.py`` adds the places."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from domain.settings.installed import (
    CiliumSettings,
    DnsSettings,
    K3sSettings,
    KeeperSettings,
    MirrorSettings,
    NetbirdSettings,
)
from domain.settings.link import LinkSettings
from domain.settings.network import NetworkSettings
from domain.settings.section import Section
from domain.values.names import StackName

PEERS_LIMIT: Final = 200


class CommonSettings(Section):
    """One stack file: one cluster, but for where it stands."""

    stack: StackName
    """The stack's name, which is the cluster's."""
    network: NetworkSettings = Field(
        examples=["{pod_cidr: 10.42.0.0/16, service_cidr: 10.43.0.0/16, node_cidr: 10.0.1.0/24, dns_zone: de.internal}"]
    )
    peers: tuple[StackName, ...] = Field(default=(), max_length=PEERS_LIMIT, examples=["[mn]"])
    """Stacks to be linked with; each of them lists this one, too. Default: none; a cluster may stand alone."""
    k3s: K3sSettings | None = None
    """Needed wherever the program installs k3s, that is without ``on_premise.kubeconfig``. Default: none, because an
    existing cluster has its own."""
    # model_construct, because a call of the class would build its checker.
    link: LinkSettings = LinkSettings.model_construct()
    cilium: CiliumSettings = CiliumSettings.model_construct()
    netbird: NetbirdSettings = NetbirdSettings.model_construct()
    keeper: KeeperSettings = KeeperSettings.model_construct()
    dns: DnsSettings = DnsSettings.model_construct()
    mirrors: MirrorSettings = MirrorSettings.model_construct()
