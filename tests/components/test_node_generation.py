"""A node is made anew: what happens in which order, where it stops, and how the resources stand in a row."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import pulumi
import pytest

from components import node_generation
from components.node_generation import GenerationProvider, NotAnewError, Remade, Remaking, _Deeds, make_anew
from components.node_leaving import Clock, Departure, NotLeftError
from components.node_upgrade import UnaskedError
from domain.leaving import Part
from tests.components.recording import KUBECONFIG, run_stack
from tests.domain.samples import DE, changed

READY: Final = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}


class Cluster:
    """Who is asked, and what was done, in order. ``back_after``: so many looks find no Node."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, ready: bool = True, back_after: int = 0) -> None:
        self.done: list[str] = []
        self.said: list[str] = []
        self.time, self.back_after, self.stays, self.fails = 0.0, back_after, False, ""
        self.ready_at = 1e9
        status = READY if ready else {}
        self.nodes = {"items": [{"metadata": {"name": name}, **status} for name in ("s1", "s2", "s3")]}
        cluster = self

        class Servers:
            def __init__(self, departure: Departure) -> None:
                pass

            def request(self, method: str, path: str) -> dict[str, Any]:
                assert (method, path) == ("GET", "/api/v1/nodes")
                return cluster.nodes

            def get(self, path: str) -> dict[str, Any] | None:
                assert path == "/api/v1/nodes/s1"
                cluster.back_after -= 1
                return None if cluster.back_after >= 0 else {"metadata": {"name": "s1"}, **READY}

        monkeypatch.setattr(node_generation, "Servers", Servers)
        monkeypatch.setattr(node_generation, "leave", self._leave)
        monkeypatch.setattr(node_generation, "forget", lambda departure, say, clock: self.done.append("forgotten"))

    def _leave(self, departure: Departure, say: Any, clock: Any) -> None:
        if self.stays:
            raise NotLeftError("stays")
        self.done.append(f"{departure.node} left")

    def is_there(self) -> None:
        if self.fails == "there":
            raise OSError("no answer")

    def switch_off(self) -> None:
        self._do("off")

    def begin_anew(self) -> None:
        self._do("begun anew")

    def _do(self, deed: str) -> None:
        if self.fails == deed:
            raise OSError("no answer")
        self.done.append(deed)

    def _sleep(self, seconds: float) -> None:
        self.time += seconds
        if self.time >= self.ready_at:
            self.nodes = {"items": [{**item, **READY} for item in self.nodes["items"]]}

    def make_anew(self, settle_seconds: float = 0.0) -> None:
        departure = Departure("de", "s1", True, ["198.51.100.1"], 600, KUBECONFIG)
        remaking = Remaking(departure, ["s1", "s2", "s3"], "v1.34.8+k3s1", "The log.", 60, settle_seconds)
        make_anew(remaking, self, self.said.append, Clock(lambda: self.time, self._sleep))


def test_it_leaves_is_switched_off_and_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, back_after=3)
    cluster.make_anew()
    assert cluster.done == ["s1 left", "forgotten", "off", "forgotten", "begun anew"]
    assert cluster.said[-1] == "de: node s1 is back after 6 s"


def test_nothing_is_changed_while_another_server_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, ready=False)
    with pytest.raises(NotAnewError, match=r"s2 and s3 are not ready.*Nothing was changed"):
        cluster.make_anew()
    assert cluster.done == []


def test_servers_that_were_brought_up_to_date_get_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, ready=False)
    cluster.ready_at = 20
    cluster.make_anew(settle_seconds=120)
    assert cluster.done[0] == "s1 left"
    assert cluster.time == 20
    (waits,) = (text for text in cluster.said if "s2 and s3 are not ready" in text)
    assert waits.startswith("de: node s1 is not made anew yet, and after 120 s not at all: of the other servers")

    never = Cluster(monkeypatch, ready=False)
    with pytest.raises(NotAnewError, match=r"s2 and s3 are not ready.*Nothing was changed"):
        never.make_anew(settle_seconds=120)
    assert (never.done, never.time) == ([], 120)


def test_a_machine_that_is_away_loses_no_node(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.fails = "there"
    with pytest.raises(NotAnewError, match=r"s1 is not made anew: no answer. Nothing was changed"):
        cluster.make_anew()
    assert cluster.done == []


def test_a_node_that_stays_keeps_its_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.stays = True
    with pytest.raises(NotLeftError):
        cluster.make_anew()
    assert cluster.done == []


@pytest.mark.parametrize(
    ("fails", "done"),
    [("off", ["s1 left", "forgotten"]), ("begun anew", ["s1 left", "forgotten", "off", "forgotten"])],
)
def test_a_machine_that_could_not_begin_anew(monkeypatch: pytest.MonkeyPatch, fails: str, done: list[str]) -> None:
    cluster = Cluster(monkeypatch)
    cluster.fails = fails
    with pytest.raises(NotAnewError, match="de: node s1 has left and its machine could not be made anew: no answer"):
        cluster.make_anew()
    assert cluster.done == done


def test_one_that_does_not_come_back_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, back_after=1000)
    with pytest.raises(NotAnewError, match=r"s1 was made anew and is not back after 60 s: it has not joined. The log."):
        cluster.make_anew()


