"""Three servers in each cluster: each loses its power in turn, and the API, the link and `pulumi` do without it: a
preview looks as it does with all, and an `up` brings a new agent. Each is made anew by its number while somebody writes
to the API, all get another type at Hetzner, and the first is replaced in Pulumi's own way.

The lab is raised anew for it, since its clusters keep the number of servers that they were made with. In every round a
server of each cluster is off. To run it alone, on a machine without a lab or with one of three servers:
``./isthmus lab up --servers 3 && .venv/bin/python -m pytest -sv tests/link/test_servers.py``.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

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
from lab.topology import LanMachine, OnPremiseSite, Topology
from lab.up.on_premise import boot, start_machine
from lab.verify.run import verify
from tests.lab.etcd import members
from tests.link.assertions import ALL_BUT_THROUGHPUT, all_passed, in_health
from tests.link.changing import at_hetzner, change_settings, changes_ahead, config_of, stack_files_kept, up
from tests.link.lab_command import lab_command
from tests.link.writing import writer

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
WRITE_SECONDS: Final = 30.0
"""The longest that somebody who writes to the API from an agent waits while a server is made anew."""
ANEW_SECONDS: Final = 1200.0
TYPE: Final = "cx43"
"""Another one than that of the lab, which is larger as little here as there."""


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


def uids(cluster: Cluster) -> dict[str, str]:
    """What tells a Node from another one of its name."""
    return {node["metadata"]["name"]: node["metadata"]["uid"] for node in cluster.get("nodes")}


def agent_of(cluster: Cluster) -> str:
    """A node that is no server."""
    return min(uids(cluster).keys() - servers(cluster).keys())


def of_hetzner(names: Collection[str]) -> dict[str, tuple[object, ...]]:
    """Id and addresses of these servers at Hetzner."""
    return {
        server["name"]: (
            server["id"],
            server["public_net"]["ipv4"]["ip"],
            *(attachment["ip"] for attachment in server["private_net"]),
        )
        for server in at_hetzner("servers")
        if server["name"] in names
    }


def raise_number(stack: str, name: str) -> None:
    """The machine of that node is to be made anew."""
    config = config_of(stack)
    if "isthmus:hetzner" in config:
        numbers = config["isthmus:hetzner"].get("generations") or {}
        change_settings(stack, {"hetzner.generations": {**numbers, name: numbers.get(name, 1) + 1}})
        return
    entries = config["isthmus:on_premise"]["machines"]
    raised = [{**entry, "generation": entry.get("generation", 1) + (entry["name"] == name)} for entry in entries]
    change_settings(stack, {"on_premise.machines": raised})


@pytest.mark.parametrize("number", range(SERVERS))
def test_each_server_is_made_anew_while_somebody_writes(
    lab: Topology, of_three: Mapping[str, Cluster], tools: Tools, pulumi: Pulumi, number: int
) -> None:
    """In both clusters at the same time. The numbers stay in the files: they only go up."""
    whole = {name: servers(cluster) for name, cluster in of_three.items()}
    anew = {name: list(found)[number] for name, found in whole.items()}
    before = {name: uid(cluster) for name, cluster in of_three.items()}
    at_first = of_hetzner(whole["de"])
    nodes = {name: uids(cluster) for name, cluster in of_three.items()}
    for stack, name in anew.items():
        raise_number(stack, name)
    with contextlib.ExitStack() as stack_of_writers:
        writers = [stack_of_writers.enter_context(writer(agent_of(cluster))) for cluster in of_three.values()]
        up(pulumi, anew)
    for found in writers:
        last = found.failed[-1] if found.failed else "none"
        print(
            f"{' and '.join(anew.values())} made anew: {found.node} wrote {len(found.taken)} times, waited "
            f"{found.longest_wait:.1f} s at most, {len(found.failed)} failed, the last: {last}"
        )
    for name, cluster in of_three.items():
        assert servers(cluster) == whole[name]
        after = uids(cluster)
        assert [node for node in after if after[node] != nodes[name][node]] == [anew[name]]
        for server in whole[name]:
            soon(f"{server} knows of three votes", partial(has_voters, server, whole[name].values()), BACK_SECONDS)
    assert {name: uid(cluster) for name, cluster in of_three.items()} == before
    assert of_hetzner(whole["de"]) == at_first
    assert max(found.longest_wait for found in writers) <= WRITE_SECONDS
    in_health(lab, tools, within_seconds=HEALTHY_SECONDS)
    assert planned(pulumi, anew) == {}


def test_the_first_server_replaced_by_pulumi_makes_no_second_cluster(
    lab: Topology, of_three: Mapping[str, Cluster], tools: Tools, pulumi: Pulumi
) -> None:
    """Another server at Hetzner under its name, with other addresses in public."""
    de = of_three["de"]
    whole, before = servers(de), uid(de)
    first = min(whole)
    at_first = of_hetzner(whole)
    pulumi.run(
        *("up", "--yes", "--skip-preview", "-s", "de", "--replace", f"**hcloud:index/server:Server::{first}"),
        deadline_seconds=ANEW_SECONDS,
    )
    after = of_hetzner(whole)
    assert {name for name in whole if after[name] != at_first[name]} == {first}
    assert (uid(de), servers(de)) == (before, whole)
    for server in whole:
        soon(f"{server} knows of three votes", partial(has_voters, server, whole.values()), BACK_SECONDS)
        asked = machines.exec(
            server,
            ["k3s", "kubectl", "get", "namespace", "kube-system", "--output=jsonpath={.metadata.uid}"],
            check=True,
        )
        assert asked.stdout == before, server
    in_health(lab, tools, within_seconds=HEALTHY_SECONDS)
    assert planned(pulumi, ["de"]) == {}


@contextlib.contextmanager
def two_servers_more(lab: Topology, stack: str) -> Iterator[Callable[[], None]]:
    """The settings of the stack have them until what it gives is called; on-premise there are two machines more, until
    the block ends.
    """
    site = lab.site(stack)
    with contextlib.ExitStack() as made, contextlib.ExitStack() as written:
        written.enter_context(stack_files_kept([stack]))
        if isinstance(site, OnPremiseSite):
            entries = list(config_of(stack)["isthmus:on_premise"]["machines"])
            first = len(entries) + 1
            for number in range(first, first + 2):
                machine = LanMachine(name=f"{stack}-{number}", address=site.ranges.nodes[10 + number], role="server")
                made.callback(machines.destroy, machine.name)
                key = start_machine(site, machine)
                boot(Silent(), machine.name)
                entry = {"name": machine.name, "address": str(machine.address), "role": "server", "host_key": key}
                entries.append(entry)
            change_settings(stack, {"on_premise.machines": entries})
        else:
            change_settings(stack, {"hetzner.control_plane.count": SERVERS + 2})
        yield written.close


@pytest.mark.parametrize("stack", ["de", "mn"])
def test_five_servers_and_three_again(
    lab: Topology, of_three: Mapping[str, Cluster], tools: Tools, pulumi: Pulumi, stack: str
) -> None:
    """Those that were there keep their machines, and somebody writes all the while."""
    cluster = of_three[stack]
    whole, before, at_first = servers(cluster), uid(cluster), uids(cluster)
    at_hetzner_first = {server["id"] for server in at_hetzner("servers")}
    with two_servers_more(lab, stack) as leave:
        with writer(agent_of(cluster)) as more:
            up(pulumi, [stack])
        five = servers(cluster)
        assert len(five) == SERVERS + 2
        for server in five:
            soon(f"{server} knows of five votes", partial(has_voters, server, five.values()), BACK_SECONDS)
        in_health(lab, tools, within_seconds=HEALTHY_SECONDS)
        assert planned(pulumi, [stack]) == {}
        leave()
        with writer(agent_of(cluster)) as fewer:
            up(pulumi, [stack])
    print(f"{stack} to five servers: waited {more.longest_wait:.1f} s at most; to three: {fewer.longest_wait:.1f} s")
    assert (uid(cluster), servers(cluster), uids(cluster)) == (before, whole, at_first)
    assert {server["id"] for server in at_hetzner("servers")} == at_hetzner_first
    for server in whole:
        soon(f"{server} knows of three votes", partial(has_voters, server, whole.values()), BACK_SECONDS)
    assert max(found.longest_wait for found in (more, fewer)) <= WRITE_SECONDS
    in_health(lab, tools, within_seconds=HEALTHY_SECONDS)
    assert planned(pulumi, [stack]) == {}


class Power:
    """What Hetzner says of its servers, looked at again and again."""

    def __init__(self, names: Collection[str]) -> None:
        self.names = names
        self.off: set[frozenset[str]] = set()
        """Which were off at the same time."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Power:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.2):
            states = {server["name"]: server["status"] for server in at_hetzner("servers")}
            if off := frozenset(name for name in self.names if states[name] != "running"):
                self.off.add(off)


