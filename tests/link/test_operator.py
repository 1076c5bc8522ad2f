"""NetBird's operator stands in nobody's way: pods start while it is away and while its chart is upgraded.

It goes on with a new token.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from components.kubernetes_client import KubernetesClient, KubernetesError
from lab.commands import wait_until
from lab.errors import CommandFailed
from lab.inside import call_inside
from lab.kubernetes import Cluster, is_ready
from lab.netbird_api import NetBirdApi
from lab.pulumi_command import Pulumi
from lab.status import NETBIRD_NAMESPACE
from lab.topology import WORKSTATION_NAMESPACE
from tests.link.changing import UNCHANGED, previewed, stack_files_kept, up

pytestmark = pytest.mark.link

STACK: Final = "mn"
OPERATOR: Final = "isthmus-netbird-operator"
SIDECARS: Final = "isthmus.dev/netbird-sidecars"
TRIAL: Final = "operator-trial"
"""The namespace of these tests; it has the label with which the webhook is asked."""
PLAIN: Final = "operator-trial-plain"
"""One that has not, as no namespace has unless a person labels it."""
BACK_SECONDS: Final = 60.0
GAP_SECONDS: Final = 6.0
"""From one pod to the next. One that waits for the webhook of an operator that is away waits 10 s; without it a machine
with nothing else to do stays below 1 s, one with a load of 100 took 1.3 s.
"""
KEY: Final = "isthmus-mn-router"
KEY_SECRET: Final = f"setup-key-{KEY}"
NO_SIDECARS: Final = "the lab's stand-in for NetBird's operator has no sidecars"


def pod(namespace: str) -> dict[str, Any]:
    """A pod that is made and never starts: no node has its label."""
    spec = {"nodeSelector": {TRIAL: "nowhere"}, "containers": [{"name": "c", "image": "unused"}]}
    metadata = {"generateName": "pod-", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.fixture(scope="module")
def mn(clusters: Mapping[str, Cluster]) -> Iterator[Cluster]:
    """The cluster, with the two namespaces."""
    cluster = clusters[STACK]
    cluster.apply(
        [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
            for name, labels in ((TRIAL, {SIDECARS: "true"}), (PLAIN, {}))
        ]
    )
    yield cluster
    # Nobody comes after them, and Kubernetes takes its time.
    cluster.kubectl("delete", "namespace", TRIAL, PLAIN, "--wait=false")


@pytest.fixture(scope="module")
def api(pulumi: Pulumi) -> KubernetesClient:
    """A client of the same cluster that answers within milliseconds."""
    return KubernetesClient(pulumi.run("stack", "output", "kubeconfig", "--show-secrets", "-s", STACK).stdout)


def make_pod(client: KubernetesClient, namespace: str) -> str:
    """What the API server said against the pod, nothing when it made it."""
    try:
        call_inside(
            WORKSTATION_NAMESPACE,
            lambda: client.request("POST", f"/api/v1/namespaces/{namespace}/pods", body=pod(namespace)),
        )
    except KubernetesError as refusal:
        return str(refusal)
    return ""


def deployment(cluster: Cluster) -> dict[str, Any]:
    (found,) = [item for item in cluster.get("deployments", namespace=NETBIRD_NAMESPACE) if named(item) == OPERATOR]
    return found


def named(item: Mapping[str, Any]) -> str:
    return str(item["metadata"]["name"])


@pytest.fixture
def away(mn: Cluster) -> Iterator[None]:
    """The operator is scaled to zero, and comes back afterwards."""

    def scale(replicas: int) -> None:
        mn.kubectl("scale", "deployment", OPERATOR, "-n", NETBIRD_NAMESPACE, f"--replicas={replicas}")

    scale(0)
    try:
        wait_until(
            lambda: not mn.get("pods", namespace=NETBIRD_NAMESPACE, selector="app.kubernetes.io/component=operator"),
            what="the operator's pod is gone",
            deadline_seconds=60,
        )
        yield
    finally:
        scale(1)
        mn.kubectl("rollout", "status", f"deployment/{OPERATOR}", "-n", NETBIRD_NAMESPACE, deadline_seconds=120)


def test_the_webhook_is_asked_where_a_person_wants_it(mn: Cluster, api: KubernetesClient) -> None:
    """It is alive and can refuse: else the tests below would show nothing."""
    for namespace in (TRIAL, PLAIN):
        profile = {
            "apiVersion": "netbird.io/v1alpha1",
            "kind": "SidecarProfile",
            "metadata": {"name": "all", "namespace": namespace},
            "spec": {},
        }
        mn.apply([profile])
    try:
        wait_until(
            lambda: NO_SIDECARS in make_pod(api, TRIAL), what="a pod is refused by the webhook", deadline_seconds=20
        )
        assert make_pod(api, PLAIN) == ""
    finally:
        for namespace in (TRIAL, PLAIN):
            mn.kubectl("delete", "sidecarprofile", "all", "-n", namespace)


@pytest.mark.usefixtures("away")
def test_pods_come_back_while_the_operator_is_away(mn: Cluster, api: KubernetesClient) -> None:
    chosen = {"k8s-app=kube-dns": "", "k8s-app=cilium": ""}
    before = {
        selector: {named(item): item for item in mn.get("pods", namespace="kube-system", selector=selector)}
        for selector in chosen
    }
    begun = time.monotonic()
    for there in before.values():
        mn.kubectl("delete", "pod", min(there), "-n", "kube-system", "--wait=false")

    def back() -> bool:
        for selector, there in before.items():
            now = mn.get("pods", namespace="kube-system", selector=selector)
            if min(there) in map(named, now) or len(now) != len(there) or not all(map(is_ready, now)):
                return False
        return True

    wait_until(back, what="a CoreDNS and a Cilium pod are back", deadline_seconds=BACK_SECONDS)
    assert time.monotonic() - begun < BACK_SECONDS
    assert make_pod(api, TRIAL) == "", "the webhook's failure policy"


@dataclass
class PodMaker:
    """Makes pods one after the other until it is told to stop."""

    api: KubernetesClient
    made: int = 0
    refused: list[str] = field(default_factory=list)
    longest_seconds: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        last = time.monotonic()
        while not self._stop.is_set():
            said = make_pod(self.api, PLAIN)
            if said:
                self.refused.append(said)
            else:
                self.made += 1
                now = time.monotonic()
                self.longest_seconds, last = max(self.longest_seconds, now - last), now
            self._stop.wait(0.1)

    def stop(self) -> None:
        self._stop.set()


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """The stack has had another token and has its own again; the other one is revoked."""

    maker: PodMaker
    annotations: tuple[str, ...]


def token_of(netbird: NetBirdApi, user: str, name: str) -> tuple[str, str]:
    """Id and text of a new access token."""
    made = netbird.create(f"users/{user}/tokens", {"name": name, "expires_in": 1})
    return str(made["personal_access_token"]["id"]), str(made["plain_token"])


@pytest.fixture(scope="module")
def rotated(mn: Cluster, api: KubernetesClient, pulumi: Pulumi, netbird: NetBirdApi) -> Rotation:
    """The token is rotated twice, to another one and back, by one `up` each, which upgrades the chart."""
    user = str(netbird.call("GET", "/api/users/current")["id"])
    id_, token = token_of(netbird, user, "another")
    annotations = [mark(mn)]
    maker = PodMaker(api)
    thread = threading.Thread(target=maker.run)
    changes = []
    try:
        thread.start()
        try:
            with stack_files_kept([STACK]):
                pulumi.run("config", "set", "--secret", "netbirdApiToken", "-s", STACK, stdin=token)
                changes.append(up(pulumi, [STACK])[STACK])
                annotations.append(mark(mn))
        finally:
            changes.append(up(pulumi, [STACK])[STACK])
        annotations.append(mark(mn))
        assert [set(change) - set(UNCHANGED) for change in changes] == [{"update"}] * 2, changes
    finally:
        maker.stop()
        thread.join()
        netbird.delete(f"users/{user}/tokens", id_)
    return Rotation(maker=maker, annotations=tuple(annotations))


def mark(cluster: Cluster) -> str:
    found: Mapping[str, str] = deployment(cluster)["spec"]["template"]["metadata"]["annotations"]
    return found["isthmus.dev/netbird-token"]


def test_an_upgrade_of_the_chart_stops_no_pod(rotated: Rotation) -> None:
    maker = rotated.maker
    assert maker.refused == []
    assert maker.made > 50
    assert maker.longest_seconds < GAP_SECONDS


def test_each_token_starts_the_operator_anew(rotated: Rotation) -> None:
    own, another, own_again = rotated.annotations
    assert own == own_again != another


@pytest.mark.usefixtures("rotated")
def test_the_operator_goes_on_with_the_new_token(mn: Cluster, netbird: NetBirdApi) -> None:
    """A key whose Secret is gone is made anew in NetBird, which takes a token that is valid: the other one is not."""
    before = {setup_key["id"] for setup_key in netbird.list("setup-keys")}
    mn.kubectl("delete", "secret", KEY_SECRET, "-n", NETBIRD_NAMESPACE)

    def anew() -> bool:
        with suppress(CommandFailed):
            mn.kubectl("get", "secret", KEY_SECRET, "-n", NETBIRD_NAMESPACE)
            return bool({setup_key["id"] for setup_key in netbird.list("setup-keys")} - before)
        return False

    wait_until(anew, what="the operator has made a new setup key", deadline_seconds=60)


@pytest.mark.usefixtures("rotated")
def test_the_program_goes_on_with_the_new_token(pulumi: Pulumi) -> None:
    """A refresh asks NetBird for everything that the stack has there, with its token."""
    told = json.loads(pulumi.run("preview", "--refresh", "--json", "-s", STACK).stdout)
    seen = [step["urn"] for step in told["steps"] if step["op"] == "refresh" and "NetbirdGroup" in step["urn"]]
    assert len(seen) == 3, "pods, services and routers"


def test_a_setup_key_that_misses_its_ready_holds_up_nothing(mn: Cluster, pulumi: Pulumi) -> None:
    """The operator ends between its last step and the word for it, and never says it afterwards."""
    faults = {"name": "stand-in-faults", "namespace": NETBIRD_NAMESPACE}
    mn.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": faults, "data": {"exit-at": "secret-written"}}])
    try:
        state = json.loads(pulumi.run("stack", "export", "-s", STACK).stdout)["deployment"]["resources"]
        (urn,) = [resource["urn"] for resource in state if resource["type"].endswith(":SetupKey")]
        pulumi.run("up", "--yes", "--skip-preview", "-s", STACK, "--replace", urn)

        def ended_there() -> bool:
            (left,) = [
                config_map
                for config_map in mn.get("configmaps", namespace=NETBIRD_NAMESPACE)
                if named(config_map) == faults["name"]
            ]
            return not left.get("data")

        # An `up` does not wait for the key, so it may be done before the operator is.
        wait_until(ended_there, what="the operator has ended there", deadline_seconds=60, every_seconds=0.2)
        (key,) = [
            setup_key
            for setup_key in mn.get("setupkeys.netbird.io", namespace=NETBIRD_NAMESPACE)
            if named(setup_key) == KEY
        ]
        assert key["status"]["setupKeyID"]
        assert not key["status"].get("conditions")
        assert previewed(pulumi, STACK) == {}
    finally:
        mn.kubectl("delete", "configmap", faults["name"], "-n", NETBIRD_NAMESPACE, "--ignore-not-found")
