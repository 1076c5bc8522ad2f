"""A change of labels, TTLs, firewall sources or a Cilium value is applied in place, and the link carries afterwards; a
change of a running cluster's pod CIDR is refused with what to do instead.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from lab import machines, project
from lab.inside import call_inside
from lab.kubernetes import Cluster, is_ready
from lab.pulumi_command import Pulumi
from lab.topology import (
    DEFAULT,
    NETBIRD_ADDRESS,
    SERVICES_NAMESPACE,
    WORKSTATION_NAMESPACE,
)
from tests.link.assertions import ALL_BUT_THROUGHPUT, all_passed
from tests.link.changing import UNCHANGED, at_hetzner, change_settings, changes_ahead, config_of, stack_files_kept, up
from tests.link.conftest import Verify

pytestmark = pytest.mark.link

REPOSITORY: Final = Path(__file__).resolve().parents[2]
STACKS: Final = ("de", "mn")
SERVERS: Final = ["de-agent-1", "de-server-1"]
LABELLED: Final = ("servers", "networks", "firewalls", "ssh_keys", "placement_groups")
"""Kinds of Hetzner's resources that carry labels and have one or more of ours."""

LABEL: Final = {"team": "platform"}
TTL_SECONDS: Final = 7
CACHE_SECONDS: Final = 31
STALE_SECONDS: Final = 301
MORE: Final = f"{NETBIRD_ADDRESS}/32"
"""May reach API and SSH after the change, besides the workstation: an address from which a test can try it."""
MONITOR_AGGREGATION: Final = "low"
"""Value of Cilium's chart, ``medium`` by default: how much the monitor sums up. It touches no packet."""


@pytest.fixture(scope="class")
def changes() -> dict[str, dict[str, Any]]:
    """The changed settings of each stack, all at once."""
    made: dict[str, dict[str, Any]] = {}
    for stack in STACKS:
        config = config_of(stack)
        values = config["isthmus:cilium"].get("values", {})
        made[stack] = {
            "dns": {
                "record_ttl_seconds": TTL_SECONDS,
                "cache_seconds": CACHE_SECONDS,
                "stale_seconds": STALE_SECONDS,
            },
            "cilium.values": {**values, "bpf": {"monitorAggregation": MONITOR_AGGREGATION}},
        }
        if "isthmus:hetzner" in config:
            hetzner = config["isthmus:hetzner"]
            made[stack] |= {
                "hetzner.labels": {**hetzner.get("labels", {}), **LABEL},
                "hetzner.api_allowed_cidrs": [*hetzner["api_allowed_cidrs"], MORE],
                "hetzner.ssh_allowed_cidrs": [*hetzner["ssh_allowed_cidrs"], MORE],
            }
    return made


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What one `pulumi up` of each stack was announced to do and did, and the servers before it."""

    previewed: Mapping[str, Mapping[str, str]]
    done: Mapping[str, Mapping[str, int]]
    servers_before: Mapping[str, Mapping[str, Any]]


@pytest.fixture(scope="class")
def applied(pulumi: Pulumi, changes: Mapping[str, Mapping[str, Any]]) -> Iterator[Applied]:
    """The lab with the changes; the stack files are put back afterwards, and the clusters by another `up`."""
    before = servers()
    try:
        with stack_files_kept(STACKS):
            for stack in STACKS:
                change_settings(stack, changes[stack])
            announced = changes_ahead(pulumi, STACKS)
            done = up(pulumi, STACKS)
            yield Applied(previewed=announced, done=done, servers_before=before)
    finally:
        up(pulumi, STACKS)


def servers() -> dict[str, dict[str, Any]]:
    """What makes a server the same one, by its name: id, time of its making, addresses, and how often it booted."""
    return {
        server["name"]: {
            "id": server["id"],
            "created": server["created"],
            "address": server["public_net"]["ipv4"]["ip"],
            "private": [net["ip"] for net in server["private_net"]],
            "boots": machines.boots(server["name"]),
        }
        for server in at_hetzner("servers")
    }


def reaches_api(namespace: str, address: str) -> bool:
    """Whether somebody in that network gets a connection to a server's Kubernetes API."""

    def connect() -> bool:
        try:
            with socket.create_connection((address, 6443), timeout=3):
                return True
        except TimeoutError:
            return False

    return call_inside(namespace, connect)


