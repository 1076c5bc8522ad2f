"""What a stack file of the lab says otherwise than a user's, all of it: where Hetzner, NetBird and the artifacts are.

Nobody downloads anything in the lab, and its servers have no names and speak plain HTTP. What a user fills in as well,
addresses and host keys, is in lab/project.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab import topology
from lab.topology import HetznerSite, Site


@dataclass(frozen=True, kw_only=True)
class Artifacts:
    """What the mirror offers, as the settings name it."""

    k3s_version: str
    k3s_sha256: str
    k3s_directory: str
    charts_directory: str
    registries: Mapping[str, str]
    cilium_version: str
    operator_version: str
    agent_image: str


def own_settings(site: Site, artifacts: Artifacts, *, privileged: bool) -> dict[str, Any]:
    """The settings, as a stack file has them below ``config``; they go into a user's file with
    :func:`domain.merging.merged`.

    ``privileged`` lets Cilium's containers run privileged, which is needed only where root lacks CAP_SYS_RESOURCE.
    """
    settings: dict[str, Any] = {
        # The stand-in has the version of the Kubernetes that is built.
        "isthmus:k3s": {"version": artifacts.k3s_version, "sha256": artifacts.k3s_sha256},
        "isthmus:netbird": {
            "management_url": topology.NETBIRD_URL,
            # The server speaks plain HTTP here, and its relay then offers WebSocket only.
            "agent_env": {"NB_RELAY_TRANSPORT": "ws"},
        },
        "isthmus:mirrors": {
            "k3s": artifacts.k3s_directory,
            "charts": artifacts.charts_directory,
            "registries": dict(artifacts.registries),
        },
    }
    if privileged:
        settings["isthmus:cilium"] = {"values": {"securityContext": {"privileged": True}}}
    if isinstance(site, HetznerSite):
        settings |= {
            "hcloud:endpoint": topology.HETZNER_ENDPOINT,
            # The stand-in has done most of what it is asked for at once.
            "hcloud:pollInterval": "100ms",
            "hcloud:pollFunction": "constant",
        }
    return settings
