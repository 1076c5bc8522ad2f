"""NetBird's real server in a network of its own: management with its account set up and empty of policies.

It listens on all addresses, and on port 33073 whatever it is told, so it needs a network in which nobody else is, and
with that root.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import secrets
import socket
import struct
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from tests.engine.api_server import free_port
from tests.engine.kube_api import until
from toolchain import ensure

START_SECONDS: Final = 120.0
CLONE_NEWNET: Final = 0x40000000
SIOCSIFFLAGS: Final = 0x8914
IFF_UP: Final = 1


class NetbirdProgram:
    """The server while it runs; ``token`` is that of its owner."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.token = ""

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer to a request below ``/api``. Raises OSError for a refusal."""
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Token {self.token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api{path}", data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise OSError(f"{method} {path}: {error.code}: {error.read().decode()[:300]}") from None

    def named(self, path: str, name: str) -> Any:
        """The one object of this name."""
        (found,) = [item for item in self.call("GET", path) or [] if item["name"] == name]
        return found


@contextmanager
def own_network() -> Iterator[None]:
    """A network with nothing but loopback, for this thread and what it starts, while the block runs."""
    library = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if library.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "no network of its own")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP))
        yield
    finally:
        library.setns(before, CLONE_NEWNET)
        os.close(before)


@contextmanager
def netbird_program(directory: Path) -> Iterator[NetbirdProgram]:
    """The server with an empty database in the directory."""
    ports = [free_port() for _ in range(4)]
    netbird = NetbirdProgram(f"http://127.0.0.1:{ports[0]}")
    (directory / "data").mkdir(parents=True)
    server = {
        "listenAddress": f"127.0.0.1:{ports[0]}",
        "exposedAddress": netbird.url,
        "stunPorts": [ports[1]],
        "healthcheckAddress": f"127.0.0.1:{ports[2]}",
        "metricsPort": ports[3],
        "logLevel": "info",
        "authSecret": secrets.token_hex(16),
        "dataDir": str(directory / "data"),
        "disableAnonymousMetrics": True,
        "disableGeoliteUpdate": True,
        "auth": {"issuer": f"{netbird.url}/oauth2"},
        "store": {"engine": "sqlite"},
    }
    config = directory / "config.yaml"
    config.write_text(yaml.safe_dump({"server": server}), encoding="utf-8")
    program = ensure(["netbird-server"])["netbird-server"] / "netbird-server"
    environment = {
        "PATH": os.defpath, "HOME": str(directory), "NB_SETUP_PAT_ENABLED": "true", "NB_DISABLE_GEOLOCATION": "true",
    }  # fmt: skip
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(program), "--config", str(config)], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            cwd=directory,
        )  # fmt: skip
    try:
        until(lambda: netbird.call("GET", "/instance"), "NetBird's server answers", START_SECONDS)
        owner = {"email": "tests@isthmus.test", "name": "Tests", "password": f"Aa1!{secrets.token_urlsafe(24)}"}
        answer = netbird.call("POST", "/setup", {**owner, "create_pat": True, "pat_expire_in": 1})
        netbird.token = answer["personal_access_token"]
        for policy in netbird.call("GET", "/policies") or []:
            netbird.call("DELETE", f"/policies/{policy['id']}")
        yield netbird
    finally:
        process.kill()
        process.wait()
