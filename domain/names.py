"""Names that several parts must agree on: labels, ports, paths on a node. Interface: a rename here is a
change for running clusters.
"""

from __future__ import annotations

from typing import Final

PROJECT: Final = "isthmus"
FIELD_MANAGER: Final = "isthmus"
"""Whom the Kubernetes API notes as the owner of what this program applies to objects of others."""

KEEPER_MANAGER: Final = "isthmus-keeper"
"""Likewise of the field by which an egress policy names the node that is its gateway, whoever writes it."""

ROUTER_LABEL: Final = "isthmus.dev/router"
ROUTER_LABEL_VALUE: Final = "true"
"""The label of the Node that carries NetBird's router, the egress gateway and the DNS relay."""

METADATA_ADDRESS: Final = "169.254.169.254"
"""Where Hetzner and others hand out a server's user data, to anyone on the server who asks."""

VXLAN_PORT: Final = 8472
"""Cilium's tunnel between the nodes, UDP (https://docs.cilium.io/en/stable/operations/system_requirements/)."""
RELAY_PORT: Final = 1053
"""DNS relay, UDP and TCP. Not 53: NetBird's own resolver takes port 53 of the wt0 address."""
KEEPER_PORT: Final = 51823
"""Default of keeper.port: where the keepers of the routers hear each other, UDP."""
KEEPER_STATUS_PORT: Final = 8055
"""HTTP of a keeper, on 127.0.0.1 of its node alone."""
RELAY_SERVICE_OFFSET: Final = 53
"""The relay's ClusterIP is the service CIDR's base address plus this."""
CLUSTER_DNS_OFFSET: Final = 10
"""The default of network.cluster_dns, as in k3s: the service CIDR's base address plus this."""

K3S_CONFIG: Final = "/etc/rancher/k3s/config.yaml"
K3S_REGISTRIES: Final = "/etc/rancher/k3s/registries.yaml"
K3S_DATA: Final = "/var/lib/rancher"
"""The cluster's data and the images, on every node."""
KUBELET_DATA: Final = "/var/lib/kubelet"
"""Begun once k3s has let the machine in."""
K3S_BINARY: Final = "/usr/local/bin/k3s"
CILIUM_INTERFACE: Final = "cilium_host"
"""Cilium's own, on every node where it has begun."""
API_PORT: Final = 6443
K3S_LOCAL_API_PORT: Final = 6444
"""k3s's own load balancer for the API on 127.0.0.1 of every node, servers and agents."""

NODE_DIRECTORY: Final = "/usr/local/lib/isthmus"
INSTALL_SCRIPT: Final = f"{NODE_DIRECTORY}/install-k3s"
UNINSTALL_SCRIPT: Final = f"{NODE_DIRECTORY}/uninstall-k3s"
NODE_ENVIRONMENT: Final = f"{NODE_DIRECTORY}/k3s.env"
JOIN_SCRIPT: Final = f"{NODE_DIRECTORY}/join-k3s"
NODE_PASSWORD: Final = f"{NODE_DIRECTORY}/node-password"
MAY_START: Final = "/var/lib/isthmus/may-start"
"""On the server that may begin a cluster of several, until it has. What counts is that it is there."""
INSTALL_LOG: Final = "/var/log/isthmus-install-k3s.log"
"""Where the first boot of a Hetzner server leaves the output of install-k3s."""
