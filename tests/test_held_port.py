"""A port that a server leaves and takes again."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from tests.components.netbird_server import Netbird, running
from tests.held_port import held_port


def test_nobody_answers_while_the_server_is_away_and_it_comes_back_there() -> None:
    with ExitStack() as stack:
        port = held_port(stack)
        netbird = Netbird(f"http://127.0.0.1:{port}")
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), 5)
            with running(netbird):
                socket.create_connection(("127.0.0.1", port), 5).close()


def test_it_is_nobody_elses() -> None:
    with ExitStack() as stack:
        port = held_port(stack)
        other = stack.enter_context(socket.socket())
        with pytest.raises(OSError, match="Address already in use"):
            other.bind(("127.0.0.1", port))
