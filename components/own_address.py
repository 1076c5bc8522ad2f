"""The address with which this machine goes out to the Internet, without asking anybody for it.

It owns the look at the routes. Behind a NAT this is the machine's address at home, and nothing here knows the NAT's:
who does would have to be asked, and the program asks no stranger.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import IPv4Address
from typing import Final

SOMEWHERE: Final = ("192.0.2.1", 9)
"""Of a range for documentation: like most addresses, it is reached by the default route."""


def own_address() -> IPv4Address | None:
    """The source address of what leaves by the default route; None without one. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outgoing, suppress(OSError):
        outgoing.connect(SOMEWHERE)
        return IPv4Address(outgoing.getsockname()[0])
    return None
