"""Three servers and an agent on machines: the k3s stand-in with the real etcd, set up by the program's own files.

What the program has to hold is held here against what k3s does: that no server but one that may begins a cluster, that
whichever server is away is not missed, and that a server which was made anew comes back as a member.

With a lab up these tests add machines of their own to it and remove them; else they make a lab and take it down.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Interface
from posixpath import dirname
from typing import Final

import pytest
import yaml

from domain.names import INSTALL_SCRIPT, K3S_CONFIG, MAY_START
from domain.node_files import NodeFile, node_files, script
from domain.places.registry import StackSettings
from domain.plan import AddressPlan, address_plan
from lab import machines
from lab.commands import wait_until
from lab.errors import LabError
from lab.standins.k3s.membership import ADDRESS_ANNOTATION, FINALIZER
from tests.lab.etcd import members
from tests.lab.raised import TOKEN, lay, machine_at, own_k3s

pytestmark = [
    pytest.mark.link,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(os.geteuid() != 0, reason="machines need root"),
]

NETWORK: Final = "isthmus-test-ha"
GATEWAY: Final = IPv4Interface("10.78.1.1/24")
SERVERS: Final = ("test-ha-1", "test-ha-2", "test-ha-3")
AGENT, LATER, REINSTALLED = "test-ha-4", "test-ha-5", "test-ha-6"
AGENTS: Final = (AGENT, LATER, REINSTALLED)
ADDRESSES: Final = {name: GATEWAY.network[10 + number] for number, name in enumerate((*SERVERS, *AGENTS), 1)}
ANSWER_SECONDS: Final = 30.0
"""Within which another server answers when one has lost its power."""
JOIN_SECONDS: Final = 240.0
"""A learner gets its vote at the leader's next look, every 15 s, and k3s that was refused starts again after 5 s."""
ROUNDS_ALONE: Final = int(re.findall(r"^rounds_alone=([0-9]+)$", script("join-k3s.sh"), re.MULTILINE)[0])


@dataclass
class Cluster:
    """Machines of the cluster, made and made anew by name."""

    parsed: StackSettings
    plan: AddressPlan = field(init=False)

    def __post_init__(self) -> None:
        self.plan = address_plan(self.parsed)

    def files(self, name: str, password: str | None = None) -> tuple[NodeFile, ...]:
        (node,) = [planned for planned in self.plan.nodes if planned.name == name]
        return node_files(self.plan, node, self.parsed, TOKEN, password or f"password of {name}")

    def make(self, name: str) -> None:
        """An empty machine of this name and address."""
        machines.destroy(name)
        machines.create(machine_at(name, ADDRESSES[name], NETWORK, GATEWAY))
        machines.start(name)
        machines.wait_boot(name)

    def install(self, name: str, files: Sequence[NodeFile] | None = None) -> None:
        """What the program does on a machine; returns once k3s is up."""
        lay(name, self.files(name) if files is None else files)
        machines.exec(name, [INSTALL_SCRIPT], check=True, deadline_seconds=300)

    def begin(self, name: str, files: Sequence[NodeFile] | None = None) -> None:
        """The same, without waiting for k3s."""
        lay(name, self.files(name) if files is None else files)
        machines.exec(name, ["sh", "-c", f"setsid {INSTALL_SCRIPT} >/tmp/installed 2>&1 &"], check=True)

    def run(self, name: str, *argv: str, text: str = "") -> str:
        return machines.exec(name, argv, text=text, check=True, deadline_seconds=120).stdout

    def kubectl(self, at: str, *arguments: str) -> str:
        return self.run(at, "k3s", "kubectl", "--request-timeout=10s", *arguments)

    def uid(self, at: str) -> str:
        """What tells one cluster from another."""
        return self.kubectl(at, "get", "namespace", "kube-system", "--output=jsonpath={.metadata.uid}")

    def members(self, at: str) -> dict[str, str]:
        """Node -> voter, learner or new, as etcd on a server lists them."""
        return members(at)

    def serves(self, at: str) -> bool:
        """Whether the API of a server is ready."""
        return self.kubectl(at, "get", "--raw", "/readyz") == "ok"

    def knows_of_all_votes(self, at: str) -> bool:
        """Whether etcd on a server lists all servers as voters, and nobody else."""
        return self.members(at) == VOTERS

    def is_noted(self, at: str, name: str) -> bool:
        """Whether k3s has marked the Node of a server as its member's. It does so a moment after the Node is there, and
        only with that mark it takes the member out when the Node is deleted.
        """
        metadata = json.loads(self.kubectl(at, "get", "node", name, "--output=json"))["metadata"]
        return ADDRESS_ANNOTATION in (metadata.get("annotations") or {}) and FINALIZER in (
            metadata.get("finalizers") or ()
        )

    def ready(self, at: str) -> set[str]:
        """Nodes of which the cluster has heard a moment ago. There is no network for pods, so none is Ready."""
        listed = json.loads(self.kubectl(at, "get", "nodes", "--output=json"))["items"]
        return {
            node["metadata"]["name"]
            for node in listed
            for condition in node["status"].get("conditions", ())
            if condition["type"] == "Ready" and condition["status"] != "Unknown"
        }

    def says(self, name: str, text: str) -> bool:
        """Whether that stands in the journal of its k3s."""
        unit = "k3s" if name in SERVERS else "k3s-agent"
        return text in self.run(name, "journalctl", "--unit", unit, "--no-pager", "--output=cat")


