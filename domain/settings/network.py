"""The section ``network``: addresses and names of a cluster."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field

from domain.names import CLUSTER_DNS_OFFSET
from domain.settings.section import Section
from domain.values.addresses import HostAddress, NodeRange, host_bits_out, prefix_length, private_range
from domain.values.names import DnsZone

SERVICE_PREFIX_MINIMUM: Final = 12
"""kube-apiserver takes at most 2^20 service addresses."""
SERVICE_PREFIX_MAXIMUM: Final = 22
"""Of a smaller range the addresses kept for fixed ClusterIPs end below the relay's (offset 53)."""
POD_PREFIX_MINIMUM: Final = 10
POD_PREFIX_MAXIMUM: Final = 23
"""Every node takes a /24 of the pod CIDR, and there are at least two."""
PodCidr = Annotated[
    NodeRange,
    BeforeValidator(host_bits_out(at_least=POD_PREFIX_MINIMUM)),
    AfterValidator(private_range),
    AfterValidator(prefix_length(POD_PREFIX_MINIMUM, POD_PREFIX_MAXIMUM, "every node takes a /24 of it")),
]
ServiceCidr = Annotated[
    NodeRange,
    BeforeValidator(host_bits_out(at_least=SERVICE_PREFIX_MINIMUM)),
    AfterValidator(private_range),
    AfterValidator(
        prefix_length(
            SERVICE_PREFIX_MINIMUM,
            SERVICE_PREFIX_MAXIMUM,
            "the API server takes no larger one, and a smaller one has no room for the relay's fixed address",
        )
    ),
]
NodeCidr = Annotated[NodeRange, AfterValidator(prefix_length(8, 29, "the machines of a site have to fit into it"))]


class NetworkSettings(Section):
    """Addresses and names of the cluster. None of the ranges can change once the cluster runs."""

    pod_cidr: PodCidr = Field(examples=["10.42.0.0/16"])
    """Addresses of the pods. Distinct among linked clusters, because the link routes them."""
    service_cidr: ServiceCidr = Field(examples=["10.43.0.0/16"])
    """Addresses of the services (ClusterIPs). Distinct among linked clusters."""
    node_cidr: NodeCidr = Field(examples=["10.0.1.0/24"])
    """The network of the machines: the Hetzner subnet, or the LAN on-premise."""
    dns_zone: DnsZone = Field(examples=["de.internal"])
    """Zone of this cluster's names as all clusters of the fleet use them: SERVICE.NAMESPACE.svc.ZONE."""
    cluster_dns: HostAddress | None = Field(default=None, examples=["10.43.0.10"])
    """Address of the cluster's DNS service. Default: the tenth of the service CIDR, where k3s has it."""

    @property
    def cluster_dns_address(self) -> IPv4Address:
        """The address of the cluster's DNS service, given or derived."""
        return self.cluster_dns or self.service_cidr[CLUSTER_DNS_OFFSET]
