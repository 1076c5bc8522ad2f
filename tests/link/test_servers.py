"""Three servers in each cluster: each loses its power in turn, and the API, the link and `pulumi` do without it: a
preview looks as it does with all, and an `up` brings a new agent.

The lab is raised anew for it, since its clusters keep the number of servers that they were made with. In every round a
server of each cluster is off. To run it alone, on a machine without a lab or with one of three servers:
``./isthmus lab up --servers 3 && .venv/bin/python -m pytest -sv tests/link/test_servers.py``.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import pytest

from lab import machines
from lab.commands import wait_until
from lab.errors import CommandFailed, LabError
from lab.faults import FAULTS
from lab.kubernetes import Cluster, internal_ip, is_ready
from lab.project import Tools
from lab.pulumi_command import Pulumi
from lab.reporting import Silent
from lab.sites import of_lab
from lab.status import collect
from lab.topology import Topology
from lab.verify.run import verify
from tests.lab.etcd import members
from tests.link.assertions import ALL_BUT_THROUGHPUT, all_passed, in_health
from tests.link.changing import change_settings, changes_ahead, config_of, stack_files_kept, up
from tests.link.lab_command import lab_command

pytestmark = [pytest.mark.link, pytest.mark.thorough, pytest.mark.timeout(2400)]

SERVERS: Final = 3
CONTROL_PLANE: Final = "node-role.kubernetes.io/control-plane"
ANSWER_SECONDS: Final = 30.0
"""Within which another server takes a write when one has lost its power."""
K3S_LAYS_ANEW: Final = ("kubernetes:apps/v1:DeploymentPatch dns-coredns", "update")
NOTICED_SECONDS: Final = 600.0
"""Until the Node of a machine that is off is not ready: 50 s, and on a busy machine minutes: a guard."""
MOVED_SECONDS: Final = 300.0
BACK_SECONDS: Final = 600.0
HEALTHY_SECONDS: Final = 600.0


@pytest.fixture(scope="module")
def lab(tools: Tools) -> Topology:
    """A lab of three servers a cluster, in health."""
    if of_lab().servers != SERVERS:
        lab_command("down")
        lab_command("up", "--servers", str(SERVERS))
    raised = of_lab()
    assert [site.server_count for site in raised.sites] == [SERVERS] * len(raised.sites)
    in_health(raised, tools, within_seconds=HEALTHY_SECONDS)
    return raised


@pytest.fixture(scope="module")
def of_three(lab: Topology, tools: Tools) -> Mapping[str, Cluster]:
    """Its clusters by name."""
    return {site.name: Cluster(name=site.name, tools=tools) for site in lab.sites}


def servers(cluster: Cluster) -> dict[str, str]:
    """The cluster's servers and their addresses, in the order of their names."""
    nodes = cluster.get("nodes", selector=CONTROL_PLANE)
    return dict(sorted((node["metadata"]["name"], internal_ip(node)) for node in nodes))


def uid(cluster: Cluster) -> str:
    """What tells one cluster from another."""
    return cluster.kubectl("get", "namespace", "kube-system", "--output=jsonpath={.metadata.uid}").stdout


def planned(pulumi: Pulumi, stacks: Iterable[str]) -> dict[str, dict[str, str]]:
    """What previews would change, but for how CoreDNS is rolled out: k3s lays its manifest of it anew whenever a server
    starts, and with that its own ``maxUnavailable``.
    """
    ahead = {
        stack: {step.rpartition("$")[2]: op for step, op in steps.items()}
        for stack, steps in changes_ahead(pulumi, stacks).items()
    }
    others = {stack: dict(steps.items() - {K3S_LAYS_ANEW}) for stack, steps in ahead.items()}
    return {stack: steps for stack, steps in others.items() if steps}


def has_voters(server: str, addresses: Iterable[str]) -> bool:
    """Whether etcd on that server knows these members and no other, each with a vote."""
    return members(server) == dict.fromkeys(addresses, "voter")


def test_every_server_has_a_vote_and_serves(of_three: Mapping[str, Cluster]) -> None:
    for cluster in of_three.values():
        found = servers(cluster)
        assert len(found) == SERVERS
        for name in found:
            soon(f"all have a vote, by {name}", partial(has_voters, name, found.values()), BACK_SECONDS)
            assert machines.exec(name, ["k3s", "kubectl", "get", "--raw", "/readyz"], check=True).stdout == "ok"


def test_every_path_carries_and_a_preview_changes_nothing(lab: Topology, tools: Tools, pulumi: Pulumi) -> None:
    all_passed({result.id: result for result in verify(lab, tools, Silent(), only=ALL_BUT_THROUGHPUT)})
    assert planned(pulumi, [site.name for site in lab.sites]) == {}


@contextlib.contextmanager
def without_power(nodes: Collection[str]) -> Iterator[None]:
    """These machines are off while the block runs."""
    fault = FAULTS["machine-dead"]
    with ThreadPoolExecutor() as pool:
        try:
            list(pool.map(fault.make, nodes))
            yield
        finally:
            list(pool.map(fault.undo, nodes))