def switched(names: Mapping[int, str], after: int) -> list[tuple[str, str]]:
    """What Hetzner was asked to do with the power and the types of these servers, by their ids, in the order of its
    log, from the action after that one on.
    """
    commands = ("stop_server", "change_server_type", "start_server")
    found = []
    for action in sorted(actions_at_hetzner(names), key=lambda item: int(item["id"])):
        if action["id"] > after and action["command"] in commands:
            (server,) = [names[resource["id"]] for resource in action["resources"] if resource["type"] == "server"]
            found.append((action["command"], server))
    return found


def actions_at_hetzner(ids: Iterable[int]) -> list[dict[str, Any]]:
    """The log of actions of these servers."""
    return [action for number in ids for action in at_hetzner(f"servers/{number}/actions")]


def test_all_servers_get_another_type_and_never_two_are_off(
    lab: Topology, of_three: Mapping[str, Cluster], tools: Tools, pulumi: Pulumi
) -> None:
    de = of_three["de"]
    whole, before = servers(de), uid(de)
    ids = {server["id"]: server["name"] for server in at_hetzner("servers") if server["name"] in whole}
    last = max(int(action["id"]) for action in actions_at_hetzner(ids))
    kind = config_of("de")["isthmus:hetzner"]["control_plane"]["server_type"]
    assert kind != TYPE
    change_settings("de", {"hetzner.control_plane.server_type": TYPE})
    with writer(agent_of(de)) as found, Power(whole) as power:
        up(pulumi, ["de"])
    print(f"another type: {found.node} wrote {len(found.taken)} times, waited {found.longest_wait:.1f} s at most")
    assert power.off == {frozenset({name}) for name in whole}
    done = switched(ids, last)
    assert done == [(command, name) for name in sorted(whole) for command in ("stop_server", "change_server_type")]
    types = {server["name"]: server["server_type"]["name"] for server in at_hetzner("servers")}
    assert {types[name] for name in whole} == {TYPE}
    for server in whole:
        soon(f"{server} knows of three votes", partial(has_voters, server, whole.values()), BACK_SECONDS)
    assert (uid(de), servers(de)) == (before, whole)
    assert found.longest_wait <= WRITE_SECONDS
    in_health(lab, tools, within_seconds=HEALTHY_SECONDS)
    assert planned(pulumi, ["de"]) == {}
