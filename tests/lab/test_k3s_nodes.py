"""The k3s stand-in on machines: a server and an agent, installed by the program's own script, images from the mirror.

With a lab up these tests add machines of their own to it and remove them; else they make a lab and take it down. There
is no CNI here, so only pods on the host's network run.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from typing import Any

import pytest
import yaml

from domain.names import INSTALL_SCRIPT, UNINSTALL_SCRIPT
from domain.node_files import node_files
from domain.plan import address_plan
from lab import machines
from lab.commands import wait_until
from lab.standins.k3s.layout import VERSION
from lab.topology import PROBE_IMAGE
from tests.lab.raised import TOKEN, lay, machine_at, own_k3s

pytestmark = [
    pytest.mark.link,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="machines need root"),
]

NETWORK = "isthmus-test-k3s"
GATEWAY = IPv4Interface("10.77.1.1/24")
SERVER, AGENT = "test-k3s-1", "test-k3s-2"
ADDRESSES = {SERVER: IPv4Address("10.77.1.11"), AGENT: IPv4Address("10.77.1.12")}
START_SECONDS = 60.0
"""Measured: 5 s for a server and 1 s for an agent, and the install script looks every 3 s."""
GUARD_SECONDS = 180.0
"""For what comes by itself within seconds."""

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "probe"},
    "spec": {
        "nodeName": AGENT,
        "hostNetwork": True,
        "tolerations": [{"operator": "Exists"}],
        "containers": [
            {
                "name": "probe",
                "image": PROBE_IMAGE,
                "imagePullPolicy": "IfNotPresent",
                # Without it a pod counts as ready once its process is there, which is before that listens.
                "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
            }
        ],
    },
}


@dataclass(frozen=True)
class Cluster:
    """The two nodes, and how long their installation took."""

    seconds: dict[str, float]

    def run(self, name: str, *argv: str, text: str = "") -> str:
        return machines.exec(name, argv, text=text, check=True, deadline_seconds=120).stdout

    def kubectl(self, *arguments: str, text: str = "") -> str:
        return self.run(SERVER, "k3s", "kubectl", *arguments, text=text)

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", "--output=json", *arguments))


@pytest.fixture(scope="module")
def cluster(lab: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    root = tmp_path_factory.mktemp("mirror")
    seconds = {}
    ranges = "10.62.0.0/16", "10.63.0.0/16"
    with own_k3s(
        NETWORK, GATEWAY, ADDRESSES, PROBE_IMAGE, root=root, ranges=ranges, servers=(SERVER,), router=AGENT
    ) as parsed:
        plan = address_plan(parsed)
        for node in plan.nodes:
            machines.create(machine_at(node.name, node.address, NETWORK, GATEWAY))
            machines.start(node.name)
            machines.wait_boot(node.name)
            lay(node.name, node_files(plan, node, parsed, TOKEN, "password"))
            started = time.monotonic()
            machines.exec(node.name, [INSTALL_SCRIPT], check=True, deadline_seconds=300)
            seconds[node.name] = time.monotonic() - started
        yield Cluster(seconds)


def test_nodes_come_up_in_time(cluster: Cluster) -> None:
    assert cluster.seconds.keys() == ADDRESSES.keys()
    assert max(cluster.seconds.values()) < START_SECONDS


def test_nodes_register_with_their_addresses_ranges_and_labels(cluster: Cluster) -> None:
    def with_ranges() -> dict[str, Any] | None:
        found = {node["metadata"]["name"]: node for node in cluster.get("nodes")["items"]}
        return found if all("podCIDR" in node["spec"] for node in found.values()) else None

    # A node is up once it has registered; the controllers give it its range after that.
    nodes = wait_until(with_ranges, what="every node has its range", deadline_seconds=GUARD_SECONDS)
    assert nodes.keys() == ADDRESSES.keys()
    for name, node in nodes.items():
        addresses = {address["type"]: address["address"] for address in node["status"]["addresses"]}
        assert addresses == {"InternalIP": str(ADDRESSES[name]), "Hostname": name}
        assert node["status"]["nodeInfo"]["kubeletVersion"] == VERSION.partition("+")[0]
        assert node["spec"]["podCIDR"].startswith("10.62.")
    labels = {name: node["metadata"]["labels"] for name, node in nodes.items()}
    assert labels[SERVER]["node-role.kubernetes.io/control-plane"] == "true"
    assert "node-role.kubernetes.io/control-plane" not in labels[AGENT]
    assert [name for name in labels if "isthmus" in " ".join(labels[name])] == [AGENT]


def test_coredns_is_packaged_and_waits_for_a_network(cluster: Cluster) -> None:
    service = cluster.get("service", "--namespace=kube-system", "kube-dns")
    assert service["spec"]["clusterIP"] == "10.63.0.10"

    def phases() -> list[str]:
        pods = cluster.get("pods", "--namespace=kube-system", "--selector=k8s-app=kube-dns")["items"]
        return [pod["status"]["phase"] for pod in pods]

    # The controllers make it from the packaged manifest, which is there once the API serves.
    assert wait_until(phases, what="CoreDNS has its pod", deadline_seconds=GUARD_SECONDS) == ["Pending"]

    def node_hosts() -> str | None:
        data = cluster.get("configmap", "--namespace=kube-system", "coredns")["data"]
        found: str = data.get("NodeHosts", "")
        return found if found.count("\n") == len(ADDRESSES) else None

    found = wait_until(node_hosts, what="both nodes are in NodeHosts", deadline_seconds=GUARD_SECONDS)
    assert found == "".join(f"{address} {name}\n" for name, address in ADDRESSES.items())


def test_a_pod_runs_from_mirrored_images_and_answers_exec_and_logs(cluster: Cluster) -> None:
    def service_accounts() -> list[Any]:
        found: list[Any] = cluster.get("serviceaccounts")["items"]
        return found

    # The controllers make the one that every pod has, and before that the API refuses pods.
    wait_until(service_accounts, what="the namespace has its service account", deadline_seconds=GUARD_SECONDS)
    cluster.kubectl("apply", "--filename=-", text=json.dumps(POD))
    cluster.kubectl("wait", "--for=condition=Ready", "--timeout=110s", "pod/probe")
    answer = cluster.kubectl("exec", "probe", "--", "curl", "-fsS", f"http://{ADDRESSES[AGENT]}:8080/hostname")
    assert answer == f"{AGENT}\n"
    # containerd writes what a container says on its own time.
    wait_until(
        lambda: "/hostname" in cluster.kubectl("logs", "probe"),
        what="the request is in the log",
        deadline_seconds=GUARD_SECONDS,
    )


def test_the_api_answers_on_6444_of_every_node(cluster: Cluster) -> None:
    kubeconfig = yaml.safe_load(cluster.run(SERVER, "cat", "/etc/rancher/k3s/k3s.yaml"))
    kubeconfig["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:6444"
    for name in ADDRESSES:
        command = ["/usr/libexec/isthmus-lab/kubectl", "--kubeconfig=/dev/stdin", "get", "--raw", "/readyz"]
        assert cluster.run(name, *command, text=yaml.safe_dump(kubeconfig)) == "ok"


def test_the_install_script_again_restarts_nothing(cluster: Cluster) -> None:
    def processes_started() -> list[str]:
        units = {SERVER: "k3s", AGENT: "k3s-agent"}
        return [
            cluster.run(name, "systemctl", "show", "-p", "MainPID", "--value", unit) for name, unit in units.items()
        ]

    before = processes_started()
    for name in ADDRESSES:
        cluster.run(name, INSTALL_SCRIPT)
    assert processes_started() == before


def test_a_restart_keeps_pods_and_the_kubeconfig(cluster: Cluster) -> None:
    def seen() -> tuple[str, str]:
        return cluster.run(SERVER, "cat", "/etc/rancher/k3s/k3s.yaml"), cluster.run(
            AGENT, "pgrep", "-f", "probe-serve[r]"
        )

    before = seen()
    cluster.run(AGENT, "systemctl", "restart", "k3s-agent")
    cluster.run(SERVER, "systemctl", "restart", "k3s")
    assert seen() == before
    cluster.kubectl("wait", "--for=condition=Ready", "--timeout=110s", "pod/probe")


def test_a_killed_component_comes_back(cluster: Cluster) -> None:
    def api_server() -> str | None:
        # First whether one answers: the process of a moment before need not be the one that does.
        ready = machines.exec(SERVER, ["k3s", "kubectl", "get", "--raw", "/readyz"]).stdout == "ok"
        found = machines.exec(SERVER, ["pgrep", "-x", "kube-apiserver"]).stdout.strip()
        return found if ready and found else None

    before = wait_until(api_server, what="the API server is ready", deadline_seconds=GUARD_SECONDS)
    cluster.run(SERVER, "pkill", "-KILL", "-x", "kube-apiserver")

    def another() -> bool:
        found = api_server()
        return found is not None and found != before

    # The killed one may still be there when it is looked for.
    wait_until(another, what="another API server is ready", deadline_seconds=GUARD_SECONDS)


def test_nothing_of_a_killed_k3s_stays_but_the_pods(cluster: Cluster) -> None:
    main = cluster.run(AGENT, "systemctl", "show", "-p", "MainPID", "--value", "k3s-agent").strip()
    kubelet = cluster.run(AGENT, "pgrep", "-x", "kubelet").strip()
    probe = cluster.run(AGENT, "pgrep", "-f", "probe-serve[r]")
    cluster.run(AGENT, "kill", "-KILL", main)

    def back() -> bool:
        active = machines.exec(AGENT, ["systemctl", "is-active", "k3s-agent"]).stdout.strip() == "active"
        # A kubelet that begins a program is there twice for a moment; one that stayed would be for good.
        found = machines.exec(AGENT, ["pgrep", "-x", "kubelet"]).stdout.split()
        return active and len(found) == 1 and found[0] not in kubelet.split()

    wait_until(back, what="k3s-agent is back, with one kubelet", deadline_seconds=GUARD_SECONDS)
    assert cluster.run(AGENT, "pgrep", "-f", "probe-serve[r]") == probe


def test_the_token_is_in_no_process_list_and_no_log(cluster: Cluster) -> None:
    for name in ADDRESSES:
        assert TOKEN not in cluster.run(name, "ps", "axeww", "-o", "args")
        assert TOKEN not in cluster.run(name, "journalctl", "--no-pager", "--output=export")


def test_a_reboot_brings_node_and_pod_back(cluster: Cluster) -> None:
    machines.reboot(AGENT)
    machines.wait_boot(AGENT)

    def restarts() -> int | None:
        status = cluster.get("pod", "probe")["status"]["containerStatuses"][0]
        return int(status["restartCount"]) if status["ready"] else None

    # At first the API still tells what was before the reboot.
    assert wait_until(lambda: restarts() or None, what="the pod runs again", deadline_seconds=GUARD_SECONDS) == 1


def test_uninstalling_leaves_nothing(cluster: Cluster) -> None:
    for name in (AGENT, SERVER):
        cluster.run(name, UNINSTALL_SCRIPT)
        gone(name)
        paths = ("/etc/rancher", "/usr/local/bin/k3s", "/var/lib/rancher/k3s", "/run/k3s")
        assert [path for path in paths if machines.exec(name, ["test", "-e", path]).returncode == 0] == []


def gone(name: str) -> None:
    """Waits until no process of k3s is on the machine: a killed one is there until it is reaped."""

    def left() -> str:
        return machines.exec(name, ["pgrep", "-l", "containerd|kube|etcd|k3s|probe-server|pause"]).stdout

    wait_until(lambda: not left(), what=f"{name} has no process of k3s", deadline_seconds=60, state=left)
