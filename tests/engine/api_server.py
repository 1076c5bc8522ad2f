"""A real kube-apiserver with a real etcd behind it, on loopback: what an object's owners see, with nothing that acts.

There are no controllers, no scheduler and no node: a Deployment stays as it is written.
"""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from toolchain import ensure

TOKEN: Final = "token-of-the-api-server-of-the-engine-tests"
START_SECONDS: Final = 180.0
_APPLY: Final = "application/apply-patch+yaml"
_GIVEN: Final[set[int]] = set()


def free_port() -> int:
    """A port of loopback that nobody has, of those that the kernel gives to no connection (32768 and more) before it is
    used, and hardly another process of the tests. In this process nobody gets it twice.
    """
    while True:
        port = 12000 + secrets.randbelow(18000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _GIVEN:
            _GIVEN.add(port)
            return port


class ApiServer:
    """The server; :attr:`kubeconfig` is for everything that wants to use it."""

    def __init__(self, directory: Path, *, services: str = "10.43.0.0/16") -> None:
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []
        directory.mkdir(parents=True)
        tools = ensure(["etcd", "kubernetes"])
        etcd, peer, self._port = (f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}", free_port())
        key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        (directory / "service-accounts.key").write_bytes(key)
        (directory / "tokens.csv").write_text(f"{TOKEN},tests,tests\n")
        self._start(
            tools["etcd"] / "etcd", f"--data-dir={directory / 'etcd'}", "--unsafe-no-fsync", "--logger=zap",
            f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}", f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
        )  # fmt: skip
        self._start(
            tools["kubernetes"] / "kube-apiserver", f"--etcd-servers={etcd}", "--bind-address=127.0.0.1",
            # Of no use to anybody here, and looked for in the machine's routes otherwise.
            "--advertise-address=192.0.2.1",
            f"--secure-port={self._port}", f"--cert-dir={directory}", f"--token-auth-file={directory / 'tokens.csv'}",
            "--authorization-mode=AlwaysAllow", "--disable-admission-plugins=ServiceAccount", "--allow-privileged=true",
            f"--service-cluster-ip-range={services}", "--service-account-issuer=https://localhost",
            f"--service-account-key-file={directory / 'service-accounts.key'}",
            f"--service-account-signing-key-file={directory / 'service-accounts.key'}",
        )  # fmt: skip

    def _start(self, *command: Path | str) -> None:
        log = (self._directory / f"{Path(command[0]).name}.log").open("wb")
        self._processes.append(subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL))

    def wait(self) -> None:
        """Returns once it serves all that it stores, and has kube-system. Before it is ready it answers for its own
        kinds alone: of those that definitions make it says for a moment that there are none.
        """
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                said = [self.call("GET", path)[0] for path in ("/readyz", "/api/v1/namespaces/kube-system")]
                if said == [200, 200]:
                    return
                reason = f"/readyz and kube-system: {said}"
            except OSError as error:
                reason = str(error)
            for process in self._processes:
                assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
            assert time.monotonic() < end, f"no API within {START_SECONDS:.0f} s: {reason}"
            time.sleep(0.2)

    def stop(self) -> None:
        """Ends both."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()

    @property
    def kubeconfig(self) -> str:
        """Current context ``mn``, with a token."""
        authority = base64.b64encode((self._directory / "apiserver.crt").read_bytes()).decode()
        cluster = {"server": f"https://127.0.0.1:{self._port}", "certificate-authority-data": authority}
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "mn", "cluster": cluster}],
                "users": [{"name": "mn", "user": {"token": TOKEN}}],
                "contexts": [{"name": "mn", "context": {"cluster": "mn", "user": "mn"}}],
                "current-context": "mn",
            }
        )

    def call(self, method: str, path: str, body: Any = None, *, kind: str = "application/json") -> tuple[int, Any]:
        """Status and answer of one request; of a watch all events that came."""
        context = ssl.create_default_context(cafile=str(self._directory / "apiserver.crt"))
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=60, context=context)
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind}
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.headers.get_content_type() != "application/json":
            # A kind that is not served yet.
            return answer.status, text
        lines = [json.loads(line) for line in text.splitlines()] if "watch=1" in path else json.loads(text)
        return answer.status, lines

    def apply(self, path: str, body: Any, *, manager: str, force: bool = False) -> Any:
        """A server-side apply by somebody."""
        query = f"{path}?fieldManager={manager}&force={'true' if force else 'false'}"
        status, answer = self.call("PATCH", query, body, kind=_APPLY)
        assert status in (200, 201), answer
        return answer

    def events(self, collection: str, since: str) -> Iterator[dict[str, Any]]:
        """What has happened to the objects of a collection after a resource version, up to now."""
        now = max(int(one["metadata"]["resourceVersion"]) for one in self.call("GET", collection)[1]["items"])
        end = time.monotonic() + START_SECONDS
        while int(since) < now:
            # A watch ends with its second, also where it was told nothing in it.
            assert time.monotonic() < end, f"{collection}: no event of {now}, after {since}"
            path = f"{collection}?watch=1&resourceVersion={since}&timeoutSeconds=1"
            for event in self.call("GET", path)[1]:
                assert event["type"] in ("ADDED", "MODIFIED", "DELETED"), event
                since = event["object"]["metadata"]["resourceVersion"]
                yield event