def test_they_stand_in_a_row(tmp_path: Path) -> None:
    config = changed(
        DE,
        {"hetzner.control_plane.count": 3, "hetzner.workers.count": 2, "hetzner.generations": {"de-agent-2": 4}},
    )
    found = run_stack(tmp_path, "de", config=config)
    made = {
        resource.inputs["node"]: resource
        for resource in found.registrations
        if resource.type.endswith(":NodeGeneration")
    }
    row = ["de-server-1", "de-server-2", "de-server-3", "de-agent-2", "de-agent-1"]
    assert {name: resource.inputs["generation"] for name, resource in made.items()} == {
        **dict.fromkeys(row, 1),
        "de-agent-2": 4,
    }
    assert {resource.inputs["k3s"] for resource in made.values()} == {config["isthmus:k3s"]["version"]}
    assert {resource.deleted_with for resource in made.values()} == {found.one(":Command", "machines-kubeconfig").urn}
    settings = {resource.name: resource for resource in found.registrations if resource.type.endswith(":NodeSettings")}
    assert {resource.deleted_with for resource in settings.values()} == {
        found.one(":Command", "machines-kubeconfig").urn
    }
    for node in row:
        role = "server" if "server" in node else "agent"
        assert f"machines-{role}-settings" in made[node].depends_on
    for before, after in itertools.pairwise(row):
        assert f"machines-{before}-generation" in made[after].depends_on
        assert after in made[after].depends_on


def test_only_a_name_asks_for_another_one() -> None:
    provider, before = GenerationProvider(), {"node": "a", "generation": 1}
    assert provider.create(before).id == "a"
    higher = provider.diff("a", before, {**before, "generation": 2})
    assert (higher.changes, higher.replaces) == (True, [])
    assert provider.diff("a", before, {**before, "__provider": "x"}).changes is False
    assert provider.diff("a", before, {**before, "node": "b"}).replaces == ["node"]
    assert provider.update("a", before, {**before, "generation": 2}).outs == {"node": "a", "generation": 2}


def asked_in_vain(monkeypatch: pytest.MonkeyPatch) -> tuple[_Deeds, list[str]]:
    """Those of a1, which is away and not to be made anew, and what is warned of."""
    warned: list[str] = []

    class Deeds(_Deeds):
        async def _do(self, *, anew: bool) -> None:
            assert not anew
            raise UnaskedError("mn: node a1 does not go on", "no answer")

    part, unknown = Part("a1", server=False, router=False), cast("Any", None)
    remade = Remade(part, 1, ran=True, machine=unknown, address=None, found=never, shell=never, settings="5f")
    monkeypatch.setattr(pulumi.log, "warn", warned.append)
    return Deeds("mn", remade, [], unknown, "", 0.0, unknown), warned


NOT_ASKED: Final = (
    "mn: node a1 was not asked which k3s it runs, and with which settings: no answer. It is noted with v1.34.9+k3s1 "
    "and the settings of now; where it has others, it goes on with the next change of them, or is made anew by a "
    "higher generation"
)


