#!/usr/bin/python3
"""The probe image's HTTP server: tells who answers and whom it sees.

    GET /          "ok"
    GET /whoami    {"hostname": ..., "source": the client's address as seen here, "port": ..., "local": our address}
    GET /hostname  the pod's name, alone
    GET /bytes/N   N zero bytes, at most 64 MiB

It listens on $PORT (8080) on all addresses, IPv4.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MAXIMUM_BYTES = 64 << 20


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        """Answer one of the paths of the module's table."""
        path = self.path.split("?", 1)[0]
        if path == "/":
            self._answer(200, "text/plain", b"ok\n")
        elif path == "/hostname":
            self._answer(200, "text/plain", f"{socket.gethostname()}\n".encode())
        elif path == "/whoami":
            seen = {
                "hostname": socket.gethostname(),
                "source": self.client_address[0],
                "port": self.client_address[1],
                "local": self.connection.getsockname()[0],
            }
            self._answer(200, "application/json", f"{json.dumps(seen)}\n".encode())
        elif path.startswith("/bytes/") and path[7:].isdigit() and int(path[7:]) <= MAXIMUM_BYTES:
            self._answer(200, "application/octet-stream", bytes(int(path[7:])))
        else:
            self._answer(404, "text/plain", b"not found\n")

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the base class has.
        """One line per request on standard output."""
        print(f"{self.client_address[0]} {format % args}", flush=True)


class Server(ThreadingHTTPServer):
    """Room for many connections at once; threads end with the process."""

    request_queue_size = 128
    daemon_threads = True


def main() -> None:
    """Serve until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Server(("0.0.0.0", int(os.environ.get("PORT", "8080"))), Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
