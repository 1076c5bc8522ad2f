"""The warning of a preview that can't reach the cluster."""

from __future__ import annotations

import socket

from components.reachability import why_unreachable


def test_a_closed_port_is_named_and_an_open_one_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert why_unreachable("127.0.0.1", port) is None
    reason = why_unreachable("127.0.0.1", port)
    assert reason is not None
    assert "refused" in reason
