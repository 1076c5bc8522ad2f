"""NetBird's operator reconciles twice, the second time with a cache that is stale, and says late what it has made:
NetBird then has two networks of the same name. The program goes by what the operator's status says.
"""

from __future__ import annotations

import pytest

from tests.engine.away import FAULTS
from tests.engine.kube_api import until
from tests.engine.test_drift import ROUTER
from tests.engine.world import STACK, World

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]

NAMESPACES = "/api/v1/namespaces"
NETWORK = "isthmus-mn"


@pytest.mark.thorough
def test_the_pods_are_offered_by_the_network_that_has_the_routers(world: World) -> None:
    world.api.post(NAMESPACES, {"metadata": {"name": "netbird"}})
    directory, _, name = FAULTS.rpartition("/")
    world.api.post(directory, {"metadata": {"name": name}, "data": {"reconcile-twice": "true", "status-delay": "2s"}})
    said = world.up().output
    made = [request for request in world.netbird.requests if request[:2] == ("POST", "/networks")]
    assert len(made) > 1, "the operator has made no second network"

    status = world.api.get(ROUTER)["status"]
    network = status["networkID"]
    assert [router["id"] for router in world.netbird.all(f"/networks/{network}/routers")]
    assert sorted(world.netbird.names(f"/networks/{network}/resources")) == ["isthmus-mn-pods", "isthmus-mn-services"]
    others = [item["id"] for item in world.netbird.all("/networks") if item["id"] != network]
    offered = [resource for other in others for resource in world.netbird.all(f"/networks/{other}/resources")]
    assert offered == []
    assert all(f"({other})" in said for other in others), said

    world.api.delete(FAULTS)
    world.up()
    world.project.run("preview", "-s", STACK, "--expect-no-changes").expect(0)
    world.destroy()
    until(lambda: world.in_netbird() == {}, "nothing is left in NetBird", 60)
