"""The DNS relay on the routers, its fronts on every node, and the service before them."""

from __future__ import annotations

from domain.objects.cluster_dns import checksum
from domain.objects.dns_relay import relay_spec
from tests.components.recording import Run


def test_relay_service_is_where_the_corefile_asks(mn: Run) -> None:
    service = mn.one("core/v1:Service").inputs["spec"]
    assert service["clusterIP"] == "10.53.0.53"
    assert "forward . 10.53.0.53" in mn.one(":ConfigMapPatch", "dns-zones").inputs["data"]["astring-de.internal.server"]
    assert service["ports"] == [
        {"name": "dns-udp", "protocol": "UDP", "port": 53, "targetPort": 1053},
        {"name": "dns-tcp", "protocol": "TCP", "port": 53, "targetPort": 1053},
    ]
    labels = mn.one(":DaemonSet", "isthmus-dns-relay").inputs["spec"]["template"]["metadata"]["labels"]
    assert service["selector"] == labels


def test_relay_pod() -> None:
    spec = relay_spec("coredns/coredns:1.14.7", "netbirdio/netbird:0.77.1", "exit 0", "sum")
    pod = spec["template"]["spec"]
    assert (pod["hostNetwork"], pod["dnsPolicy"]) == (True, "Default")
    assert pod["nodeSelector"] == {"isthmus.dev/router": "true"}
    assert spec["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}
    wait, relay = pod["initContainers"][0], pod["containers"][0]
    assert wait["image"] == "netbirdio/netbird:0.77.1"
    assert relay["livenessProbe"]["httpGet"] == {"host": "127.0.0.1", "port": 8053, "path": "/health"}
    assert relay["readinessProbe"]["httpGet"] == {"host": "127.0.0.1", "port": 8054, "path": "/ready"}


def test_of_several_routers_the_relays_stand_behind_fronts(two: Run, mn: Run) -> None:
    """CoreDNS asks the one of its own node; one router alone has none."""
    service = two.one("core/v1:Service").inputs["spec"]
    front = two.one(":DaemonSet", "isthmus-dns-relay-front").inputs["spec"]
    assert service["selector"] == front["template"]["metadata"]["labels"] == front["selector"]["matchLabels"]
    assert service["internalTrafficPolicy"] == "Local"
    assert "internalTrafficPolicy" not in mn.one("core/v1:Service").inputs["spec"]
    assert service["ports"] == mn.one("core/v1:Service").inputs["spec"]["ports"]
    pod = front["template"]["spec"]
    assert "nodeSelector" not in pod
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert "hostNetwork" not in pod, "the relay has the ports of a router's node"
    corefile = two.one(":ConfigMap", "isthmus-dns-relay-front").inputs["data"]["Corefile"]
    assert "forward . 192.168.7.11:1053 192.168.7.12:1053 {" in corefile
    assert not [item for item in mn.registrations if item.name == "isthmus-dns-relay-front"]
    asked = two.one(":ConfigMapPatch", "dns-zones").inputs["data"]["astring-de.internal.server"]
    assert "max_connect_attempts 2\n" in asked


def test_changed_corefile_restarts_the_relay(mn: Run) -> None:
    data = mn.one(":ConfigMap", "isthmus-dns-relay").inputs["data"]
    annotations = mn.one(":DaemonSet", "isthmus-dns-relay").inputs["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {"isthmus.dev/corefile-sha256": checksum(data)}
