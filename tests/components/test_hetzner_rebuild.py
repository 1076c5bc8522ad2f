"""A server is switched off and gets an empty disk: what Hetzner is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from components.hetzner_client import HetznerClient, HetznerError
from components.hetzner_rebuild import RebuiltServer


class Client:
    def __init__(self, server: dict[str, Any] | None) -> None:
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self._server = server

    def act(self, path: str, body: Mapping[str, Any]) -> None:
        self.asked.append((path, body))

    def server(self, id_: int) -> dict[str, Any] | None:
        return self._server


def server(client: Client) -> RebuiltServer:
    return RebuiltServer(cast("HetznerClient", client), 7, "debian-12", "#cloud-config\n")


REBUILT = ("/servers/7/actions/rebuild", {"image": "debian-12", "user_data": "#cloud-config\n"})


@pytest.mark.parametrize(
    ("status", "asked"), [("running", [REBUILT]), ("off", [REBUILT, ("/servers/7/actions/poweron", {})])]
)
def test_it_is_rebuilt_and_runs(status: str, asked: list[Any]) -> None:
    client = Client({"status": status})
    server(client).begin_anew()
    assert client.asked == asked


@pytest.mark.parametrize(("status", "asked"), [("running", [("/servers/7/actions/poweroff", {})]), ("off", [])])
def test_it_is_switched_off(status: str, asked: list[Any]) -> None:
    client = Client({"status": status})
    server(client).switch_off()
    assert client.asked == asked


def test_looking_whether_it_is_there_changes_nothing() -> None:
    client = Client({"status": "running"})
    server(client).is_there()
    assert client.asked == []


def test_a_server_that_is_gone() -> None:
    with pytest.raises(HetznerError, match="servers/7 is gone"):
        server(Client(None)).is_there()
    with pytest.raises(HetznerError, match="servers/7 is gone"):
        server(Client(None)).switch_off()
    with pytest.raises(HetznerError, match="servers/7 is gone"):
        server(Client(None)).begin_anew()


def test_what_it_boots_with_is_in_no_message() -> None:
    assert "cloud-config" not in repr(server(Client(None)))
