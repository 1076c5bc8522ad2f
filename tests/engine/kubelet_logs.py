"""The port of a played kubelet, as far as the API server asks it: the log of a container."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.certificates import certified


class LogPort:
    """Serves ``/containerLogs/NAMESPACE/POD/CONTAINER`` on a port of its own, by TLS as a kubelet does; ``log`` gives
    the text of a pod, None where there is no such pod.
    """

    def __init__(self, log: Callable[[str, str], str | None]) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 10.0

            def do_GET(self) -> None:
                _, kind, namespace, pod, *_ = self.path.partition("?")[0].split("/")
                text = log(namespace, pod) if kind == "containerLogs" else None
                body = (text or "not found").encode()
                self.send_response(404 if text is None else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        with TemporaryDirectory() as directory:
            file = Path(directory) / "kubelet.pem"
            # The API server asks for no certificate authority of a kubelet unless it is told to.
            file.write_bytes(certified("kubelet").pem)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(file)
        # The handshake is the handler's: one that does not come would keep all others waiting.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return int(self._server.server_address[1])

    def start(self, stack: ExitStack) -> None:
        """Serves until the stack is closed."""
        self._thread.start()
        stack.callback(self._server.server_close)
        stack.callback(self._thread.join)
        stack.callback(self._server.shutdown)