def rounds(name: str, count: int) -> Callable[[], bool]:
    """Whether join-k3s has asked the others so many times from now on: after each it sleeps, in another process."""
    seen: set[str] = set()

    def look() -> bool:
        unit = machines.exec(name, ["pgrep", "--full", "join-k3s"]).stdout.split()
        for pid in unit:
            seen.update(machines.exec(name, ["pgrep", "--parent", pid, "--exact", "sleep"]).stdout.split())
        return len(seen) >= count

    return look


VOTERS: Final = {str(ADDRESSES[name]): "voter" for name in SERVERS}


def is_so(what: str, condition: Callable[[], object], seconds: float = JOIN_SECONDS) -> None:
    """Waits until it holds; what fails meanwhile does not hold, and at the deadline it is said why."""
    last = [""]

    def look() -> bool:
        try:
            return bool(condition())
        except (LabError, ValueError, KeyError) as error:
            last[0] = str(error)
            return False

    wait_until(look, what=what, deadline_seconds=seconds, every_seconds=1, state=lambda: last[0] + journals())


def journals() -> str:
    """The end of what k3s says on each machine that runs."""
    units = ("--unit", "k3s", "--unit", "k3s-agent", "--no-pager", "--output=cat", "--lines=25")
    there = [name for name in ADDRESSES if machines.running(name)]
    said = [f"--- {name}\n{machines.exec(name, ['journalctl', *units]).stdout}" for name in there]
    return "\n".join(["", *said])


