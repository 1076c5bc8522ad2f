"""Something that a command needs is away, from its start or from a moment on: what is said, and that with the thing
back the next plain command of the kind goes through by itself, without a refresh or a hand; nothing twice, nothing left
over.

The cells are in ``away.py``.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from domain.operator_values import SIDECARS_LABEL
from tests.engine.away import (
    COMMANDS,
    FAULTS,
    GOES,
    GUARDS_POD,
    KEEPERS_POD,
    OPERATORS_POD,
    RELAYS_POD,
    TABLE,
    Cell,
    Run,
    all_back,
)
from tests.engine.deadlines import shorter
from tests.engine.kube_api import Refused, until
from tests.engine.project import SECRETS, Result
from tests.engine.test_drift import GUARD, RELAY, ROUTER, SERVICE
from tests.engine.world import DEADLINE_SECONDS, STACK, World

pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]

CLEAN = ("preview", "-s", STACK, "--expect-no-changes")


def cells(*commands: str) -> list[Cell]:
    """What is run here of these commands; first what begins with nothing."""
    return sorted(
        (cell for cell, run in TABLE.items() if isinstance(run, Run) and cell[2] in commands),
        key=order,
    )


def order(cell: Cell) -> tuple[bool, int]:
    run = TABLE[cell]
    return (isinstance(run, Run) and run.work != "all", [*COMMANDS].index(cell[2]))


def case(cell: Cell) -> object:
    run = TABLE[cell]
    assert isinstance(run, Run)
    marks = () if run.always else (pytest.mark.thorough,)
    return pytest.param(cell, run, id=f"{cell[0]} away at the {cell[1]} of {cell[2]}", marks=marks)


@pytest.mark.parametrize(("cell", "run"), [case(cell) for cell in cells("up", "preview", "refresh")])
def test_away(world: World, cell: Cell, run: Run) -> None:
    what, _, command = cell
    prepare(world, run.work if command == "up" else "nothing")

    judge(with_it_away(world, what, COMMANDS[command], run), run)

    if command != "preview":
        judge(world.project.run(*COMMANDS[command], deadline_seconds=DEADLINE_SECONDS), WELL)
    assert without_ids(world.in_netbird()) == THERE
    world.project.run(*CLEAN, deadline_seconds=DEADLINE_SECONDS).expect(0)


@pytest.mark.parametrize(("cell", "run"), [case(cell) for cell in cells("destroy")])
def test_away_of_destroy(world: World, cell: Cell, run: Run) -> None:
    what, _, command = cell
    prepare(world, "nothing")

    judge(with_it_away(world, what, COMMANDS[command], run), run)

    judge(world.project.run(*COMMANDS[command], deadline_seconds=DEADLINE_SECONDS), WELL)
    assert world.project.resources(STACK) == []
    assert world.in_netbird() == {}
    # What is deleted goes when its pods have gone, and not every one of them is waited for.
    until(lambda: all(world.api.is_gone(path) for path in OURS), "nothing of ours is left")


WELL = Run(code=0)


def judge(result: Result, run: Run) -> None:
    assert result.code == run.code, result.output
    for text in run.says:
        result.says(text)
    assert "Traceback" not in result.output
    assert SECRETS["isthmus:netbirdApiToken"] not in result.output


THERE = {
    "/dns/zones": ["mn.routers.isthmus.internal"],
    "/groups": [
        *("isthmus-mn-pods", "isthmus-mn-routers", "isthmus-mn-services", "isthmus-mn-stack-ID"),
        "networkrouter-ID-ID",
    ],
    "/networks": ["isthmus-mn"],
    "/networks/ID/resources": ["isthmus-mn-pods", "isthmus-mn-services"],
    "/networks/ID/routers": ["ID"],
    "/peers": ["isthmus-mn-router-worker-b"],
    "/policies": ["isthmus-mn-to-de-dns-tcp", "isthmus-mn-to-de-dns-udp", "isthmus-mn-to-de-pods"],
    "/setup-keys": ["isthmus-mn-router", "networkrouter-ID-ID"],
}
"""What mn has in NetBird, each of it once."""


OURS = (ROUTER, SERVICE, RELAY, GUARD)
"""Of what the program makes in the cluster: one of each component that is not a Helm release."""


def prepare(world: World, work: str) -> None:
    """Everything is there, and there is this to do."""
    all_back(world)
    raised = bool(world.project.resources(STACK)) and not world.api.is_gone(ROUTER)
    if work == "all" and raised:
        world.destroy()
    elif work != "all" and not raised:
        world.up()
    if work == "changes":
        world.change()
    if work != "all":
        world.router_generation = world.api.get(ROUTER)["metadata"]["generation"]


def with_it_away(world: World, what: str, command: tuple[str, ...], run: Run) -> Result:
    """The command, while the thing is away; when this returns it is back."""
    with shorter(world.project, run.deadlines):
        world.netbird.goes_at = run.goes_at
        if run.slow:
            ask(world, "reconcile-delay", "10m")
        for pod in run.held:
            hold(world, pod)
        if run.when is None and run.goes_at is None:
            for party in (what, *run.also):
                GOES[party](world)
        running = world.project.start(*command)
        try:
            if run.when is not None:
                running.wait_for(lambda: run.when is not None and run.when(world, running), "the moment", 300)
                GOES[what](world)
            return running.end(DEADLINE_SECONDS)
        except BaseException:
            running.kill()
            raise
        finally:
            all_back(world)
            if run.slow:
                # One that still has its lease goes on with what it was told, which was to wait.
                hold(world, OPERATORS_POD)
                world.kubelet.let_go()


def hold(world: World, pod: str) -> None:
    """Pods whose names start so run no more, and whoever keeps them has noticed."""
    world.kubelet.hold(pod)

    def noticed() -> bool:
        kept = [
            workload
            for kind in ("daemonsets", "deployments")
            for workload in world.api.items(f"/apis/apps/v1/{kind}")
            if f"{workload['metadata']['name']}-".startswith(pod)
        ]
        ready = [workload["status"].get("numberReady", workload["status"].get("readyReplicas", 0)) for workload in kept]
        return not any(ready)

    until(noticed, f"no {pod} is ready")


def ask(world: World, fault: str, value: str) -> None:
    """The operator's stand-in does from now on what the real one does rarely."""
    directory, _, name = FAULTS.rpartition("/")
    world.api.post(directory, {"metadata": {"name": name}, "data": {fault: value}})


