"""What the machine's service manager and its journal are told."""

from __future__ import annotations

import contextlib
import os
import socket
import sys


def log(message: str) -> None:
    """One line for the journal."""
    print(f"k3s stand-in: {message}", file=sys.stderr, flush=True)


def notify(state: str) -> None:
    """sd_notify(3); nothing without a service manager."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection, contextlib.suppress(OSError):
        connection.connect("\0" + address[1:] if address.startswith("@") else address)
        connection.sendall(state.encode())


def journal_stream(identifier: str) -> socket.socket | None:
    """A stream into the journal under a name of its own, so that `journalctl -t kubelet` shows the kubelet.

    It speaks systemd-journald's stdout protocol; None where there is no journal.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect("/run/systemd/journal/stdout")
        # Identifier, unit (the journal finds it), priority, no level prefix, no forwarding to syslog, kmsg, console.
        connection.sendall(f"{identifier}\n\n6\n0\n0\n0\n0\n".encode())
        connection.shutdown(socket.SHUT_RD)
    except OSError:
        connection.close()
        return None
    return connection
