"""A port that is kept for a server which goes and comes back, and at which nobody answers meanwhile."""

from __future__ import annotations

import socket
from contextlib import ExitStack


def held_port(stack: ExitStack) -> int:
    """A port of 127.0.0.1 until the stack is closed: the kernel gives it to nobody who asks for any port, neither to
    listen nor to connect from. Whoever listens there by its number has to set SO_REUSEADDR, as Python's servers do.
    """
    holding = stack.enter_context(socket.socket())
    holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Bound, and not listening: who connects is refused, and others that reuse addresses may listen.
    holding.bind(("127.0.0.1", 0))
    return int(holding.getsockname()[1])
