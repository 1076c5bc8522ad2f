"""What the operator's process does by itself, as the real one: it waits for the lease of the one before, and ends where
one of its kinds is missing. The lab's stand-in at a real API server.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

from components.chart_crds import CRDS, keep_crds
from components.kubernetes_client import KubernetesClient
from components.netbird_operator import RELEASE
from tests.certificates import certified
from tests.domain.test_chart_crds import CHART
from tests.engine.api_server import ApiServer, free_port
from tests.engine.kube_api import until
from tests.engine.test_operator import create, has_release
from toolchain import ensure

pytestmark = [pytest.mark.engine, pytest.mark.thorough, pytest.mark.timeout(900)]

LEASE: Final = "/apis/coordination.k8s.io/v1/namespaces/netbird/leases/operator.netbird.io"
LEASE_SECONDS: Final = 15.0
"""controller-runtime's LeaseDuration: so long nobody takes a lease that was not given back. It is counted from the last
renewal that the other one has seen, and those come every 2 s."""
SYNC_SECONDS: Final = 120.0
"""controller-runtime's CacheSyncTimeout."""
KIND: Final = f"{CRDS}/networkresources.netbird.io"
Process = subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def api(servers: ApiServer) -> ApiServer:
    """The API server with the chart's record in Helm and its kinds, as an `up` brings them."""
    create(servers, "helm")
    files = {f"crds/{path.name}": path.read_bytes() for path in CHART.glob("crds/*.yaml")}
    assert len(files) == 12
    has_release(servers, files)
    assert len(keep_crds(KubernetesClient(servers.kubeconfig), "netbird", RELEASE)[1]) == 12
    return servers


@pytest.fixture
def start(api: ApiServer, tmp_path: Path) -> Iterator[Callable[[], Process]]:
    """Starts the operator's process; all of them are ended with SIGTERM afterwards."""
    made = certified("webhook.example")
    (tmp_path / "tls.crt").write_bytes(made.certificate)
    (tmp_path / "tls.key").write_bytes(made.key)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(api.kubeconfig, encoding="utf-8")
    program = ensure(["netbird-operator"])["netbird-operator"] / "netbird-operator"
    with ExitStack() as stack:
        log = stack.enter_context((tmp_path / "log").open("ab"))

        def begin() -> Process:
            return stack.enter_context(ending(program, tmp_path, kubeconfig, log.fileno()))

        yield begin


@contextmanager
def ending(program: Path, directory: Path, kubeconfig: Path, log: int) -> Iterator[Process]:
    arguments = [
        "--leader-elect", "--runtime-namespace=netbird", "--health-probe-bind-address=127.0.0.1:0",
        f"--webhook-port={free_port()}", f"--webhook-cert-path={directory}", "--netbird-api-key=none",
        "--netbird-management-url=http://127.0.0.1:9", "--netbird-client-image=i", "--egress-forwarder-image=i",
    ]  # fmt: skip
    environment = {"PATH": os.defpath, "KUBECONFIG": str(kubeconfig), "HOME": str(directory)}
    process = subprocess.Popen(
        [str(program), *arguments], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def holder(api: ApiServer) -> str:
    """Whose the lease is; empty where nobody's."""
    status, found = api.call("GET", LEASE)
    return str(found["spec"].get("holderIdentity") or "") if status == 200 else ""


def test_it_waits_for_the_lease_of_the_one_before(api: ApiServer, start: Callable[[], Process]) -> None:
    first = start()
    until(lambda: holder(api), "the first one has the lease", 60)
    before = holder(api)
    first.terminate()
    first.wait()
    ended = time.monotonic()
    assert holder(api) == before, "it does not give it back"
    start()
    until(lambda: holder(api) not in ("", before), "the second one has it", 60)
    assert time.monotonic() - ended >= LEASE_SECONDS - 3


def test_it_ends_without_one_of_its_kinds_which_an_up_brings_back(api: ApiServer, start: Callable[[], Process]) -> None:
    api.call("DELETE", KIND)
    until(lambda: api.call("GET", KIND)[0] == 404, "the kind is gone", 60)
    before = holder(api)
    process = start()
    until(lambda: holder(api) not in ("", before), "it has the lease and begins", 60)
    begun = time.monotonic()
    code = process.wait(timeout=SYNC_SECONDS + 60)
    took = time.monotonic() - begun
    assert code != 0
    assert took >= SYNC_SECONDS - 5, f"it ended after {took:.0f} s"

    _, applied = keep_crds(KubernetesClient(api.kubeconfig), "netbird", RELEASE)
    assert applied == ["networkresources.netbird.io"]
    before = holder(api)
    another = start()
    until(lambda: holder(api) not in ("", before), "the next one has the lease", 60)
    with pytest.raises(subprocess.TimeoutExpired):
        another.wait(timeout=SYNC_SECONDS + 20)