def takes_a_write(cluster: Cluster) -> bool:
    """Whether the API has noted something that nobody has written before."""
    mark = f"isthmus.dev/test={secrets.token_hex(8)}"
    words = ("annotate", "namespace", "default", mark, "--overwrite", "--request-timeout=5s")
    try:
        return cluster.kubectl(*words, check=False, deadline_seconds=10.0).returncode == 0
    except CommandFailed:
        return False


def soon(what: str, condition: Callable[[], object], seconds: float) -> None:
    """Waits until it holds; an API or an etcd that gives no answer meanwhile is not there yet."""
    last = [""]

    def look() -> bool:
        try:
            return bool(condition())
        except LabError as error:
            last[0] = str(error)
            return False

    wait_until(look, what=what, deadline_seconds=seconds, every_seconds=0.5, state=lambda: last[0])


def one_is_off(lab: Topology, tools: Tools) -> bool:
    """What the status says of each cluster: its API answers, and one of its servers does not."""
    found = collect(lab, tools).clusters
    return [(seen.reachable, list(seen.servers.values()).count(False)) for seen in found] == [(True, 1)] * len(found)


def node_is(cluster: Cluster, name: str, *, ready: bool) -> bool:
    """Whether the Node of that name is ready, or is not."""
    return [is_ready(node) for node in cluster.get("nodes") if node["metadata"]["name"] == name] == [ready]


def move_away(cluster: Cluster, node: str) -> None:
    """What stood on a machine that is off runs elsewhere: Kubernetes does so after five minutes, a person at once."""
    for pod in cluster.get("pods", namespace="*"):
        owners = {owner["kind"] for owner in pod["metadata"].get("ownerReferences", ())}
        if pod["spec"].get("nodeName") == node and not owners & {"DaemonSet", "Node"}:
            where = f"--namespace={pod['metadata']['namespace']}"
            cluster.kubectl("delete", "pod", pod["metadata"]["name"], where, "--force", "--wait=false")

    def whole() -> bool:
        found = cluster.get("deployments", namespace="*")
        return found != [] and all(
            workload["status"].get("availableReplicas", 0) >= workload["spec"]["replicas"]
            and workload["status"].get("observedGeneration") == workload["metadata"]["generation"]
            for workload in found
        )

    soon(f"what stood on {node} runs elsewhere", whole, MOVED_SECONDS)


@contextlib.contextmanager
def one_agent_more(pulumi: Pulumi, de: Cluster) -> Iterator[None]:
    """A further worker joins de by an `up` before the block, and leaves by another one after it."""
    workers = config_of("de")["isthmus:hetzner"]["workers"]["count"] + 1
    name = f"de-agent-{workers}"
    nodes = {node["metadata"]["name"] for node in de.get("nodes")}
    with stack_files_kept(["de"]):
        change_settings("de", {"hetzner.workers.count": workers})
        up(pulumi, ["de"])
        soon(f"{name} is ready", partial(node_is, de, name, ready=True), BACK_SECONDS)
        assert {node["metadata"]["name"] for node in de.get("nodes")} == {*nodes, name}
        yield
    up(pulumi, ["de"])
    assert {node["metadata"]["name"] for node in de.get("nodes")} == nodes


@pytest.mark.parametrize("number", range(SERVERS))
def test_no_server_is_missed(
    lab: Topology, of_three: Mapping[str, Cluster], tools: Tools, pulumi: Pulumi, number: int
) -> None:
    whole = {name: servers(cluster) for name, cluster in of_three.items()}
    before = {name: uid(cluster) for name, cluster in of_three.items()}
    off = {name: list(found)[number] for name, found in whole.items()}

    def answers(name: str) -> None:
        soon(f"{name} takes a write without {off[name]}", lambda: takes_a_write(of_three[name]), ANSWER_SECONDS)
        print(f"{off[name]} off: the next write after {time.monotonic() - begun:.1f} s")

    begun = time.monotonic()
    with contextlib.ExitStack() as joined:
        with without_power(off.values()):
            with ThreadPoolExecutor() as pool:
                list(pool.map(answers, off))
            assert {name: uid(cluster) for name, cluster in of_three.items()} == before
            soon("one server a cluster takes no connection, and its API answers", partial(one_is_off, lab, tools), 60.0)
            for name, cluster in of_three.items():
                soon(f"{off[name]} is not ready", partial(node_is, cluster, off[name], ready=False), NOTICED_SECONDS)
            # The kubeconfig of the first server is that of the last `up`; while it is away it leads to another.
            moved = {name: {f"pulumi:providers:kubernetes {name}": "update"} for name in off}
            assert planned(pulumi, off) == (moved if number == 0 else {})
            for name, cluster in of_three.items():
                move_away(cluster, off[name])
            all_passed({result.id: result for result in verify(lab, tools, Silent(), only=ALL_BUT_THROUGHPUT)})
            joined.enter_context(one_agent_more(pulumi, of_three["de"]))
        for name, cluster in of_three.items():
            soon(f"{off[name]} is a member", partial(has_voters, off[name], whole[name].values()), BACK_SECONDS)
            soon(f"{off[name]} is ready", partial(node_is, cluster, off[name], ready=True), BACK_SECONDS)
    in_health(lab, tools, within_seconds=HEALTHY_SECONDS)
    assert {name: uid(cluster) for name, cluster in of_three.items()} == before
    assert planned(pulumi, off) == {}
