"""Says that the DNS zone of a router is missing in NetBird, which the operator says in its log alone.

The operator (0.8.0) looks for the zone before it does anything for a NetworkRouter, and without it leaves neither a
condition nor an event: the engine would wait for Ready until its deadline and name no reason.
"""

from __future__ import annotations

import asyncio

import pulumi

from components.netbird_client import NetbirdClient


class MissingZoneError(Exception):
    """NetBird has no zone of the name that the router gives."""

    def __init__(self, zone: str) -> None:
        super().__init__(
            f"NetBird has no DNS zone {zone}, without which its operator does nothing for the router of this cluster; "
            "somebody deleted it. `pulumi up --refresh` sees that and makes it anew"
        )


def require_zone(client: NetbirdClient, zone: str) -> None:
    """Returns when the zone is there. Raises MissingZoneError, and NetbirdError when NetBird doesn't say."""
    if all(dns_zone["name"] != zone for dns_zone in client.list("/dns/zones")):
        raise MissingZoneError(zone)


def zone_hooks(zone: str, management_url: pulumi.Input[str], token: pulumi.Input[str]) -> pulumi.ResourceHookBinding:
    """For the options of the router: it is neither made nor changed without its zone. Needs the engine."""

    async def look(args: pulumi.ResourceHookArgs) -> None:
        known = await pulumi.Output.all(management_url, token).future()
        if known is not None:
            await asyncio.to_thread(require_zone, NetbirdClient(known[0], known[1]), zone)

    hook = pulumi.ResourceHook(f"zone-of-{zone}", look)
    return pulumi.ResourceHookBinding(before_create=[hook], before_update=[hook])
