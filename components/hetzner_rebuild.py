"""A server at Hetzner is switched off, gets an empty disk and boots as for the first time, with user data of now.

Hetzner's action ``rebuild`` overwrites the disk with an image and takes user data along since January 2026
(https://docs.hetzner.cloud/changelog#2026-01-16-server-rebuild-with-user-data). Id, addresses, private networks,
placement, SSH keys and price stay. The provider has no such thing, so it is asked here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import pulumi

from components.hetzner_client import HetznerClient, HetznerError

REBUILD_SECONDS: Final = 600.0
"""For an image on a slow host."""


@dataclass(frozen=True)
class RebuiltServer:
    """One server, and what it is to boot with."""

    client: HetznerClient
    id: int
    image: str
    user_data: str = field(repr=False)

    def is_there(self) -> None:
        """Hetzner knows it. Raises HetznerError."""
        self._status()

    def switch_off(self) -> None:
        """Returns once it is off, hard: what it holds is about to go. Raises HetznerError."""
        if self._status() != "off":
            self.client.act(f"/servers/{self.id}/actions/poweroff", {})

    def begin_anew(self) -> None:
        """Returns once it boots with an empty disk. Raises HetznerError."""
        self.client.act(f"/servers/{self.id}/actions/rebuild", {"image": self.image, "user_data": self.user_data})
        if self._status() == "off":
            self.client.act(f"/servers/{self.id}/actions/poweron", {})

    def _status(self) -> str:
        server = self.client.server(self.id)
        if server is None:
            raise HetznerError(f"Hetzner: servers/{self.id} is gone")
        return str(server["status"])


class RebuildServers:
    """The servers of one project."""

    def __init__(self, token: pulumi.Output[str], endpoint: str | None) -> None:
        self._token = token
        self._endpoint = endpoint

    async def later(
        self, id_: pulumi.Output[str], image: pulumi.Input[str], user_data: pulumi.Input[str]
    ) -> RebuiltServer:
        """One of them, once all of it is known."""
        known = await pulumi.Output.all(self._token, id_, image, user_data).future()
        token, server, image_, data = (str(value) for value in known or [])
        client = HetznerClient(token, self._endpoint, deadline_seconds=REBUILD_SECONDS)
        return RebuiltServer(client, int(server), image_, data)
