"""What tests with machines of their own stand on: a lab, a network of their own in it, and a mirror that serves it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Final

from domain.node_files import NodeFile
from domain.places.registry import StackSettings
from lab import base, cgroups, images, machines, mirror, network, processes, programs, state
from lab.standins.k3s.layout import COREDNS_IMAGE, PAUSE_IMAGE, VERSION
from tests.domain.one_stack import parse_stack
from toolchain import ensure

REPOSITORY: Final = Path(__file__).parents[2]
TOKEN: Final = "0123456789abcdef0123456789abcdef"
HOST_KEY: Final = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJd2gTWYGdEwEzvYjHAyO3XX9Cj4Z3wbqGPcBJ1HMGx7"


@contextlib.contextmanager
def a_lab(*, networks: bool = False) -> Iterator[None]:
    """The lab that is up, else one without anything in it, or with its ``networks``, that is taken down afterwards."""
    base.ensure_machine_tree()
    if state.read() is not None:
        yield
        return
    with state.exclusive():
        state.claim(REPOSITORY)
        cgroups.join()
        try:
            if networks:
                network.create_all()
            yield
        finally:
            left = state.teardown()
    assert left == []


@contextlib.contextmanager
def own_k3s(
    name: str,
    gateway: IPv4Interface,
    addresses: Mapping[str, IPv4Address],
    *images: str,
    root: Path,
    ranges: tuple[str, str],
    servers: Sequence[str],
    router: str,
) -> Iterator[StackSettings]:
    """An own network for machines at these addresses, and the settings of k3s on them: ``ranges`` of its pods and its
    services, everything from the mirror of that network.
    """
    with own_network(name, gateway, root, tuple(addresses), *images) as k3s_sha256:
        yield k3s_settings(
            k3s_sha256, ranges=ranges, gateway=gateway, addresses=addresses, servers=servers, router=router
        )


@contextlib.contextmanager
def own_network(name: str, gateway: IPv4Interface, root: Path, nodes: Sequence[str], *more: str) -> Iterator[str]:
    """A bridge with a mirror of k3s, its images and ``more`` of them at its gateway's address, served from ``root``.
    Gives the checksum of k3s. ``nodes`` are machines that end with it.
    """
    references = [f"docker.io/{PAUSE_IMAGE}", f"docker.io/{COREDNS_IMAGE}", *more]
    laid_out = mirror.prepare_mirror(root, k3s_version=VERSION, images=images.ensure_images(references))
    programs.lay_out(ensure(list(programs.TOOLS)))
    try:
        network.create_bridge(name, address=gateway)
        processes.spawn(
            f"{name}-mirror",
            [sys.executable, "-m", "lab.mirror", "--listen", f"{gateway.ip}:80", "--root", str(root)],
            netns=name,
            directory=REPOSITORY,
        )
        yield laid_out.k3s_sha256
    finally:
        for node in nodes:
            machines.destroy(node)
        processes.stop(f"{name}-mirror")
        network.delete_namespace(name)


def machine_at(name: str, address: IPv4Address, bridge: str, gateway: IPv4Interface) -> machines.MachineSpec:
    """An empty machine on that bridge."""
    return machines.MachineSpec(
        name=name,
        hostname=name,
        interfaces=(
            machines.Bridged(
                bridge_namespace=bridge,
                ifname="eth0",
                address=IPv4Interface(f"{address}/{gateway.network.prefixlen}"),
                gateway=gateway.ip,
            ),
        ),
        binds=(programs.bind(),),
    )


def lay(name: str, files: Sequence[NodeFile]) -> None:
    """Writes the program's files on the machine."""
    for file in files:
        script = f'mkdir -p "$(dirname {file.path})" && cat > {file.path} && chmod {file.mode:o} {file.path}'
        machines.exec(name, ["sh", "-c", script], text=file.content, check=True)


def k3s_settings(
    k3s_sha256: str,
    *,
    ranges: tuple[str, str],
    gateway: IPv4Interface,
    addresses: Mapping[str, IPv4Address],
    servers: Sequence[str],
    router: str,
) -> StackSettings:
    """Of a stack of such machines, that has no peer and everything from the mirror."""
    secret = {"secure": "v1:bm9uY2U=:Y2lwaGVy"}
    mirrored = f"http://{gateway.ip}"
    parsed = parse_stack(
        "test",
        {
            "isthmus:network": {
                "pod_cidr": ranges[0],
                "service_cidr": ranges[1],
                "node_cidr": str(gateway.network),
                "dns_zone": "test.internal",
            },
            "isthmus:peers": [],
            "isthmus:on_premise": {
                "machines": [
                    {
                        "name": name,
                        "address": str(address),
                        "role": "server" if name in servers else "agent",
                        "router": name == router,
                        "host_key": HOST_KEY,
                    }
                    for name, address in addresses.items()
                ],
                "ssh": {"user": "root", "port": 22},
            },
            "isthmus:k3s": {"version": VERSION, "sha256": k3s_sha256},
            "isthmus:mirrors": {
                "k3s": f"{mirrored}/k3s",
                "registries": {"docker.io": mirrored, "registry.isthmus.lab": mirrored},
            },
            "isthmus:clusterSecret": secret,
            "isthmus:netbirdApiToken": secret,
            "isthmus:sshPrivateKey": secret,
        },
    )
    assert isinstance(parsed, StackSettings), [str(problem) for problem in parsed]
    return parsed
