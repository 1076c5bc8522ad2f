"""Whole stacks as in ``world.py``, on machines of their own: mn on machines that are reached by SSH, de at Hetzner.

Real in addition are the logins, the machines' files and processes (``machine.py``), Hetzner's provider and the lab's
stand-in for Hetzner's API. All of it is in a network of its own, whose loopback interface has every address: that of a
machine in its LAN, at Hetzner the public and the private one.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from lab.base import ensure_machine_tree
from lab.standins.hetzner_api.backend import MemoryBackend
from tests.domain.samples import DE, MN, SSH_PRIVATE_KEY, changed, plan_of
from tests.engine.conftest import at
from tests.engine.machine import K3S, Login, Machine
from tests.engine.netbird_program import own_network
from tests.engine.project import Engine
from tests.engine.world import Site, World
from tests.lab.hetzner_api.conftest import StandIn
from toolchain import ensure

PUBLIC: Final = tuple(f"198.51.100.{number}" for number in range(101, 113))
"""What the stand-in gives out first."""
BOOT_SECONDS: Final = 6.0
"""From power to pods that run again, on a machine that has booted before."""
VERSION: Final = "v1.34.8+k3s1"
"""Another one than the peer's: of one version all clusters have the same file."""


class Servers(MemoryBackend):
    """Servers at Hetzner as machines: cloud-init's part is done at the first boot. ``world`` is set before any is
    made. One that is switched off loses its pods alone, and gets them again :data:`BOOT_SECONDS` after it has power;
    ``off`` are the times of that, by name, with none for its end as long as it lasts.
    """

    world: World

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        self.booted: dict[str, Machine] = {}
        self.boots = 0
        self.comes_back = True
        self.boots_again = True
        self.off: dict[str, tuple[float, float | None]] = {}
        self._again: list[threading.Timer] = []

    def stop(self, name: str, *, graceful: bool) -> None:
        """It has no power."""
        super().stop(name, graceful=graceful)
        self.off[name] = (time.monotonic(), None)

    def start(self, name: str) -> None:
        """Boots it, with an empty disk where it never ran before. A node that had left registers anew, as k3s does."""
        super().start(name)
        if name in self.booted:
            timer = threading.Timer(BOOT_SECONDS, self.boot_again, [name])
            timer.start()
            self._again.append(timer)
            return
        request = self.machines[name].request
        self.boots += 1
        assert request.user_data is not None
        keys = yaml.safe_load(request.user_data)["ssh_keys"]
        self.booted[name] = Machine(
            request.hostname,
            self._directory / f"{name}-{self.boots}",
            address=str(request.public_address),
            login=Login(keys["ed25519_private"], request.authorized_keys),
            kubeconfig=self.world.api.kubeconfig,
            user_data=request.user_data,
        )
        if self.comes_back and self.world.api.is_gone(f"/api/v1/nodes/{name}"):
            self.world.kubelet.join(name)

    def boot_again(self, name: str) -> None:
        """Its pods run again, where machines do boot again."""
        if self.boots_again:
            self.world.kubelet.boot_again(name)
            self.off[name] = (self.off[name][0], time.monotonic())

    def destroy(self, name: str) -> None:
        """It is gone, and its processes with it."""
        super().destroy(name)
        if name in self.booted:
            self.booted.pop(name).stop()

    def stop_all(self) -> None:
        """What a failed test has left."""
        for timer in self._again:
            timer.cancel()
        for machine in self.booted.values():
            machine.stop()


@contextmanager
def on_machines(
    engine: Engine, directory: Path, further: Sequence[Mapping[str, Any]] = ()
) -> Iterator[tuple[World, list[Machine]]]:
    """mn, not raised yet, and its machines, which have nothing but an SSH server. ``further``: besides those of the
    sample, without their keys.
    """
    given = [*MN["isthmus:on_premise"]["machines"], *further]
    keys = [Ed25519PrivateKey.generate() for _ in given]
    machines_with_keys = [{**entry, "host_key": public(key)} for entry, key in zip(given, keys, strict=True)]
    config = changed(MN, {"on_premise.machines": machines_with_keys})
    with ExitStack() as stack:
        stack.enter_context(_network([entry["address"] for entry in given]))
        world = _world(engine, directory, stack, "mn", config)
        may_come = public(load_ssh_private_key(SSH_PRIVATE_KEY.encode(), None))
        machines = []
        for key, entry in zip(keys, given, strict=True):
            private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
            login = Login(private, (may_come,))
            machine = Machine(
                entry["name"], directory, address=entry["address"], login=login, kubeconfig=world.api.kubeconfig
            )
            stack.callback(machine.stop)
            machines.append(machine)
        yield world, machines


@contextmanager
def at_hetzner(
    engine: Engine, directory: Path, changes: Mapping[str, Any] | None = None
) -> Iterator[tuple[World, StandIn]]:
    """de, not raised yet, with these changes of its settings, and Hetzner's API."""
    with ExitStack() as stack:
        private = [str(node.address) for node in plan_of("de", changed(DE, changes or {})).nodes]
        stack.enter_context(_network([*PUBLIC, *private]))
        servers = Servers(directory / "servers")
        hetzner = StandIn(directory / "hetzner", servers, first_public_address=IPv4Address(PUBLIC[0]))
        stack.callback(servers.stop_all)
        stack.callback(hetzner.stop)
        servers.world = _world(engine, directory, stack, "de", changed(at(hetzner), changes or {}))
        yield servers.world, hetzner


def public(key: Any) -> str:
    """The public key in a line."""
    return str(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode())


@contextmanager
def _network(addresses: Sequence[str]) -> Iterator[None]:
    """For this thread, with these addresses."""
    if os.geteuid() != 0:
        pytest.skip("machines need a network of the tests' own, and that root")
    # What may have to be fetched first.
    ensure(["etcd", "kubernetes", "netbird-operator"])
    ensure_machine_tree()
    with own_network():
        for address in addresses:
            subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
        yield


def _world(engine: Engine, directory: Path, stack: ExitStack, name: str, config: Mapping[str, Any]) -> World:
    plan = plan_of(name, config)

    def settings(mirror: str) -> Mapping[str, Any]:
        k3s = {"version": VERSION, "sha256": hashlib.sha256(k3s_of(VERSION)).hexdigest()}
        return changed(config, {"mirrors.k3s": f"{mirror}/k3s", "k3s": k3s})

    site = Site(
        name, "mn" if name == "de" else "de", settings,
        {node.name: str(node.address) for node in plan.nodes},
        str(plan.service_cidr),
        {node.name: node.labels for node in plan.nodes},
    )  # fmt: skip
    world = World(engine, directory, stack, site=site)
    release(directory, VERSION)
    return world


def k3s_of(version: str) -> bytes:
    """The binary of that release."""
    return K3S + f"# {version}\n".encode()


def release(directory: Path, version: str) -> str:
    """Puts it into the mirror of a site in that directory, and gives its checksum."""
    place = directory / "charts" / "k3s" / version
    place.mkdir(parents=True)
    (place / "k3s").write_bytes(k3s_of(version))
    return hashlib.sha256(k3s_of(version)).hexdigest()
