"""The keeper beside the engine: which node an egress policy names is the keeper's field, and no preview, `up` or
refresh takes it back or meets a conflict.
"""

from __future__ import annotations

import json

import pytest

from domain.names import KEEPER_MANAGER
from tests.engine.deadlines import shorter
from tests.engine.world import STACK, World

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

CLEAN = ("preview", "-s", STACK, "--refresh", "--expect-no-changes")
POLICIES = "/apis/cilium.io/v2/ciliumegressgatewaypolicies"
EGRESS = f"{POLICIES}/isthmus-to-de"
HOSTNAME = "kubernetes.io/hostname"
KEEPER = "/apis/apps/v1/namespaces/kube-system/daemonsets/isthmus-keeper"
KEY = "/api/v1/namespaces/kube-system/secrets/isthmus-keeper-key"


@pytest.fixture(scope="module")
def raised(world: World) -> World:
    """mn, raised."""
    world.up()
    return world


def keeper_names(world: World, node: str) -> str:
    """The keeper's patch, with the version that it has seen as a condition; returns the new one."""
    version = world.api.get(EGRESS)["metadata"]["resourceVersion"]
    selector = {"matchLabels": {HOSTNAME: node}}
    change = {
        "metadata": {"resourceVersion": version},
        "spec": {"egressGateway": {"nodeSelector": selector}},
    }
    world.api.edit(EGRESS, change, manager=KEEPER_MANAGER)
    return str(world.api.get(EGRESS)["metadata"]["resourceVersion"])


def labels(policy: dict[str, object]) -> dict[str, str]:
    selector: dict[str, dict[str, dict[str, dict[str, str]]]] = policy["spec"]  # type: ignore[assignment]
    return selector["egressGateway"]["nodeSelector"]["matchLabels"]


def test_what_the_keeper_has_named_is_no_change_and_no_conflict(raised: World) -> None:
    since = keeper_names(raised, "worker-c")
    raised.project.run("preview", "-s", STACK, "--expect-no-changes").expect(0)
    raised.project.run(*CLEAN).expect(0)
    # Another manager's change of a field that is the engine's, so that the next `up` has to write the policy.
    raised.api.edit(EGRESS, {"spec": {"destinationCIDRs": ["0.0.0.0/0"]}})

    raised.up("--refresh")

    seen = [event["object"] for event in raised.api.events(POLICIES, since)]
    written = [policy for policy in seen if policy["spec"]["destinationCIDRs"] != ["0.0.0.0/0"]]
    assert written, "the engine has written the policy"
    # There is no node of that name, and the program's own look at routers names one that works in its place. That
    # is another manager than the engine.
    assert {labels(policy)[HOSTNAME] for policy in written} <= {"worker-c", "worker-b"}
    assert labels(written[0])[HOSTNAME] == "worker-c"
    assert labels(written[0]).keys() == {HOSTNAME, "isthmus.dev/router"}
    raised.project.run(*CLEAN).expect(0)


def test_a_refresh_takes_nothing_of_it_into_the_settings(raised: World) -> None:
    keeper_names(raised, "worker-c")
    raised.refresh()
    raised.project.run("preview", "-s", STACK, "--expect-no-changes").expect(0)
    raised.project.run(*CLEAN).expect(0)
    assert labels(raised.api.get(EGRESS))[HOSTNAME] == "worker-c"


def test_the_key_is_in_plain_neither_in_the_state_nor_in_outputs(raised: World) -> None:
    encoded = raised.api.get(KEY)["data"]["key"]
    shown = raised.project.run("stack", "export", "-s", STACK, "--show-secrets").expect(0).stdout
    (key,) = {
        resource["outputs"]["key"]["plaintext"]
        for resource in json.loads(shown)["deployment"]["resources"]
        if resource["urn"].endswith("KeeperKey::isthmus-keeper-key")
    }
    key = json.loads(key)
    assert len(key) == 64
    state = raised.project.run("stack", "export", "-s", STACK).expect(0).stdout
    outputs = raised.project.run("stack", "output", "--json", "-s", STACK).expect(0).stdout
    for text in (state, outputs):
        assert key not in text
        assert encoded not in text


def test_a_link_that_does_not_carry_is_told_in_the_keepers_words_and_fails_nothing(raised: World) -> None:
    raised.keeper_says = "no answer of de-agent-1 (100.92.0.7) for 40 s"
    said = "the link to de is in place and does not carry yet. The keeper says: worker-b: no answer of de-agent-1"
    try:
        # For how long it is waited has no part in what is said then.
        with shorter(raised.project, {"LINK_SECONDS": 2.0}):
            raised.up().says(said)
    finally:
        raised.keeper_says = ""
    again = raised.up()
    assert "does not carry" not in again.output


def test_a_keeper_stays_when_up_runs_again(raised: World) -> None:
    before = raised.api.get(KEEPER)["metadata"]
    key = raised.api.get(KEY)["data"]
    raised.up()
    assert raised.api.get(KEEPER)["metadata"]["generation"] == before["generation"]
    assert raised.api.get(KEY)["data"] == key


def test_nothing_of_it_is_left(raised: World) -> None:
    raised.destroy()
    assert raised.api.is_gone(KEEPER)
    for path in ("/api/v1/namespaces/kube-system/configmaps", "/api/v1/namespaces/kube-system/secrets"):
        assert [
            item["metadata"]["name"] for item in raised.api.items(path) if "keeper" in item["metadata"]["name"]
        ] == []
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    for path in (f"{rbac}/clusterroles", f"{rbac}/clusterrolebindings", f"{rbac}/roles", f"{rbac}/rolebindings"):
        assert [
            item["metadata"]["name"] for item in raised.api.items(path) if "keeper" in item["metadata"]["name"]
        ] == []
