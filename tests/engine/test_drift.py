"""What somebody changes by hand in NetBird and in Kubernetes: a preview that refreshes sees it, the next `up` that does
puts it right, and then the same preview says that there is nothing to do.

All of a kind is changed at once, because each run of the engine takes its time. One by one NetBird's changes are in
``tests/components/test_netbird_drift.py``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.engine.kube_api import Json, until
from tests.engine.project import Engine, Project
from tests.engine.world import STACK, World

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

CLEAN = ("preview", "-s", STACK, "--refresh", "--expect-no-changes")
"""The scheduled check of docs/how-to.md."""

CONFIG_MAPS = "/api/v1/namespaces/kube-system/configmaps"
DNS = f"{CONFIG_MAPS}/coredns-custom"
COREFILE = f"{CONFIG_MAPS}/isthmus-dns-relay"
RELAY = "/apis/apps/v1/namespaces/kube-system/daemonsets/isthmus-dns-relay"
SERVICE = "/api/v1/namespaces/kube-system/services/isthmus-dns-relay"
TOKEN = "/api/v1/namespaces/netbird/secrets/netbird-mgmt-api-key"
EGRESS = "/apis/cilium.io/v2/ciliumegressgatewaypolicies/isthmus-to-de"
METADATA = "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies/isthmus-deny-metadata"
ROUTER = "/apis/netbird.io/v1alpha1/namespaces/netbird/networkrouters/isthmus-mn"
SETUP_KEY = "/apis/netbird.io/v1alpha1/namespaces/netbird/setupkeys/isthmus-mn-router"
AGENTS = "/apis/apps/v1/namespaces/netbird/deployments/networkrouter-isthmus-mn"
"""What the router's agents run in. It goes some time after the router, by Kubernetes' garbage collector."""
NODE = "/api/v1/nodes/worker-b"
GUARD = "/apis/apps/v1/namespaces/kube-system/daemonsets/isthmus-guard"
KEEPER = "/apis/apps/v1/namespaces/kube-system/daemonsets/isthmus-keeper"
KEEPERS_KEY = "/api/v1/namespaces/kube-system/secrets/isthmus-keeper-key"
KEEPERS_ACCOUNT = "/api/v1/namespaces/kube-system/serviceaccounts/isthmus-keeper"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
COREDNS = "/apis/apps/v1/namespaces/kube-system/deployments/coredns"


@pytest.fixture(scope="module")
def raised(world: World) -> World:
    """mn, raised."""
    world.up()
    return world


def policy(world: World, name: str) -> Json:
    return world.netbird.one("/policies", f"isthmus-mn-to-de-{name}")


def put_right(world: World) -> None:
    world.up("--refresh")
    world.project.run(*CLEAN).expect(0)


def netbird_changed(world: World) -> set[tuple[str, str]]:
    netbird = world.netbird
    laptop = netbird.add("/peers", name="laptop", hostname="laptop", ip="100.92.0.50", connected=True)
    office = netbird.group("office", laptop["id"])
    policy(world, "pods").update(enabled=False)
    policy(world, "dns-udp")["rules"][0].update(ports=[], protocol="all", bidirectional=True)
    rule = policy(world, "dns-tcp")["rules"][0]
    rule["sources"] = [*rule["sources"], office]
    rule["destinations"] = [*rule["destinations"], office]
    network = netbird.one("/networks", "isthmus-mn")
    network["name"] = "renamed"
    resources = f"/networks/{network['id']}/resources"
    netbird.one(resources, "isthmus-mn-pods").update(enabled=False, address="10.0.0.0/8", groups=[office])
    netbird.one(resources, "isthmus-mn-services").update(address="10.0.0.0/8")
    netbird.all("/dns/zones")[0].update(enabled=False, distribution_groups=[office])
    netbird.one("/groups", "isthmus-mn-pods")["peers"].append(laptop["id"])
    # The router taken out, a stranger put in.
    netbird.one("/groups", "isthmus-mn-routers")["peers"] = [laptop["id"]]
    netbird.one("/setup-keys", "isthmus-mn-router").update(revoked=True, valid=False)
    return {
        ("update", "NetbirdPolicy isthmus-mn-to-de-pods"),
        ("update", "NetbirdPolicy isthmus-mn-to-de-dns-udp"),
        ("update", "NetbirdPolicy isthmus-mn-to-de-dns-tcp"),
        ("update", "NetbirdNetworkResource isthmus-mn-pods-resource"),
        ("update", "NetbirdNetworkResource isthmus-mn-services-resource"),
        ("update", "NetbirdDnsZone mn.routers.isthmus.internal"),
        ("update", "NetbirdGroup isthmus-mn-pods"),
        ("update", "NetbirdGroup isthmus-mn-routers"),
        ("update", "NetbirdRouterPeers isthmus-mn-peers"),
        ("update", "NetbirdSetupKey isthmus-mn-router-setup-key"),
        # What follows: the operator is told to make a key, and Cilium looks again at the address it leaves by.
        ("update", "SetupKey setupkey-isthmus-mn-router"),
        ("update", "CiliumEgressGatewayPolicy isthmus-to-de"),
    }


def netbird_deleted(world: World) -> set[tuple[str, str]]:
    netbird = world.netbird
    netbird.objects["/policies"].clear()
    network = netbird.one("/networks", "isthmus-mn")
    netbird.objects[f"/networks/{network['id']}/resources"].clear()
    # A second network of the name, as an operator makes it that looked at an old status.
    netbird.add("/networks", name="isthmus-mn")
    netbird.objects["/dns/zones"].clear()
    netbird.objects["/setup-keys"].remove(netbird.one("/setup-keys", "isthmus-mn-router"))
    netbird.objects["/groups"].remove(netbird.one("/groups", "isthmus-mn-pods"))
    return {
        ("create", "NetbirdPolicy isthmus-mn-to-de-pods"),
        ("create", "NetbirdPolicy isthmus-mn-to-de-dns-udp"),
        ("create", "NetbirdPolicy isthmus-mn-to-de-dns-tcp"),
        ("create", "NetbirdNetworkResource isthmus-mn-pods-resource"),
        ("create", "NetbirdNetworkResource isthmus-mn-services-resource"),
        ("create", "NetbirdDnsZone mn.routers.isthmus.internal"),
        ("create", "NetbirdGroup isthmus-mn-pods"),
        ("update", "NetbirdSetupKey isthmus-mn-router-setup-key"),
        ("update", "SetupKey setupkey-isthmus-mn-router"),
    }


def kubernetes_changed(world: World) -> set[tuple[str, str]]:
    api = world.api
    api.edit(DNS, {"data": {"astring-mn.internal.server": "# by hand"}})
    api.edit(COREFILE, {"data": {"Corefile": "# by hand"}})
    api.edit(RELAY, {"spec": {"template": {"spec": {"priorityClassName": "system-node-critical"}}}})
    api.edit(EGRESS, {"spec": {"destinationCIDRs": ["0.0.0.0/0"]}})
    api.edit(METADATA, {"spec": {"egressDeny": []}})
    api.edit(NODE, {"metadata": {"labels": {"isthmus.dev/router": "no"}}})
    return {
        ("update", "ConfigMapPatch dns-zones"),
        ("update", "ConfigMap isthmus-dns-relay"),
        ("update", "DaemonSet isthmus-dns-relay"),
        ("update", "CiliumEgressGatewayPolicy isthmus-to-de"),
        ("update", "CiliumClusterwideNetworkPolicy cilium-deny-metadata"),
        ("update", "NodePatch node-labels-worker-b"),
    }


def guard_and_keeper_changed(world: World) -> set[tuple[str, str]]:
    """What a person may do to what acts for the link: another pod, another key, more rights than it had."""
    api = world.api
    pods = {"spec": {"template": {"spec": {"priorityClassName": "system-cluster-critical"}}}}
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    everybody = [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:authenticated"}]
    api.edit(GUARD, pods)
    api.edit(KEEPER, pods)
    api.edit(f"{CONFIG_MAPS}/isthmus-keeper", {"data": {"keeper.json": "{}"}})
    api.edit(f"{CONFIG_MAPS}/isthmus-keeper-program", {"binaryData": {"keeper.pyz": "YnkgaGFuZA=="}})
    api.edit(KEEPERS_KEY, {"data": {"key": "YnkgaGFuZA=="}})
    api.edit(KEEPERS_ACCOUNT, {"metadata": {"labels": {"app.kubernetes.io/name": "by-hand"}}})
    api.edit(f"{RBAC}/clusterroles/isthmus-keeper", {"rules": everything})
    api.edit(f"{RBAC}/clusterrolebindings/isthmus-keeper", {"subjects": everybody})
    api.edit(f"{RBAC}/namespaces/netbird/roles/isthmus-keeper", {"rules": everything})
    api.edit(f"{RBAC}/namespaces/netbird/rolebindings/isthmus-keeper", {"subjects": everybody})
    return {
        ("update", "DaemonSet isthmus-guard"),
        ("update", "DaemonSet isthmus-keeper"),
        ("update", "ConfigMap isthmus-keeper"),
        ("update", "ConfigMap isthmus-keeper-program"),
        ("update", "Secret isthmus-keeper-key"),
        ("update", "ServiceAccount isthmus-keeper-serviceaccount"),
        ("update", "ClusterRole isthmus-keeper-clusterrole"),
        ("update", "ClusterRoleBinding isthmus-keeper-clusterrolebinding"),
        ("update", "Role isthmus-keeper-role"),
        ("update", "RoleBinding isthmus-keeper-rolebinding"),
    }


def kubernetes_deleted(world: World) -> set[tuple[str, str]]:
    for path in (DNS, COREFILE, RELAY, SERVICE, EGRESS, METADATA, TOKEN, ROUTER, SETUP_KEY):
        world.api.delete(path)
    for path in (ROUTER, SETUP_KEY, AGENTS):
        until(partial(world.api.is_gone, path), f"{path} is gone")
    routers = [peer for peer in world.netbird.all("/peers") if peer["name"].startswith("isthmus-mn-router-")]
    assert routers
    until(lambda: not any(peer["connected"] for peer in routers), "its agents have ended")
    return {
        ("create", "ConfigMapPatch dns-zones"),
        ("create", "ConfigMap isthmus-dns-relay"),
        ("create", "DaemonSet isthmus-dns-relay"),
        ("create", "Service isthmus-dns-relay"),
        ("create", "CiliumEgressGatewayPolicy isthmus-to-de"),
        ("create", "CiliumClusterwideNetworkPolicy cilium-deny-metadata"),
        ("create", "Secret netbird-operator-api-key"),
        ("create", "NetworkRouter networkrouter-isthmus-mn"),
        ("create", "SetupKey setupkey-isthmus-mn-router"),
        # What follows: the operator takes the router and the key out of NetBird, and Kubernetes the Deployment.
        ("create", "DeploymentPatch networkrouter-isthmus-mn"),
        ("create", "NetbirdNetworkResource isthmus-mn-pods-resource"),
        ("create", "NetbirdNetworkResource isthmus-mn-services-resource"),
        ("update", "NetbirdSetupKey isthmus-mn-router-setup-key"),
        ("update", "NetbirdRouterPeers isthmus-mn-peers"),
    }


@pytest.mark.parametrize(
    "change",
    [
        netbird_changed,
        kubernetes_changed,
        pytest.param(guard_and_keeper_changed, marks=pytest.mark.thorough),
        pytest.param(netbird_deleted, marks=pytest.mark.thorough),
        pytest.param(kubernetes_deleted, marks=pytest.mark.thorough),
    ],
)
def test_drift(raised: World, change: Callable[[World], set[tuple[str, str]]]) -> None:
    raised.project.run(*CLEAN).expect(0)
    expected = change(raised)
    assert raised.drifted() == expected
    put_right(raised)


def test_another_stack_of_the_same_name(raised: World, engine: Engine, tmp_path: Path) -> None:
    """Another project, or a colleague with another state, in the same account: told before it touches anything."""
    before = json.dumps(raised.netbird.objects, sort_keys=True)
    other = Project(engine, tmp_path / "other")
    shutil.copy(raised.project.directory / "Pulumi.mn.yaml", other.directory)
    shutil.copy(raised.project.directory / "Pulumi.de.yaml", other.directory)
    other.init(STACK)
    other.init("de")
    targets = (
        *("**JoinedCluster::mn", "**StackInstance::router-instance"),
        *("**NetbirdRouter::router", "**NetbirdClaim::isthmus-mn-claim"),
    )
    up = ("up", "-s", STACK, "--yes", "--skip-preview", *(f"--target={target}" for target in targets))

    refused = other.run(*up).expect(1)

    refused.says("was made by another stack called mn (another project, or another state)")
    assert json.dumps(raised.netbird.objects, sort_keys=True) == before
    other.run("destroy", "-s", STACK, "--yes", "--skip-preview").expect(0)
    assert json.dumps(raised.netbird.objects, sort_keys=True) == before
    raised.project.run(*CLEAN).expect(0)
