"""The world around the clusters, made or completed: networks, servers, machines."""

from __future__ import annotations

from lab import netbird_server, network, topology
from lab.up.on_premise import start_sites
from lab.up.raising import Raising, again
from lab.up.services import power_on_servers, start_hetzner, start_mirror


def start_world(raising: Raising) -> None:
    """Networks, servers and machines."""
    again(raising, "Networks", lambda: network.create_all(raising.lab), usual_seconds=2)
    again(
        raising,
        f"NetBird server at {topology.NETBIRD_URL}",
        lambda: netbird_server.start(raising.tools["netbird-server"] / "netbird-server"),
        usual_seconds=4,
    )
    again(raising, f"Artifact mirror at {topology.MIRROR_URL}", start_mirror, usual_seconds=2)
    again(raising, f"Hetzner API stand-in at {topology.HETZNER_ENDPOINT}", start_hetzner, usual_seconds=2)
    again(raising, "On-premise machines", lambda: start_sites(raising), usual_seconds=8)
    again(raising, "Servers that are off", power_on_servers, usual_seconds=2)