def ttls(cluster: Cluster, zone: str) -> set[int]:
    """The TTLs, in seconds, that the cluster's DNS servers give for a name of their own zone."""
    found = set()
    for pod in cluster.get("pods", namespace="kube-system", selector="k8s-app=kube-dns"):
        if "deletionTimestamp" in pod["metadata"]:
            continue
        name, address = f"kubernetes.default.svc.{zone}.", pod["status"]["podIP"]
        done = machines.exec(pod["spec"]["nodeName"], ["dig", "+noall", "+answer", f"@{address}", name], check=True)
        # NAME TTL CLASS TYPE ADDRESS
        found |= {int(line.split()[1]) for line in done.stdout.splitlines()}
    return found


def nodes(cluster: Cluster) -> list[str]:
    return [node["metadata"]["name"] for node in cluster.get("nodes")]


def monitor_aggregation(cluster: Cluster) -> dict[str, str]:
    """What each node's running agent was started with, by node: its own copy of the configuration, not the
    ConfigMap.
    """
    file = "/tmp/cilium/config-map/monitor-aggregation"
    return {
        pod["spec"]["nodeName"]: cluster.execute(
            "kube-system", pod["metadata"]["name"], "cilium-agent", ["cat", file]
        ).strip()
        for pod in cluster.get("pods", namespace="kube-system", selector="k8s-app=cilium")
        if is_ready(pod)
    }


class TestApplied:
    """All of it at once, while it is so."""

    def test_no_resource_is_replaced_made_or_removed(self, applied: Applied) -> None:
        for stack in STACKS:
            announced = applied.previewed.get(stack, {})
            assert announced, f"the preview of {stack} saw no change"
            assert set(announced.values()) == {"update"}, announced
            done = {operation: count for operation, count in applied.done[stack].items() if operation not in UNCHANGED}
            assert done == {"update": len(announced)}, (applied.done[stack], announced)

    def test_every_server_is_the_same_one(self, applied: Applied) -> None:
        assert sorted(applied.servers_before) == SERVERS
        assert servers() == applied.servers_before

    def test_labels_are_on_every_hetzner_resource(self, applied: Applied) -> None:
        found = {kind: [item["labels"].get("team") for item in at_hetzner(kind)] for kind in LABELLED}
        assert found == {kind: ["platform"] * len(values) for kind, values in found.items()}
        assert {kind: len(values) for kind, values in found.items()} == {**dict.fromkeys(LABELLED, 1), "servers": 2}

    def test_the_firewall_lets_the_new_source_in_and_the_workstation_still(
        self, applied: Applied, changes: Mapping[str, Mapping[str, Any]]
    ) -> None:
        (firewall,) = at_hetzner("firewalls")
        allowed = {rule["port"]: sorted(rule["source_ips"]) for rule in firewall["rules"] if rule["protocol"] == "tcp"}
        assert allowed == {
            "6443": sorted(changes["de"]["hetzner.api_allowed_cidrs"]),
            "22": sorted(changes["de"]["hetzner.ssh_allowed_cidrs"]),
        }
        address = applied.servers_before["de-server-1"]["address"]
        assert reaches_api(WORKSTATION_NAMESPACE, address)
        assert reaches_api(SERVICES_NAMESPACE, address), f"{MORE} is allowed, and its packets do not come in"

    @pytest.mark.parametrize("stack", STACKS)
    def test_the_ttl_is_in_the_answers(self, applied: Applied, clusters: Mapping[str, Cluster], stack: str) -> None:
        assert applied.done[stack]
        zone = DEFAULT.site(stack).ranges.dns_zone
        assert ttls(clusters[stack], zone) == {TTL_SECONDS}
        custom = next(
            found
            for found in clusters[stack].get("configmaps", namespace="kube-system")
            if found["metadata"]["name"] == "coredns-custom"
        )
        for peer in DEFAULT.peers(DEFAULT.site(stack)):
            block = custom["data"][f"{DEFAULT.site(peer).ranges.dns_zone}.server"]
            assert f"cache {CACHE_SECONDS} {{" in block, block
            assert f"serve_stale {STALE_SECONDS}s" in block, block

    @pytest.mark.parametrize("stack", STACKS)
    def test_the_cilium_value_is_in_every_agent(
        self, applied: Applied, clusters: Mapping[str, Cluster], stack: str
    ) -> None:
        assert applied.done[stack]
        cluster = clusters[stack]
        assert monitor_aggregation(cluster) == dict.fromkeys(nodes(cluster), MONITOR_AGGREGATION)

    def test_every_check_passes_after_the_change(self, applied: Applied, run_verify: Verify) -> None:
        assert applied.done
        all_passed(run_verify(*ALL_BUT_THROUGHPUT))


