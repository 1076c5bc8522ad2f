"""The warning of a preview that can't reach the cluster."""

from __future__ import annotations

import socket

import pytest

from components.reachability import api_server, why_unreachable

KUBECONFIG = """
current-context: de
contexts:
- {name: de, context: {cluster: one, user: me}}
- {name: other, context: {cluster: two, user: me}}
clusters:
- {name: one, cluster: {server: "https://198.51.100.101:6443"}}
- {name: two, cluster: {server: "https://api.example.net"}}
"""


@pytest.mark.parametrize(
    ("context", "expected"),
    [(None, ("198.51.100.101", 6443)), ("de", ("198.51.100.101", 6443)), ("other", ("api.example.net", 443))],
)
def test_the_server_of_the_context(context: str | None, expected: tuple[str, int]) -> None:
    assert api_server(KUBECONFIG, context) == expected


def test_a_closed_port_is_named_and_an_open_one_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert why_unreachable("127.0.0.1", port) is None
    reason = why_unreachable("127.0.0.1", port)
    assert reason is not None
    assert "refused" in reason
