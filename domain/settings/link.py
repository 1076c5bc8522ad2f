"""The section ``link``: what a cluster's links carry."""

from __future__ import annotations

from pydantic import Field, StrictBool

from domain.settings.section import Section


class LinkSettings(Section):
    """What the links of this cluster carry besides packets from pod to pod, and names."""

    cluster_ips: StrictBool = Field(default=True, examples=[False])
    """Whether services with a ClusterIP are reached across: those of this cluster from its peers, and those of the
    peers from here. It is all services of a cluster or none, that of its Kubernetes API among them, and a peer's
    stack has it on as well. For it the nodes take packets for ClusterIPs from outside of the cluster
    (``bpf.lbExternalClusterIP`` in Cilium's chart), from a peer or from whoever else has a route to a node. Default:
    true, so that a peer's services are reached by the names that they have. With false only headless services and
    single pods are, the name of any other service gives an address that refuses, and Cilium's agents start anew."""
