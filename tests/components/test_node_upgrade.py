"""A node goes on to another k3s, or takes other settings of it: what happens in which order, where it stops, and what
is left then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from components import node_upgrade
from components.kubernetes_client import KubernetesError
from components.node_leaving import Clock, Departure, NobodyAnswers, NotLeftError
from components.node_upgrade import (
    BACK_SECONDS,
    MachineError,
    NotUpgradedError,
    Staging,
    UnaskedError,
    Upgrade,
    upgrade,
)
from domain.upgrading import SETTINGS_ANNOTATION, UPGRADES_ANNOTATION
from tests.components.recording import KUBECONFIG
from tests.domain.test_generation import node

OLD, PATCH, MINOR = "v1.34.8+k3s1", "v1.34.9+k3s1", "v1.35.0+k3s1"
NODES: Final = ("s1", "a1", "a2")


class Cluster:
    """One server and two agents, what is asked of them and done on their machines, in order. Time passes by sleeping
    alone. ``broken`` are deeds that fail, ``back_after`` so many seconds after its installation a kubelet is there.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.said: list[str] = []
        self.time, self.back_after, self.back_at = 0.0, 0.0, 0.0
        self.broken: set[str] = set()
        self.away = False
        self.nodes = {name: {**node(name), "spec": {}} for name in NODES}
        self.settings = dict.fromkeys(NODES, "some")
        self.stagings: dict[str, Staging] = {}
        cluster = self

        class Servers:
            def __init__(self, departure: Departure) -> None:
                pass

            def request(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
                if cluster.away:
                    raise NobodyAnswers("198.51.100.1: no answer")
                if path == "/api/v1/nodes":
                    return {"items": [*cluster.nodes.values()]}
                found = cluster.nodes[path.rpartition("/")[2]]
                if method == "PATCH":
                    cluster.patch(found, body)
                return found

            def get(self, path: str) -> dict[str, Any] | None:
                if cluster.time < cluster.back_at:
                    raise KubernetesError("503 no leader", 503)
                return self.request("GET", path)

        monkeypatch.setattr(node_upgrade, "Servers", Servers)
        monkeypatch.setattr(node_upgrade, "empty", self._empty)

    def patch(self, found: dict[str, Any], body: dict[str, Any]) -> None:
        ((mark, value),) = body["metadata"]["annotations"].items()
        assert mark in (UPGRADES_ANNOTATION, SETTINGS_ANNOTATION)
        self.done.append(f"{found['metadata']['name']} {'open' if value is None else 'closed'}")
        found["metadata"]["annotations"] = {} if value is None else {mark: value}
        found["spec"]["unschedulable"] = body["spec"]["unschedulable"]

    def _empty(self, of: Departure, *_: Any, mark: str, purpose: Any) -> None:
        if "empty" in self.broken:
            raise NotLeftError("pods stay")
        assert mark == UPGRADES_ANNOTATION
        self.done.append(f"{of.node} emptied, or it does not {purpose.deed}")
        self.nodes[of.node]["metadata"]["annotations"] = {mark: "true"}

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def goes_on(
        self, name: str, version: str, settings: str = "", servers: tuple[str, ...] = ("s1",), **further: Any
    ) -> None:
        if version not in self.stagings:
            self.stagings[version] = Staging("de", version, {node: Machine(self, node, version, "") for node in NODES})
        departure = Departure("de", name, name == "s1", ["198.51.100.1"], 600, KUBECONFIG)
        machine = Machine(self, name, version, settings)
        task = Upgrade(departure, servers, version, machine, self.stagings[version], settings, **further)
        upgrade(task, self.said.append, Clock(lambda: self.time, self.sleep))


class Machine:
    def __init__(self, cluster: Cluster, name: str, version: str, settings: str) -> None:
        self._cluster, self._name, self._version, self._settings = cluster, name, version, settings

    def settings(self) -> str:
        if f"{self._name} asked" in self._cluster.broken:
            raise MachineError("no way there")
        return self._cluster.settings[self._name]

    def stage(self, say: Callable[[str], None]) -> None:
        self._do("staged")

    def install(self, say: Callable[[str], None]) -> None:
        self._do("installed")
        self._cluster.away = False
        self._cluster.settings[self._name] = self._settings
        self._cluster.back_at = self._cluster.time + self._cluster.back_after
        self._cluster.nodes[self._name]["status"]["nodeInfo"]["kubeletVersion"] = self._version

    def _do(self, deed: str) -> None:
        if f"{self._name} {deed}" in self._cluster.broken:
            raise MachineError("no luck")
        self._cluster.done.append(f"{self._name} {deed}")


STAGED: Final = {f"{name} staged" for name in NODES}


def test_a_patch_closes_the_node_and_lets_its_pods_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """All machines have the binary before the first is touched, and once."""
    cluster = Cluster(monkeypatch)
    cluster.back_after = 30
    cluster.goes_on("s1", PATCH)
    assert {*cluster.done[:3]} == STAGED
    assert cluster.done[3:] == ["s1 closed", "s1 installed", "s1 open"]
    assert cluster.said[-1] == f"de: node s1 has gone on to k3s {PATCH}"
    cluster.goes_on("a1", PATCH)
    assert cluster.done[6:] == ["a1 closed", "a1 installed", "a1 open"]


def test_for_a_minor_release_its_pods_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.goes_on("s1", MINOR)
    assert cluster.done[3:] == [f"s1 emptied, or it does not go on to k3s {MINOR}", "s1 installed", "s1 open"]


def test_one_that_runs_it_is_left_alone_and_opened_where_it_was_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An `up` that was killed after the installation."""
    cluster = Cluster(monkeypatch)
    cluster.goes_on("a1", OLD)
    assert cluster.done == []
    cluster.nodes["a1"]["metadata"]["annotations"] = {UPGRADES_ANNOTATION: "true"}
    cluster.goes_on("a1", OLD)
    assert cluster.done == ["a1 open"]


def test_a_binary_that_is_not_everywhere_touches_no_node(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.broken = {"a2 staged"}
    with pytest.raises(NotUpgradedError, match=r"no node goes on .* all machines: a2: no luck. No node was touched"):
        cluster.goes_on("s1", PATCH)
    assert {*cluster.done} == {"s1 staged", "a1 staged"}
    cluster.broken = set()
    cluster.goes_on("s1", PATCH)
    assert cluster.done[-3:] == ["s1 closed", "s1 installed", "s1 open"], "and the next time it goes through"


def test_what_was_not_installed_stays_closed_and_goes_on_there(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.broken = {"s1 installed"}
    with pytest.raises(NotUpgradedError, match=r"s1 has not gone on .*: no luck. It stays unschedulable until it has"):
        cluster.goes_on("s1", PATCH)
    assert cluster.done[-1] == "s1 closed"
    cluster.broken = set()
    cluster.done.clear()
    cluster.goes_on("s1", PATCH)
    assert cluster.done == ["s1 installed", "s1 open"], "it is closed already, and the binaries are there"


def test_one_that_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.back_after = BACK_SECONDS * 2
    with pytest.raises(NotUpgradedError, match=rf"{BACK_SECONDS:.0f} s after its k3s was started 503 no leader"):
        cluster.goes_on("s1", PATCH)
    assert cluster.done[-1] == "s1 installed"
    cluster.nodes["s1"]["status"]["conditions"][0]["status"] = "False"
    cluster.back_at = 0.0
    with pytest.raises(NotUpgradedError, match="it has joined and is not ready yet"):
        cluster.goes_on("s1", PATCH)
    cluster.nodes["s1"]["status"]["conditions"][0]["status"] = "True"
    cluster.goes_on("s1", PATCH)
    assert cluster.done[-2:] == ["s1 installed", "s1 open"], "and the next time it goes through"


def test_pods_that_stay_keep_its_k3s(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.broken = {"empty"}
    with pytest.raises(NotLeftError, match="pods stay"):
        cluster.goes_on("s1", MINOR)
    assert {*cluster.done} == STAGED


def test_a_worker_waits_for_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    with pytest.raises(NotUpgradedError, match=r"node a1 does not go on .* the server s1 runs v1.34.8"):
        cluster.goes_on("a1", MINOR)
    assert cluster.done == []


def test_nobody_says_what_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.away = True
    with pytest.raises(UnaskedError, match="no answer"):
        cluster.goes_on("a1", PATCH)
    cluster.away = False
    del cluster.nodes["a1"]
    with pytest.raises(UnaskedError, match="it has not joined the cluster") as raised:
        cluster.goes_on("a1", PATCH)
    assert raised.value.reason == "it has not joined the cluster"


def test_settings_restart_a_closed_node_and_let_its_pods_run(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.back_after = 30
    cluster.goes_on("a1", OLD, "others")
    assert cluster.done == ["a1 closed", "a1 installed", "a1 open"]
    assert cluster.said == [
        "de: node a1 takes its settings of k3s, which is started anew",
        *[sentence for sentence in cluster.said if "503 no leader" in sentence],
        "de: node a1 has taken its settings of k3s",
    ]
    assert len(cluster.said) > 2
    cluster.goes_on("a1", OLD, "others")
    assert len(cluster.done) == 3, "it has them"


def test_settings_come_with_another_k3s_in_one_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.goes_on("s1", PATCH, "others")
    assert cluster.done[3:] == ["s1 closed", "s1 installed", "s1 open"]
    assert cluster.settings["s1"] == "others"


def test_settings_that_were_not_taken_are_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays closed meanwhile, and is opened as well where those of before are wanted again."""
    cluster = Cluster(monkeypatch)
    cluster.broken = {"a1 installed"}
    with pytest.raises(
        NotUpgradedError, match=r"a1 has not taken its settings of k3s: no luck. It stays unschedulable"
    ):
        cluster.goes_on("a1", OLD, "others")
    assert cluster.done == ["a1 closed"]
    cluster.goes_on("a1", OLD, "some")
    assert cluster.done == ["a1 closed", "a1 open"]
    cluster.broken = set()
    cluster.goes_on("a1", OLD, "others")
    assert cluster.done[2:] == ["a1 closed", "a1 installed", "a1 open"]


def test_a_killed_up_had_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its settings, is waited for and opened, and not started once more."""
    cluster = Cluster(monkeypatch)
    cluster.nodes["a1"]["metadata"]["annotations"] = {SETTINGS_ANNOTATION: "true"}
    cluster.nodes["a1"]["status"]["conditions"][0]["status"] = "False"
    with pytest.raises(NotUpgradedError, match="has not taken its settings of k3s: 300 s after its k3s was started"):
        cluster.goes_on("a1", OLD, "some")
    assert cluster.done == []
    cluster.nodes["a1"]["status"]["conditions"][0]["status"] = "True"
    cluster.goes_on("a1", OLD, "some")
    assert cluster.done == ["a1 open"]


def test_settings_wait_for_the_other_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.nodes["a2"]["status"]["conditions"][0]["status"] = "False"
    with pytest.raises(NotUpgradedError, match=r"s1 does not take its settings of k3s: of the other servers a2 is not"):
        cluster.goes_on("s1", OLD, "others", ("s1", "a2"))
    cluster.goes_on("s1", OLD, "some", ("s1", "a2"))
    assert cluster.done == []


def test_a_machine_that_does_not_say_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.broken = {"a1 asked"}
    with pytest.raises(UnaskedError, match=r"a1 does not take its settings of k3s: no way there. Nothing was changed"):
        cluster.goes_on("a1", OLD, "others")
    cluster.goes_on("a1", OLD)
    assert cluster.done == [], "nobody asks where they are not compared"


def test_the_only_server_takes_settings_although_it_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of before may be why."""
    cluster = Cluster(monkeypatch)
    for name, servers in (("a1", ("s1",)), ("s1", ("s1", "a1"))):
        cluster.away = True
        with pytest.raises(UnaskedError, match="no answer"):
            cluster.goes_on(name, OLD, "others", servers)
    with pytest.raises(UnaskedError, match="no answer"):
        cluster.goes_on("s1", OLD, "some")
    assert cluster.done == []
    cluster.goes_on("s1", OLD, "others")
    assert cluster.done == ["s1 installed"]
    assert cluster.said[0].startswith("de: node s1 does not answer (198.51.100.1: no answer), and has other settings")


ON_PREMISE: Final[dict[str, Any]] = {"settle_seconds": 120.0, "lays": True}


def test_on_premise_files_are_laid_also_where_k3s_is_as_it_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine has left all of them, or its next change would be left as well and for nothing."""
    cluster = Cluster(monkeypatch)
    cluster.goes_on("a1", OLD, "some", **ON_PREMISE)
    assert (cluster.done, cluster.said) == (["a1 installed"], [])


def test_on_premise_other_servers_get_a_while_and_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    with pytest.raises(NotUpgradedError, match="of the other servers s2 is not ready"):
        cluster.goes_on("s1", PATCH, servers=("s1", "s2"), **ON_PREMISE)
    assert (cluster.time, cluster.done) == (120.0, [])
    assert cluster.said[0] == "de: node s1 waits (0 of 120 s): of the other servers s2 is not ready"
    assert len(cluster.said) == 12


def test_on_premise_a_node_that_somebody_has_deleted_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """No later `up` would do it either: its machine leaves it to this one."""
    cluster = Cluster(monkeypatch)
    deleted = cluster.nodes.pop("a1")
    done = Machine.install

    def joins(machine: Machine, say: Callable[[str], None]) -> None:
        cluster.nodes["a1"] = deleted
        done(machine, say)

    monkeypatch.setattr(Machine, "install", joins)
    cluster.goes_on("a1", OLD, "some", **ON_PREMISE)
    assert cluster.done == ["a1 installed"]
    assert cluster.said[0] == "de: node a1 waits (0 of 120 s): it has not joined the cluster"
