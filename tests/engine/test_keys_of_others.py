"""The keys of others in `coredns-custom`, with the real engine and provider and a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.engine.api_server import ApiServer
from tests.engine.project import Project, Result
from tests.engine.world import World

pytestmark = pytest.mark.engine

PROGRAM: Final = Path(__file__).parent / "programs" / "names.py"
CONFIG_MAPS: Final = "/api/v1/namespaces/kube-system/configmaps"
CUSTOM: Final = f"{CONFIG_MAPS}/coredns-custom"
OWN, PEER = "de.internal.server", "mn.internal.server"
ZONES: Final = {OWN: "de.internal:53 {\n    errors\n}\n", PEER: "mn.internal:53 {\n    errors\n}\n"}
CHANGED: Final = {**ZONES, PEER: "mn.internal:53 {\n    log\n}\n"}
THEIRS: Final = {"lab.server": "lab.example:53 {\n    forward . 192.168.9.53\n}\n", "log.override": "log\n"}


@pytest.fixture
def api(servers: ApiServer) -> Iterator[ApiServer]:
    """The API server without a `coredns-custom`."""
    servers.call("DELETE", CUSTOM)
    yield servers
    servers.call("DELETE", CUSTOM)


class Names:
    """The stack of the program."""

    def __init__(self, project: Project, api: ApiServer) -> None:
        self._project = project
        self._api = api
        project.runs(PROGRAM)
        project.init("mn")

    def run(self, command: str, zones: Mapping[str, str], *arguments: str, before: bool = False) -> Result:
        """The result of a command with these zones. The names alone: nobody here rolls a Deployment."""
        config = {
            "isthmus:kubeconfig": self._api.kubeconfig,
            "isthmus:zones": json.dumps(zones),
            "isthmus:before": str(before).lower(),
        }
        self._project.write("mn", config)
        chosen = ("**::dns-zones", "**::coredns-custom", "**::dns", "**pulumi:providers:kubernetes::mn")
        return self._project.run_some(command, "mn", chosen, *arguments)

    def up(self, zones: Mapping[str, str], *, before: bool = False) -> Result:
        """An `up` that must go well."""
        return self.run("up", zones, before=before).expect(0)

    @property
    def types(self) -> list[str]:
        """The types of what the state has of the name."""
        return [
            resource["type"]
            for resource in self._project.resources("mn")
            if resource["urn"].endswith(("::dns-zones", "::coredns-custom"))
        ]


@pytest.fixture
def names(project: Project, api: ApiServer) -> Names:
    return Names(project, api)


def data(api: ApiServer) -> dict[str, str]:
    """The keys that are there."""
    status, found = api.call("GET", CUSTOM)
    assert status == 200, found
    return dict(found.get("data") or {})


def create(api: ApiServer, keys: Mapping[str, str]) -> None:
    """What `kubectl create configmap` does."""
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "coredns-custom"}, "data": dict(keys)}
    status, answer = api.call("POST", f"{CONFIG_MAPS}?fieldManager=kubectl-create", body)
    assert status == 201, answer


def edit(api: ApiServer, keys: Mapping[str, str | None]) -> None:
    """What `kubectl edit` does."""
    status, answer = api.call(
        "PATCH", f"{CUSTOM}?fieldManager=kubectl-edit", {"data": dict(keys)}, kind="application/merge-patch+json"
    )
    assert status == 200, answer


def managers(api: ApiServer) -> set[str]:
    """Who owns something of it."""
    return {entry["manager"] for entry in api.call("GET", CUSTOM)[1]["metadata"].get("managedFields") or []}


def test_they_stay_from_the_first_up_to_the_end(names: Names, api: ApiServer) -> None:
    create(api, THEIRS)
    names.up(ZONES)
    assert data(api) == {**THEIRS, **ZONES}
    edit(api, {"later.server": "later.example {\n}\n"})
    theirs = {**THEIRS, "later.server": "later.example {\n}\n"}
    names.up(CHANGED)
    assert data(api) == {**theirs, **CHANGED}
    names.up({OWN: ZONES[OWN]})
    assert data(api) == {**theirs, OWN: ZONES[OWN]}
    names.run("refresh", ZONES).expect(0)
    names.run("preview", {OWN: ZONES[OWN]}, "--expect-no-changes").expect(0)
    names.run("destroy", ZONES).expect(0)
    assert data(api) == theirs
    assert managers(api) == {"kubectl-create", "kubectl-edit"}


def test_without_any_ours_come_and_go(names: Names, api: ApiServer) -> None:
    names.up(ZONES)
    assert data(api) == ZONES
    names.run("destroy", ZONES).expect(0)
    assert data(api) == {}
    names.run("destroy", ZONES).expect(0)


def test_one_of_ours_that_was_changed_by_hand_is_put_right(names: Names, api: ApiServer) -> None:
    create(api, THEIRS)
    names.up(ZONES)
    edit(api, {OWN: "de.internal {\n}\n", PEER: None})
    names.run("refresh", ZONES).expect(0)
    names.up(ZONES)
    assert data(api) == {**THEIRS, **ZONES}


def test_from_a_state_that_has_it_as_a_whole(names: Names, api: ApiServer) -> None:
    """In place, with every key there at every moment."""
    create(api, THEIRS)
    names.up(ZONES, before=True)
    since = api.call("GET", CUSTOM)[1]["metadata"]["resourceVersion"]
    assert names.types == ["kubernetes:core/v1:ConfigMap"]

    plan = names.run("preview", ZONES, "--json").expect(0).json
    ops = {step["op"] for step in plan["steps"] if step["urn"].endswith(("::dns-zones", "::coredns-custom"))}
    assert ops == {"update"}
    names.up(ZONES)

    assert names.types == ["kubernetes:core/v1:ConfigMapPatch"]
    events = [
        event["object"]
        for event in api.events(CONFIG_MAPS, since)
        if event["object"]["metadata"]["name"] == "coredns-custom"
    ]
    assert events
    assert [config_map["data"] for config_map in events] == [{**THEIRS, **ZONES}] * len(events)
    assert managers(api) == {"kubectl-create", "isthmus"}
    names.run("preview", ZONES, "--expect-no-changes").expect(0)
    names.up(CHANGED)
    assert data(api) == {**THEIRS, **CHANGED}
    names.run("destroy", ZONES).expect(0)
    assert data(api) == THEIRS


def test_a_key_of_our_name_is_not_overwritten(names: Names, api: ApiServer) -> None:
    create(api, {**THEIRS, OWN: "written by hand"})
    said = f"the key {OWN} is there already, written by kubectl-create"
    names.run("preview", ZONES).expect(0).says(f"an `up` would end here: kube-system/coredns-custom: {said}")
    refused = names.run("up", ZONES).expect(1)
    refused.says(said)
    assert "Traceback" not in refused.output
    assert data(api) == {**THEIRS, OWN: "written by hand"}

    edit(api, {OWN: None})
    names.up(ZONES)
    edit(api, {"other.server": "other.internal {\n}\n"})
    names.run("up", {**ZONES, "other.server": "x.internal {\n}\n"}).expect(1).says("written by kubectl-edit")
    assert data(api) == {**THEIRS, **ZONES, "other.server": "other.internal {\n}\n"}


def test_a_zone_that_somebody_serves_already(names: Names, api: ApiServer) -> None:
    create(api, {"mine.server": "mn.internal {\n    forward . 192.168.9.53\n}\n"})
    said = (
        "the key mine.server, written by kubectl-create, serves mn.internal:53, which this program serves by the key "
    )
    said += PEER
    names.run("preview", ZONES).expect(0).says(said)
    names.run("up", ZONES).expect(1).says(said)
    assert list(data(api)) == ["mine.server"]


def test_a_zone_that_somebody_serves_since_then(names: Names, api: ApiServer) -> None:
    """CoreDNS goes on with what it has read before, until it starts the next time."""
    names.up(ZONES)
    edit(api, {"mine.server": "mn.internal {\n    forward . 192.168.9.53\n}\n"})
    said = "the key mine.server, written by kubectl-edit, serves mn.internal:53"
    names.run("preview", ZONES, "--expect-no-changes").expect(0).says(said)
    names.up(ZONES).says(said)


def test_an_up_that_was_killed_after_it_wrote(names: Names, api: ApiServer) -> None:
    """What the state does not know and the API server does."""
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "coredns-custom"}, "data": CHANGED}
    api.apply(CUSTOM, body, manager="isthmus")
    names.up(ZONES)
    assert data(api) == ZONES


@pytest.mark.thorough
@pytest.mark.timeout(600)
def test_with_a_whole_stack(world: World) -> None:
    """In a cluster that exists, from before its first `up` until after `destroy`."""

    def keys() -> dict[str, str]:
        return dict(world.api.get(CUSTOM)["data"])

    world.api.post(
        f"{CONFIG_MAPS}?fieldManager=kubectl-create", {"metadata": {"name": "coredns-custom"}, "data": THEIRS}
    )
    world.up()
    first = keys()
    assert {key: first[key] for key in THEIRS} == THEIRS
    assert sorted(set(first) - set(THEIRS)) == ["astring-de.internal.server", "astring-mn.internal.server"]

    world.project.run("config", "set", "--path", "--type=int", "isthmus:dns.cache_seconds", "31", "-s", "mn").expect(0)
    world.up()
    assert "cache 31 {" in keys()["astring-de.internal.server"]
    assert {key: keys()[key] for key in THEIRS} == THEIRS

    world.destroy()
    assert keys() == THEIRS
