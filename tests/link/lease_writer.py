"""Writes to the API of its node's cluster five times a second, as whatever runs on an agent does: by the way of its own
k3s (127.0.0.1:6444), with the kubelet's certificate, into the only object that each kubelet may write: its Lease.

    lease_writer.py NODE

Each write has a connection of its own and is given up after five seconds. Of each one that the API has taken it prints
CLOCK_MONOTONIC, of each that failed why. At the end of stdin it ends.
"""

import base64
import http.client
import json
import ssl
import sys
import threading
import time
import urllib.parse
from pathlib import Path

import yaml

KUBECONFIG = Path("/var/lib/rancher/k3s/agent/kubelet.kubeconfig")
SERVER_NAME = "kubernetes.default.svc"
EVERY = 0.2
GIVEN_UP = 5.0


class Connection(http.client.HTTPSConnection):
    """Asks for the API server by one of its names, though it is reached by an address."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        super().__init__(host, port, timeout=GIVEN_UP, context=context)
        self._tls = context

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=SERVER_NAME)


def tls(cluster: dict[str, str], user: dict[str, str]) -> ssl.SSLContext:
    """As the kubelet's, whose certificates lie in files, or stand in the kubeconfig."""
    context = ssl.create_default_context(
        cafile=cluster.get("certificate-authority"),
        cadata=base64.b64decode(cluster.get("certificate-authority-data", "")).decode() or None,
    )
    context.load_cert_chain(user["client-certificate"], user.get("client-key"))
    return context


def until_stdin_ends(ended: threading.Event) -> None:
    """Sets it then."""
    sys.stdin.read()
    ended.set()


def main(node: str) -> None:
    """Works until stdin ends."""
    kubeconfig = yaml.safe_load(KUBECONFIG.read_text())
    cluster = kubeconfig["clusters"][0]["cluster"]
    context = tls(cluster, kubeconfig["users"][0]["user"])
    server = urllib.parse.urlsplit(cluster["server"])
    path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node}"
    ended = threading.Event()
    threading.Thread(target=until_stdin_ends, args=[ended], daemon=True).start()
    number = 0
    while not ended.is_set():
        begun = time.monotonic()
        number += 1
        body = json.dumps({"metadata": {"annotations": {"isthmus.dev/test-write": str(number)}}})
        connection = Connection(str(server.hostname), server.port or 443, context)
        try:
            connection.request("PATCH", path, body, {"Content-Type": "application/merge-patch+json"})
            answer = connection.getresponse()
            said = answer.read()
            failed = "" if answer.status == 200 else f"{answer.status} {said[:200]!r}"
        except (OSError, http.client.HTTPException) as error:
            failed = f"{type(error).__name__}: {error}"
        finally:
            connection.close()
        print(json.dumps({"at": time.monotonic(), "failed": failed}), flush=True)
        ended.wait(max(0.0, begun + EVERY - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1])
