"""Names of the other cluster by the resolvers that programs bring: glibc, musl, Go's own and c-ares as Node has it.

They run in a pod's network with a pod's resolv.conf (``ndots:5`` and three search domains), and ask the cluster's own
CoreDNS as pods do. What they find is what the API of the other cluster says.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from lab import cgroups
from lab.names import SERVICE, THROUGHPUT_SERVICE, host
from lab.project import Tools
from lab.topology import DEFAULT, VERIFY_NAMESPACE
from lab.verify.checks import World
from lab.verify.workload import Placement
from tests.link.many_names import ENDPOINTS, world_with_names
from tests.link.nats import in_network
from toolchain import Recipe
from toolchain.debian import ensure_packages
from toolchain.making import ensure_recipe
from toolchain.recipes import Binary

pytestmark = [pytest.mark.link, pytest.mark.thorough]

SOURCES: Final = Path(__file__).with_name("dns_clients")
GO: Final = Recipe(
    name="dns-lookup",
    version="1",
    module="tests/link/dns_clients",
    binaries=(Binary(file="lookup", package="isthmus/tests/link/dns_clients"),),
)
DENIED_SECONDS: Final = 3.0
"""A name that nobody knows, with every search domain tried."""
OPTIONS: Final = ("", "edns0", "use-vc", "single-request")
"""Of resolv.conf(5): a client takes those that it knows. TCP from the start, and one question after the other."""
_WITH_FILES: Final = (
    'for file in resolv.conf nsswitch.conf; do mount --bind "$0/$file" "$(readlink -f /etc/$file)"; done; exec "$@"'
)


@dataclass(frozen=True)
class Client:
    """``command`` is completed by a name, and the family where it takes one. ``whole``: it asks again over TCP where a
    datagram did not hold everything. ``searches``: it tries the search domains.
    """

    command: tuple[str, ...]
    families: tuple[str, ...] = ("4", "0")
    whole: bool = True
    searches: bool = True


@pytest.fixture(scope="module")
def world(tools: Tools) -> Iterator[World]:
    with world_with_names(tools) as made:
        yield made


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Client]:
    """Built, or installed from Debian's packages."""
    # musl's resolver asks by TCP since 1.2.4; Debian 12 has 1.2.3.
    ensure_packages(["gcc", "libc6-dev", "musl-tools", "nodejs"])
    directory = tmp_path_factory.mktemp("clients")
    for library, compiler in (("glibc", "gcc"), ("musl", "musl-gcc")):
        command = [compiler, "-O", "-o", str(directory / library), str(SOURCES / "getaddrinfo.c")]
        subprocess.run([*command, *(["-static"] if library == "musl" else [])], check=True)
    node = shutil.which("node")
    assert node
    return {
        "glibc": Client((str(directory / "glibc"),)),
        "musl": Client((str(directory / "musl"),), whole=False),
        "go": Client((str(ensure_recipe(GO) / "lookup"),)),
        "c-ares": Client((node, str(SOURCES / "resolve.mjs")), families=("",), searches=False),
    }


Ask = Callable[[Client, str, str], subprocess.CompletedProcess[str]]


def asking(world: World, placement: Placement, options: str, directory: Path) -> Ask:
    """A client as in de's pod."""
    services = world.probes["de"].cluster.get("services", namespace="kube-system")
    (address,) = [service["spec"]["clusterIP"] for service in services if service["metadata"]["name"] == "kube-dns"]
    domains = (f"{VERIFY_NAMESPACE}.svc.cluster.local", "svc.cluster.local", "cluster.local")
    (directory / "resolv.conf").write_text(
        f"nameserver {address}\nsearch {' '.join(domains)}\noptions ndots:5 {options}\n", encoding="utf-8"
    )
    (directory / "nsswitch.conf").write_text("hosts: files dns\n", encoding="utf-8")

    def ask(client: Client, name: str, family: str) -> subprocess.CompletedProcess[str]:
        inside: Sequence[str] = ["unshare", "--mount", "sh", "-ec", _WITH_FILES, str(directory)]
        words = [*inside, *client.command, name, *([family] if family else [])]
        pod = world.probes["de"].pod(placement)
        # Cilium leads what is sent to a ClusterIP elsewhere by the sender's cgroup.
        command = cgroups.wrap(f"{pod.node}/{cgroups.EXECUTED}", in_network(pod, words))
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    return ask


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("placement", ["router", "other"])
@pytest.mark.parametrize("name", ["glibc", "musl", "go", "c-ares"])
def test_a_client_finds_what_there_is(
    world: World, clients: dict[str, Client], name: str, placement: Placement, options: str, tmp_path: Path
) -> None:
    client, zone = clients[name], DEFAULT.site("mn").ranges.dns_zone
    ask = asking(world, placement, options, tmp_path)
    services = world.probes["mn"].cluster.get("services", namespace=VERIFY_NAMESPACE)
    (cluster_ip,) = [
        service["spec"]["clusterIP"] for service in services if service["metadata"]["name"] == THROUGHPUT_SERVICE
    ]
    slices = world.probes["mn"].cluster.get("endpointslices", namespace=VERIFY_NAMESPACE)
    (many,) = [slice_["endpoints"] for slice_ in slices if slice_["metadata"]["name"] == SERVICE]
    addresses = {endpoint["hostname"]: endpoint["addresses"][0] for endpoint in many}
    assert len(addresses) == ENDPOINTS

    def found(asked: str, family: str) -> set[str]:
        done = ask(client, asked, family)
        assert done.returncode == 0, f"{asked}: {done.stderr}"
        return set(done.stdout.split())

    for family in client.families:
        for end in ("", "."):
            where = f"{VERIFY_NAMESPACE}.svc.{zone}{end}"
            assert found(f"{THROUGHPUT_SERVICE}.{where}", family) == {cluster_ip}
            assert found(f"{host(7)}.{SERVICE}.{where}", family) == {addresses[host(7)]}
            whole = found(f"{SERVICE}.{where}", family)
            if client.whole:
                assert whole == set(addresses.values())
            else:
                assert whole
                assert whole <= set(addresses.values())
        if client.searches:
            # A short name is of the own cluster.
            own = world.probes["de"].cluster.get("services", namespace=VERIFY_NAMESPACE)
            (ours,) = [
                service["spec"]["clusterIP"] for service in own if service["metadata"]["name"] == THROUGHPUT_SERVICE
            ]
            assert found(f"{THROUGHPUT_SERVICE}.{VERIFY_NAMESPACE}", family) == {ours}
        begin = time.monotonic()
        denied = ask(client, f"no-such.{VERIFY_NAMESPACE}.svc.{zone}", family)
        assert denied.returncode == 1, denied.stdout
        assert time.monotonic() - begin < DENIED_SECONDS
