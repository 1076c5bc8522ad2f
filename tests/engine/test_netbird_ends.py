"""`destroy` of a stack on a cluster that exists, with a part of what it needs away: what is said is a way, and the way
works. Nothing of the stack stays in NetBird that could be removed, nor in the state.

What is away is the same at Hetzner and on machines of one's own in ``test_ends_of_sites.py``; a cluster that is gone is
in ``test_ends.py`` there.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable

import pytest

from components.netbird_peers import LET_GO
from tests.components.netbird_server import TOKEN as ANOTHER_TOKEN
from tests.engine.kube_api import until
from tests.engine.project import SECRETS, Running
from tests.engine.test_drift import COREFILE, DNS, RELAY, ROUTER, SERVICE
from tests.engine.world import DEADLINE_SECONDS, STACK, World
from toolchain import ensure

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

OPERATOR = "/apis/apps/v1/namespaces/netbird/deployments/isthmus-netbird-operator"
AGAIN_SECONDS = 5.0
NAMESPACE = "/api/v1/namespaces/netbird"


def destroy(world: World) -> tuple[str, ...]:
    return ("destroy", "-s", world.stack, "--yes", "--skip-preview")


def router(world: World) -> str:
    directory, _, _ = ROUTER.rpartition("/")
    return f"{directory}/isthmus-{world.stack}"


def shell(world: World, command: str, *, check: bool = True) -> None:
    """What a person types, with the real kubectl."""
    path = os.pathsep.join([str(ensure(["kubernetes"])["kubernetes"]), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "KUBECONFIG": str(world.persons_kubeconfig)}
    subprocess.run(["sh", "-c", command], env=environment, check=check, capture_output=True, timeout=DEADLINE_SECONDS)


WAY = re.compile(r"this lets it go, at any time, and again while it still waits: (.*)\n")


def way_in(text: str) -> str:
    """The command that lets the operator's objects go, as it was printed."""
    found = WAY.search(text)
    assert found, text
    return found[1]


def operators(world: World) -> list[str]:
    names = [str(pod["metadata"]["name"]) for pod in world.api.items("/api/v1/namespaces/netbird/pods")]
    return [name for name in names if name.startswith("isthmus-netbird-operator-")]


def let_go(world: World, running: Running) -> None:
    """The operator's objects wait for it in vain, and the person does what was printed; and again: an operator that is
    there gives what is not yet on its way out its finalizer back.
    """

    def waits() -> bool:
        # The engine prints what it was told beside its work.
        return "deletionTimestamp" in world.api.get(router(world))["metadata"] and bool(WAY.search(running.said))

    running.wait_for(waits, "the router goes, and the way is told", DEADLINE_SECONDS)
    shell(world, way_in(running.said))
    end = time.monotonic() + DEADLINE_SECONDS
    while running.goes_on and time.monotonic() < end:
        time.sleep(AGAIN_SECONDS)
        shell(world, way_in(running.said), check=False)


def cluster_gone(world: World) -> None:
    world.api.away()
    world.destroy(code=1).says("PULUMI_K8S_DELETE_UNREACHABLE")
    gone = {"PULUMI_K8S_DELETE_UNREACHABLE": "true"}
    world.project.run(*destroy(world), environment=gone)
    (release,) = [
        resource["urn"] for resource in world.project.resources(STACK) if resource["urn"].endswith("::isthmus-cilium")
    ]
    world.project.run("state", "delete", release, "-s", STACK, "--yes", "--target-dependents").expect(0)
    world.destroy(environment=gone)


def netbird_gone(world: World) -> None:
    world.netbird_away()
    refused = world.destroy(code=1)
    refused.says("run the same command again when NetBird answers")
    refused.says("to go on and leave NetBird as it is: `ISTHMUS_SKIP_NETBIRD=1 pulumi destroy`")
    world.netbird_back()
    world.destroy()


def netbird_gone_for_good(world: World) -> None:
    world.netbird_away()
    running = world.project.start(*destroy(world), environment={"ISTHMUS_SKIP_NETBIRD": "1"})
    let_go(world, running)
    running.end(DEADLINE_SECONDS).expect(0).says("left in NetBird as it is: peers of group isthmus-mn-routers")


def operator_gone(world: World) -> None:
    world.api.edit(OPERATOR, {"spec": {"replicas": 0}})
    until(lambda: not operators(world), "the operator has no pod")
    running = world.project.start(*destroy(world))
    let_go(world, running)
    running.end(DEADLINE_SECONDS).expect(0)


def token_revoked(world: World) -> None:
    world.netbird.token = ANOTHER_TOKEN
    refused = world.destroy(code=1)
    refused.says("401: token invalid; the token in netbirdApiToken is wrong, revoked or expired")
    refused.says("and then `pulumi up`, or `pulumi destroy --run-program`")
    world.project.run("config", "set", "--secret", "netbirdApiToken", "-s", world.stack, "--", ANOTHER_TOKEN).expect(0)
    running = world.project.start(*destroy(world), "--run-program")
    let_go(world, running)
    running.end(DEADLINE_SECONDS).expect(0)


@pytest.fixture
def raised(world: World) -> World:
    """mn, raised, and everything there again."""
    world.api.back()
    world.netbird_back()
    world.netbird.token = SECRETS["isthmus:netbirdApiToken"]
    world.project.run(
        "config", "set", "--secret", "netbirdApiToken", "-s", world.stack, "--", world.netbird.token
    ).expect(0)
    clean_cluster(world)
    world.up()
    return world


def clean_cluster(world: World) -> None:
    """What a destroy without its cluster has left there."""
    for path in (NAMESPACE, DNS, COREFILE, RELAY, SERVICE):
        world.api.delete(path)

    def is_gone() -> bool:
        if world.api.is_gone(NAMESPACE):
            return True
        # What the operator takes away meanwhile is missed by it.
        shell(world, LET_GO, check=False)
        return False

    until(is_gone, "the namespace is gone")


@pytest.mark.parametrize(
    ("gone", "left"),
    [
        (operator_gone, {}),
        pytest.param(token_revoked, {}, marks=pytest.mark.thorough),
        pytest.param(netbird_gone, {}, marks=pytest.mark.thorough),
        pytest.param(cluster_gone, {}, marks=pytest.mark.thorough),
        pytest.param(netbird_gone_for_good, None, marks=pytest.mark.thorough),
    ],
)
def test_end(raised: World, gone: Callable[[World], None], left: dict[str, list[str]] | None) -> None:
    gone(raised)
    assert raised.project.resources(STACK) == []
    # Nobody can clear up in a server that is gone.
    if left is not None:
        assert raised.in_netbird() == left
    raised.destroy()