def without_ids(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """With each id in a path or a name as the same word."""
    id_ = re.compile(r"id\d+|\b[0-9a-f]{32}\b|\b[0-9a-f]{8}\b")
    return {id_.sub("ID", path): sorted(id_.sub("ID", name) for name in names) for path, names in found.items()}


# --- what the cells have in common ------------------------------------------------------------------------------------

WEBHOOK = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/isthmus-netbird-operator-mpod-webhook"
ASKS = "/api/v1/namespaces/asks"


@pytest.mark.thorough
def test_the_webhook_is_away_in_all_of_this(world: World) -> None:
    """No API server here reaches a pod, so none gets an answer of the operator's pod webhook: with the program's values
    nobody misses it, also where a namespace asks for it.
    """
    prepare(world, "nothing")
    api = world.api
    api.post("/api/v1/namespaces", {"metadata": {"name": "asks", "labels": {SIDECARS_LABEL: "true"}}})
    container = {"name": "pause", "image": "registry.k8s.io/pause:3.10"}

    def pod(name: str) -> dict[str, Any]:
        return {"metadata": {"name": name}, "spec": {"containers": [container]}}

    api.post(f"{ASKS}/pods", pod("ignored"))
    webhooks = api.get(WEBHOOK)["webhooks"]
    api.edit(WEBHOOK, {"webhooks": [{**webhook, "failurePolicy": "Fail"} for webhook in webhooks]})
    try:
        with pytest.raises(Refused, match="failed calling webhook"):
            api.post(f"{ASKS}/pods", pod("refused"))
        for namespace in ("netbird", "kube-system"):
            api.post(f"/api/v1/namespaces/{namespace}/pods", pod("not-asked-for"))
    finally:
        api.edit(WEBHOOK, {"webhooks": webhooks})
        for namespace in ("netbird", "kube-system"):
            api.delete(f"/api/v1/namespaces/{namespace}/pods/not-asked-for")
        api.delete(ASKS)


# --- what comes too late ----------------------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("pod", "deadline", "what", "where"),
    [
        ("cilium-", "CILIUM_SECONDS", "Cilium's agents", "kubectl -n kube-system describe pods -l k8s-app=cilium"),
        (GUARDS_POD, "GUARD_SECONDS", "the guard of each node", "kubectl -n kube-system describe pods -l"),
        (KEEPERS_POD, "KEEPER_SECONDS", "the keeper of each router", "kubectl -n kube-system describe pods -l"),
        (RELAYS_POD, "RELAY_SECONDS", "the DNS relay", "kubectl -n kube-system describe pods -l"),
    ],
)
def test_pods_that_come_too_late(world: World, pod: str, deadline: str, what: str, where: str) -> None:
    prepare(world, "nothing")
    run = Run((f"waited 5 s for {what}, in vain: 0 of 1 ready; {pod}", "ImagePullBackOff", where, "which looks anew"))
    hold(world, pod)

    with shorter(world.project, {deadline: 5.0}):
        judge(world.project.run(*COMMANDS["up"], deadline_seconds=DEADLINE_SECONDS), run)

    world.kubelet.let_go()
    judge(world.project.run(*COMMANDS["up"], deadline_seconds=DEADLINE_SECONDS), WELL)
    world.project.run(*CLEAN, deadline_seconds=DEADLINE_SECONDS).expect(0)