@pytest.fixture(scope="module")
def cluster(lab: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    root = tmp_path_factory.mktemp("mirror")
    ranges = "10.64.0.0/16", "10.65.0.0/16"
    with own_k3s(NETWORK, GATEWAY, ADDRESSES, root=root, ranges=ranges, servers=SERVERS, router=AGENT) as parsed:
        made = Cluster(parsed)
        with ThreadPoolExecutor() as pool:
            list(pool.map(made.make, (*SERVERS, AGENT)))
        # As at Hetzner: all of them boot and wait, and then one is told that it may begin.
        for name in (*SERVERS, AGENT):
            made.begin(name)
        for name in SERVERS:
            is_so(f"{name} waits", partial(made.says, name, "waits for a server with a cluster"))
            assert machines.exec(name, ["pgrep", "-x", "etcd"]).returncode != 0
        made.run(SERVERS[0], "sh", "-c", f"mkdir -p {dirname(MAY_START)}; touch {MAY_START}")
        is_so("three servers have a vote", lambda: made.members(SERVERS[0]) == VOTERS, 2 * JOIN_SECONDS)
        is_so("all are nodes", lambda: made.ready(SERVERS[0]) == {*SERVERS, AGENT})
        for name in SERVERS:
            is_so(f"the Node of {name} is noted as a member's", partial(made.is_noted, SERVERS[0], name))
        yield made


def test_every_server_has_the_whole_cluster(cluster: Cluster) -> None:
    uids = {cluster.uid(name) for name in SERVERS}
    assert len(uids) == 1
    for name in SERVERS:
        is_so(f"{name} is ready", partial(cluster.serves, name))
        # Each tells what it has itself, which a follower has a moment after the leader.
        is_so(f"{name} knows of all votes", partial(cluster.knows_of_all_votes, name))
    is_so("the permission has gone", lambda: machines.exec(SERVERS[0], ["test", "-e", MAY_START]).returncode != 0)


def test_an_agent_knows_all_servers(cluster: Cluster) -> None:
    def known() -> set[str]:
        kept = json.loads(cluster.run(AGENT, "cat", "/var/lib/rancher/k3s/agent/etc/k3s-agent-load-balancer.json"))
        return set(kept["ServerAddresses"])

    is_so("it knows them", lambda: known() == {f"{ADDRESSES[name]}:6443" for name in SERVERS})


def through_the_agent(cluster: Cluster) -> str:
    """The API as everything on the agent reaches it."""
    kubeconfig = yaml.safe_load(cluster.run(SERVERS[1], "cat", "/etc/rancher/k3s/k3s.yaml"))
    kubeconfig["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:6444"
    return yaml.safe_dump(kubeconfig)


@pytest.mark.parametrize(
    "away", [SERVERS[0], *(pytest.param(name, marks=pytest.mark.thorough) for name in SERVERS[1:])]
)
def test_any_server_may_lose_its_power(cluster: Cluster, away: str) -> None:
    others = [name for name in SERVERS if name != away]
    kubeconfig = through_the_agent(cluster)
    ask = ["/usr/libexec/isthmus-lab/kubectl", "--kubeconfig=/dev/stdin", "--request-timeout=5s", "create", "configmap"]
    before = cluster.uid(others[0])

    def writes(number: int) -> bool:
        name = f"while-{away}-is-away-{number}"
        return machines.exec(AGENT, [*ask, name], text=kubeconfig, deadline_seconds=20).returncode == 0

    numbers = iter(range(1000))
    is_so("the agent writes to the API while all are there", lambda: writes(next(numbers)))
    machines.cut_power(away)
    try:
        begun = time.monotonic()
        is_so("the agent writes to the API", lambda: writes(next(numbers)), ANSWER_SECONDS)
        print(f"{away} off: the next write by the agent after {time.monotonic() - begun:.1f} s")
        # The one that the agent has reached need not be the one that is asked.
        is_so("both others serve", lambda: {cluster.uid(name) for name in others} == {before})
        if away == SERVERS[0]:
            cluster.make(LATER)
            cluster.install(LATER)
            is_so("a new agent joins meanwhile", lambda: LATER in cluster.ready(others[0]))
        # It may have spoken to the one that is away, and the others hear of it once it has left that.
        is_so("the agent is heard of", lambda: AGENT in cluster.ready(others[0]))
    finally:
        machines.start(away)
        machines.wait_boot(away)
    is_so(f"{away} is back", lambda: cluster.uid(away) == before and away in cluster.ready(others[0]))
    assert cluster.members(others[0]) == VOTERS


def test_a_server_made_anew_reaches_nobody_and_begins_no_cluster(cluster: Cluster) -> None:
    """Then it reaches the others, which count a member of its name until the Node is deleted."""
    first, other = SERVERS[0], SERVERS[1]
    before = cluster.uid(other)
    cluster.make(first)
    for name in SERVERS[1:]:
        cluster.run(first, "ip", "route", "add", "blackhole", f"{ADDRESSES[name]}/32")
    cluster.begin(first)
    is_so("it waits", partial(cluster.says, first, "waits for a server with a cluster"))
    # More than after which a server that may begin a cluster does: what is looked for is that nothing happens.
    is_so("it has asked in vain for several rounds", rounds(first, ROUNDS_ALONE + 2))
    assert machines.exec(first, ["pgrep", "-x", "etcd"]).returncode != 0
    assert machines.exec(first, ["test", "-e", "/var/lib/rancher/k3s/server/db/etcd/member"]).returncode != 0

    for name in SERVERS[1:]:
        cluster.run(first, "ip", "route", "del", "blackhole", f"{ADDRESSES[name]}/32")
    is_so("it is refused", partial(cluster.says, first, "duplicate node name found"))
    assert cluster.members(other) == VOTERS
    cluster.kubectl(other, "delete", "node", first, "--timeout=60s")
    is_so("it is a member", lambda: cluster.members(first) == VOTERS and cluster.members(other) == VOTERS)
    is_so("it serves", lambda: cluster.uid(first) == before and first in cluster.ready(other))
    is_so("its Node is noted as a member's", partial(cluster.is_noted, other, first))


@pytest.mark.thorough
def test_what_was_rendered_before_made_a_second_cluster(cluster: Cluster) -> None:
    """The fault itself: `cluster-init` in the settings of the first server, on an empty disk."""
    first, other = SERVERS[0], SERVERS[1]
    before = cluster.uid(other)
    cluster.make(first)
    old = []
    for file in cluster.files(first):
        content = file.content
        if file.path == K3S_CONFIG:
            content = yaml.safe_dump({**yaml.safe_load(content), "cluster-init": True})
        if file.path.endswith(".service"):
            content = "".join(line for line in content.splitlines(True) if "join-k3s" not in line)
        old.append(NodeFile(file.path, file.mode, content))
    cluster.install(first, old)
    assert cluster.uid(first) != before
    assert cluster.uid(other) == before
    assert cluster.members(first) == {str(ADDRESSES[first]): "voter"}

    # Back into the cluster, as a person would bring it.
    cluster.make(first)
    cluster.begin(first)
    is_so("it is refused", partial(cluster.says, first, "duplicate node name found"))
    cluster.kubectl(other, "delete", "node", first, "--timeout=60s")
    is_so("it is a member again", lambda: cluster.members(other) == VOTERS and cluster.uid(first) == before)
    is_so("its Node is noted as a member's", partial(cluster.is_noted, other, first))


@pytest.mark.thorough
def test_an_agent_that_was_installed_anew_comes_back_and_another_machine_does_not(cluster: Cluster) -> None:
    cluster.make(REINSTALLED)
    cluster.install(REINSTALLED)
    is_so("it is a node", lambda: REINSTALLED in cluster.ready(SERVERS[0]))
    cluster.make(REINSTALLED)
    cluster.install(REINSTALLED)
    cluster.make(REINSTALLED)
    cluster.begin(REINSTALLED, cluster.files(REINSTALLED, "of another machine"))
    is_so("it is rejected", partial(cluster.says, REINSTALLED, "Node password rejected"))
    cluster.kubectl(SERVERS[0], "delete", "node", REINSTALLED)
    is_so("it is a node", lambda: REINSTALLED in cluster.ready(SERVERS[0]))