def test_a_node_that_was_away_when_it_was_noted_is_named_with_what_is_true(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state has the new k3s then, so no later `up` goes on there by itself."""
    deeds, warned = asked_in_vain(monkeypatch)
    asyncio.run(deeds.before_create(cast("Any", SimpleNamespace(new_inputs={"k3s": "v1.34.9+k3s1"}))))
    assert warned == [NOT_ASKED]


@pytest.mark.parametrize(
    ("before", "raises"),
    [
        ({}, False),
        ({"settings": 1}, True),
        ({"k3s": "v1.34.8+k3s1"}, True),
        ({"k3s": "v1.34.8+k3s1", "settings": 1}, True),
    ],
)
def test_one_that_is_away_holds_up_its_own_changes_alone(
    monkeypatch: pytest.MonkeyPatch, before: dict[str, Any], raises: bool
) -> None:
    """What a program before this one left has no number of settings, and that alone is no change."""
    deeds, warned = asked_in_vain(monkeypatch)
    after = {"k3s": "v1.34.9+k3s1", "generation": 1.0, "settings": 2.0}
    old = {"k3s": "v1.34.9+k3s1", "generation": 1.0, **before}
    updated = deeds.before_update(cast("Any", SimpleNamespace(old_inputs=old, new_inputs=after)))
    if raises:
        with pytest.raises(UnaskedError):
            asyncio.run(updated)
        assert warned == []
    else:
        asyncio.run(updated)
        assert warned == [NOT_ASKED]


def deeds_of(remade: Remade) -> tuple[_Deeds, list[bool]]:
    """And, for each time, whether the node was to be made anew."""
    done: list[bool] = []

    class Deeds(_Deeds):
        async def _do(self, *, anew: bool) -> None:
            done.append(anew)

    return Deeds("mn", remade, [], cast("Any", None), "", 0.0, cast("Any", None)), done


def test_a_number_that_no_resource_has_yet_is_as_good_as_one_that_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of machines on-premise there was none before; a number raised in the very first `up` with it is not lost."""
    monkeypatch.setattr(pulumi, "ResourceHook", lambda name, function: (name, function))
    part, unknown = Part("a1", server=False, router=False), cast("Any", None)
    raised = Remade(part, 2, ran=False, machine=unknown, address=None, found=never, shell=never, raised=True)
    deeds, done = deeds_of(raised)
    ((name, hook),) = cast("Any", deeds.binding("machines-a1").before_create)
    assert name == "machines-a1-noted"
    asyncio.run(hook(cast("Any", SimpleNamespace(new_inputs={"generation": 2}))))
    assert done == [True]

    as_it_was = replace(raised, generation=1, raised=False)
    binding = deeds_of(as_it_was)[0].binding("machines-a1")
    assert not binding.before_create
    assert binding.before_update


@pytest.mark.parametrize(("before", "after", "anew"), [(1, 2, True), (2, 2, False), (2, 1, False)])
def test_a_higher_number_alone_makes_it_anew(before: int, after: int, anew: bool) -> None:
    part, unknown = Part("a1", server=False, router=False), cast("Any", None)
    deeds, done = deeds_of(Remade(part, after, ran=True, machine=unknown, address=None, found=never, shell=never))
    given = SimpleNamespace(old_inputs={"generation": before}, new_inputs={"generation": after})
    asyncio.run(deeds.before_update(cast("Any", given)))
    assert done == [anew]


async def never() -> Any:
    raise AssertionError("nobody was asked")


@pytest.mark.parametrize(
    ("before", "after", "asked"),
    [
        ({}, {"laid": ""}, False),
        ({"laid": ""}, {"laid": ""}, False),
        ({}, {"laid": "later: 1"}, True),
        ({"laid": "later: 1"}, {"laid": "later: 2"}, True),
        ({"laid": "later: 1"}, {"laid": "later: 1"}, False),
        ({"laid": "later: 1"}, {"laid": ""}, False),
    ],
)
def test_on_premise_a_node_is_asked_where_its_machine_has_left_something_to_do(
    monkeypatch: pytest.MonkeyPatch, before: dict[str, Any], after: dict[str, Any], asked: bool
) -> None:
    """The word of the last success is in the state, so a node that failed is asked again; none is no change."""
    part, unknown, generation = (
        Part("a1", server=False, router=False),
        cast("Any", "an output"),
        {"node": "a1", "k3s": ""},
    )
    remade = Remade(part, 1, ran=True, machine=unknown, address=None, found=never, shell=never, laid=unknown)
    deeds, done = deeds_of(remade)
    given = SimpleNamespace(old_inputs={**generation, **before}, new_inputs={**generation, **after})
    asyncio.run(deeds.before_update(cast("Any", given)))
    assert done == [False] * asked
    changed_at_all = before.get("laid", "") != after["laid"]
    assert GenerationProvider().diff("a1", given.old_inputs, given.new_inputs).changes is changed_at_all

    if not before:
        monkeypatch.setattr(pulumi, "ResourceHook", lambda name, function: (name, function))
        unseen = deeds_of(replace(remade, ran=False))[0].binding("machines-a1")
        assert unseen.before_create, "an `up` may have failed before it was made"
        asyncio.run(deeds.before_create(cast("Any", given)))
        assert done == [False] * 2 * asked


def test_on_premise_what_was_left_is_not_forgiven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else brings it, and the machine does not say it a second time."""
    deeds, warned = asked_in_vain(monkeypatch)
    deeds = replace(deeds, remade=replace(deeds.remade, laid=cast("Any", "an output")))
    given = cast("Any", SimpleNamespace(old_inputs={}, new_inputs={"laid": "later: 1"}))
    for hook in (deeds.before_update, deeds.before_create):
        with pytest.raises(UnaskedError):
            asyncio.run(hook(given))
    assert warned == []
