"""Servers at Hetzner get another type: the next one waits until those before it work again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import pytest

from components import former_node, type_changes
from components.former_node import LastUpdate
from components.kubernetes_client import KubernetesError
from components.node_leaving import Clock
from components.type_changes import AGAIN_SECONDS, Machine, NotChangedError, TypeChanges
from tests.components.recording import KUBECONFIG
from tests.domain.test_generation import SERVERS, node
from tests.domain.test_type_changes import pod

ADDRESSES: Final = {name: f"198.51.100.{number}" for number, name in enumerate(SERVERS, 1)}
LAST: Final = LastUpdate("de", KUBECONFIG, [*ADDRESSES.values()])
WORKERS: Final = ["de-agent-1", "de-agent-2"]
MACHINES: Final = {
    **{name: Machine("server", server=True, router=False) for name in SERVERS},
    **{name: Machine("agent", server=False, router=name == WORKERS[0]) for name in WORKERS},
}


class Cluster:
    """Nodes with a pod each. A machine that was switched off is away from one moment on, and there again from another;
    nobody says so of its Node.
    """

    def __init__(self) -> None:
        self.time = 0.0
        self.off: dict[str, tuple[float, float]] = {}
        self.keeper: dict[str, str] = {}
        self.said: list[str] = []

    def is_off(self, name: str) -> bool:
        begin, end = self.off.get(name, (0.0, 0.0))
        return begin <= self.time < end

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def say(self, text: str) -> None:
        self.said.append(text)

    def client(self, kubeconfig: str) -> Any:
        cluster = self
        (address,) = [address for address in LAST.addresses if f"https://{address}:6443" in kubeconfig]

        class Client:
            def get(self, path: str) -> dict[str, Any]:
                return node(path.rpartition("/")[2])

            def request(self, method: str, path: str) -> dict[str, Any]:
                assert method == "GET"
                if path == "/api/v1/nodes":
                    return {"items": [node(name) for name in MACHINES]}
                name = path.rpartition("%3D")[2]
                assert path == f"/api/v1/pods?fieldSelector=spec.nodeName%3D{name}"
                again = name in cluster.off and cluster.time >= cluster.off[name][1]
                return {"items": [pod(started="again" if again else "at first")]}

            def text(self, path: str) -> str:
                assert path == "/readyz"
                if address == cluster.sick:
                    raise KubernetesError("[-]etcd failed", 500)
                return "ok"

        return Client()

    sick = ""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    found = Cluster()
    names = {address: name for name, address in ADDRESSES.items()}
    monkeypatch.setattr(former_node, "KubernetesClient", found.client)
    monkeypatch.setattr(
        former_node, "why_unreachable", lambda at, _port: "no answer" if found.is_off(names[at]) else None
    )
    monkeypatch.setattr(type_changes, "why_not_in_order", lambda _client, name: found.keeper.get(name, ""))
    return found


def changes(cluster: Cluster, last: LastUpdate = LAST, machines: Mapping[str, Machine] = MACHINES) -> TypeChanges:
    return TypeChanges(last, machines, Clock(lambda: cluster.time, cluster.sleep))


def switch(of: TypeChanges, cluster: Cluster, name: str, seconds: float) -> float:
    """Waits, switches it off for so long, and gives the time that was waited."""
    begun = cluster.time
    of.wait(name, ADDRESSES.get(name, ""), cluster.say)
    cluster.off[name] = (cluster.time, cluster.time + seconds)
    return cluster.time - begun


def test_one_server_after_the_other_and_never_two_off(cluster: Cluster) -> None:
    of = changes(cluster)
    assert [switch(of, cluster, name, 60.0) for name in SERVERS] == [0.0, 60.0, 60.0]
    assert cluster.said[0] == (
        "de: de-server-2 waits for its other type (0 of 600 s): de-server-1: kube-system/cilium is not ready there "
        "again"
    )
    assert len(cluster.said) == 12, "every 10 s"


def test_a_group_waits_for_its_own(cluster: Cluster) -> None:
    of = changes(cluster)
    assert switch(of, cluster, SERVERS[0], 60.0) == 0.0
    assert switch(of, cluster, WORKERS[0], 30.0) == 0.0
    assert switch(of, cluster, WORKERS[1], 30.0) == 30.0


def test_a_router_is_back_when_its_keeper_says_so(cluster: Cluster) -> None:
    of = changes(cluster)
    switch(of, cluster, WORKERS[0], 0.0)
    cluster.keeper = {WORKERS[0]: "its keeper says: wt0 is not there"}
    with pytest.raises(NotChangedError) as refused:
        switch(of, cluster, WORKERS[1], 0.0)
    assert str(refused.value).startswith(
        "de: de-agent-2 does not get its other type, for which it would be switched off: after 600 s de-agent-1: its "
        "keeper says: wt0 is not there. "
    )
    assert cluster.time == AGAIN_SECONDS
    cluster.keeper = {}
    assert switch(of, cluster, WORKERS[1], 0.0) == 0.0, "the next `up`"


def test_of_two_routers_one_stays_whatever_their_groups(cluster: Cluster) -> None:
    machines = {
        "de-agent-1": Machine("agent", server=False, router=True),
        "de-x-1": Machine("x", server=False, router=True),
    }
    of = changes(cluster, machines=machines)
    assert [switch(of, cluster, name, 40.0) for name in machines] == [0.0, 40.0]
    cluster.keeper = {"de-agent-1": "its keeper says: wt0 is not there"}
    with pytest.raises(NotChangedError, match="600 s de-agent-1: its keeper says: wt0 is not there"):
        switch(changes(cluster, machines=machines), cluster, "de-x-1", 0.0)
    assert switch(changes(cluster, machines=machines), cluster, "de-agent-1", 0.0) == 0.0, "which may mend it"


def test_of_three_routers_one_may_be_away(cluster: Cluster) -> None:
    machines = {f"de-agent-{number}": Machine("agent", server=False, router=True) for number in (1, 2, 3)}
    cluster.keeper = {"de-agent-3": "its keeper says: wt0 is not there"}
    assert switch(changes(cluster, machines=machines), cluster, "de-agent-1", 0.0) == 0.0


def test_a_server_that_says_that_it_is_not_ready_keeps_the_others_on(cluster: Cluster) -> None:
    cluster.sick = ADDRESSES[SERVERS[2]]
    with pytest.raises(NotChangedError, match=r"the server at 198\.51\.100\.3: \[-\]etcd failed"):
        switch(changes(cluster), cluster, SERVERS[0], 0.0)


def test_nor_does_it_keep_itself(cluster: Cluster) -> None:
    """Its other type may be what mends it."""
    cluster.sick = ADDRESSES[SERVERS[2]]
    assert switch(changes(cluster), cluster, SERVERS[2], 0.0) == 0.0


def test_a_cluster_that_does_not_answer(cluster: Cluster) -> None:
    of = changes(cluster)
    cluster.off = dict.fromkeys(SERVERS, (0.0, 9999.0))
    assert switch(of, cluster, WORKERS[0], 30.0) == 0.0, "nothing was switched off before it"
    with pytest.raises(NotChangedError, match=r"198\.51\.100\.1: no answer; 198\.51\.100\.2: no answer"):
        switch(of, cluster, WORKERS[1], 30.0)


def test_before_the_first_update_ended_nothing_is_asked(cluster: Cluster) -> None:
    of = changes(cluster, LastUpdate("de", None, []))
    assert [switch(of, cluster, name, 60.0) for name in SERVERS] == [0.0, 0.0, 0.0]


def test_the_hook_is_there_for_another_type_alone(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    of, waited = changes(cluster), []
    monkeypatch.setattr(of, "wait", lambda name, address, _say: waited.append((name, address)))

    class Args:
        name = SERVERS[1]
        old_outputs: Final = {"ipv4Address": ADDRESSES[SERVERS[1]]}

        def __init__(self, before: dict[str, str], after: dict[str, str]) -> None:
            self.old_inputs, self.new_inputs = before, after

    for after in ({"serverType": "cx23", "name": "x"}, {"serverType": "cx33"}):
        args: Any = Args({"serverType": "cx23"}, after)
        asyncio.run(of.before_update(args))
    assert waited == [(SERVERS[1], ADDRESSES[SERVERS[1]])]