@pytest.mark.thorough
def test_what_is_changed_back_after_a_change_that_failed_is_waited_for(world: World) -> None:
    """The guards' image is the agents', so a change of that starts them anew."""
    prepare(world, "changes")
    judge(world.project.run(*COMMANDS["up"], deadline_seconds=DEADLINE_SECONDS), WELL)
    guard = world.api.get(GUARD)["metadata"]["generation"]
    in_vain = Run(("waited 5 s for the guard of each node, in vain: 0 of 1 ready", "ImagePullBackOff"))

    hold(world, GUARDS_POD)
    with shorter(world.project, {"GUARD_SECONDS": 5.0}):
        for change in (world.change, world.change_back):
            change()
            judge(world.project.run(*COMMANDS["up"], deadline_seconds=DEADLINE_SECONDS), in_vain)
    assert world.api.get(GUARD)["metadata"]["generation"] == guard + 2

    world.kubelet.let_go()
    judge(world.project.run(*COMMANDS["up"], deadline_seconds=DEADLINE_SECONDS), WELL)
    world.project.run(*CLEAN, deadline_seconds=DEADLINE_SECONDS).expect(0)


@pytest.mark.thorough
def test_a_router_and_its_route_that_come_too_late(world: World) -> None:
    """From nothing, one after the other: a policy that is in place is held back by neither."""
    prepare(world, "all")
    up = COMMANDS["up"]
    world.enrols = False
    no_peer = ("after 5 s not all routers of isthmus-mn-routers are connected", "on worker-b (not enrolled)")
    no_route = ("waited 5 s for NetBird's route to", "in vain: worker-b: no route to", "which looks anew")

    with shorter(world.project, {"PEER_DEADLINE_SECONDS": 5.0, "ROUTE_SECONDS": 5.0}):
        judge(world.project.run(*up, deadline_seconds=DEADLINE_SECONDS), Run(no_peer))
        world.agents_find_their_way()
        world.routed = False
        judge(world.project.run(*up, deadline_seconds=DEADLINE_SECONDS), Run(no_route))

    world.routed = True
    judge(world.project.run(*up, deadline_seconds=DEADLINE_SECONDS), WELL)
    assert without_ids(world.in_netbird()) == THERE
    world.project.run(*CLEAN, deadline_seconds=DEADLINE_SECONDS).expect(0)