POD_CIDR: Final = "10.60.0.0/16"


@pytest.fixture
def copied_project(tmp_path: Path) -> Path:
    """A copy of the lab's project in which de has another pod CIDR."""
    copy = tmp_path / "project"
    shutil.copytree(project.directory(), copy, symlinks=True)
    path = copy / project.stack_file("de").name
    text = path.read_text()
    before = str(DEFAULT.site("de").ranges.pods)
    assert text.count(f"pod_cidr: {before}") == 1
    path.write_text(text.replace(f"pod_cidr: {before}", f"pod_cidr: {POD_CIDR}"))
    return copy


def refusal(directory: Path) -> str:
    """What has to be said of it, word for word."""
    lines = (directory / "Pulumi.de.yaml").read_text().splitlines()
    number = next(index for index, line in enumerate(lines, 1) if POD_CIDR in line)
    runs = DEFAULT.site("de").ranges.pods
    return (
        f"de: network.pod_cidr {POD_CIDR} is not {runs}, with which the cluster runs; every node holds a part of it, "
        f"and the peers route it; write {runs} again, or raise the cluster anew: `pulumi destroy -s de`, then "
        f"`pulumi up -s de`. [Pulumi.de.yaml:{number}]"
    )


def what_runs(pulumi: Pulumi, clusters: Mapping[str, Cluster]) -> dict[str, Any]:
    """What a refused change must leave as it is: the state's resources and outputs, servers, the nodes' pod CIDRs."""
    # Not the whole state: the engine encrypts its secrets anew whenever it writes it.
    resources = json.loads(pulumi.run("stack", "export", "-s", "de").stdout)["deployment"]["resources"]
    return {
        "resources": {resource["urn"]: resource.get("id") for resource in resources},
        "outputs": pulumi.outputs("de"),
        "servers": servers(),
        "pod CIDRs": {node["metadata"]["name"]: node["spec"]["podCIDR"] for node in clusters["de"].get("nodes")},
    }


@pytest.mark.parametrize(
    "command",
    [("preview",), pytest.param(("up", "--yes"), marks=pytest.mark.thorough), ("up", "--yes", "--skip-preview")],
    ids=" ".join,
)
def test_another_pod_cidr_is_refused_by_pulumi(
    command: tuple[str, ...], copied_project: Path, pulumi: Pulumi, clusters: Mapping[str, Cluster]
) -> None:
    before = what_runs(pulumi, clusters)
    line = pulumi.command(*command, "-s", "de", "--non-interactive", "--color", "never")
    line[line.index("-C") + 1] = str(copied_project)
    done = subprocess.run(
        line, env=project.environment(pulumi.tools), capture_output=True, text=True, timeout=300, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    # The engine may break a long message into lines.
    expected = f"a problem in the stack files; nothing was changed: {refusal(copied_project)}"
    assert expected in " ".join(said.split()), said
    assert "Traceback" not in said
    assert what_runs(pulumi, clusters) == before


def test_another_pod_cidr_is_refused_by_plan(
    copied_project: Path, pulumi: Pulumi, clusters: Mapping[str, Cluster]
) -> None:
    before = what_runs(pulumi, clusters)
    refused = plan(copied_project)
    assert refused.returncode == 1, refused.stdout + refused.stderr
    assert refused.stdout == (
        f"{refusal(copied_project)}\n1 problem in the stack files; `pulumi up` would refuse, and change nothing.\n"
    )
    assert what_runs(pulumi, clusters) == before
    accepted = plan(project.directory())
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr


def plan(directory: Path) -> subprocess.CompletedProcess[str]:
    """`./isthmus plan --running` by hand, with the lab's `pulumi` on PATH."""
    isthmus = REPOSITORY / "isthmus"
    script = f'eval "$({isthmus} lab env)" && {isthmus} plan --running --directory {directory}'
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120, cwd="/", check=False)


def test_all_is_as_before(pulumi: Pulumi) -> None:
    """After the changes were put back: Pulumi has nothing to do, and nobody else reaches the API."""
    assert changes_ahead(pulumi, STACKS) == {}
    (address,) = [server["address"] for name, server in servers().items() if name == "de-server-1"]
    assert reaches_api(WORKSTATION_NAMESPACE, address)
    assert not reaches_api(SERVICES_NAMESPACE, address)
    labelled = {kind: at_hetzner(kind) for kind in LABELLED}
    assert all(labelled.values())
    assert all("team" not in item["labels"] for found in labelled.values() for item in found)
