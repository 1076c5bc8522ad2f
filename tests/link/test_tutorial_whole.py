"""The tutorial's second section word for word on machines: from an empty home to a linked pair, used, and taken away.

What is not the page's: its download of Pulumi, which is there; the mirror that has k3s's checksums, and the version
that it has; and, once the marks are filled in, lab/own_settings.py. It comes late, for the stacks of `lab up` go first
and the next `./isthmus lab up` has to raise them anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from domain.merging import merged
from domain.starter_text import K3S_VERSION
from lab import kubernetes, preflight, private_files, project
from lab import up as lab_up
from lab.commands import wait_until
from lab.kubernetes import Cluster, is_ready
from lab.netbird_api import NetBirdApi
from lab.own_settings import Artifacts, own_settings
from lab.project import Tools
from lab.pulumi_command import Pulumi
from lab.reporting import Silent
from lab.topology import DEFAULT, PROBE_IMAGE, HetznerSite, OnPremiseSite, Ranges, Topology
from lab.verify.run import verify
from tests.link.assertions import ALL_BUT_THROUGHPUT, all_passed
from tests.link.test_recovery import destroy, hetzner, left_on_machines, names, whole
from tests.link.underlay import watching
from tests.tutorial import CONFIRMED, REPOSITORY, Shell, Typed, checkout, commands, fill_in, section, spans
from toolchain import pulumi_home

pytestmark = [pytest.mark.link, pytest.mark.thorough]

STACKS: Final = ("de", "mn")
CHECKSUM: Final = f"./isthmus k3s-checksum {K3S_VERSION}"
UP_SECONDS: Final = 1500.0
SERVICE: Final = "db.shop.svc.mn.internal"
POD: Final = f"db-0.{SERVICE}"
DROPPED: Final = ("PULUMI_HOME", "PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE_FILE", "KUBECONFIG")
"""Of the lab's own clusters, for the page makes others."""


def ranges_of(stack: str) -> Ranges:
    """Those of the shipped file; the LAN, which is marked in it, is the lab's."""
    network = shipped(stack)["isthmus:network"]
    site = DEFAULT.site(stack)
    nodes = site.ranges.nodes if isinstance(site, OnPremiseSite) else IPv4Network(network["node_cidr"])
    return Ranges(
        pods=IPv4Network(network["pod_cidr"]),
        services=IPv4Network(network["service_cidr"]),
        nodes=nodes,
        dns_zone=network["dns_zone"],
    )


def shipped(stack: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((REPOSITORY / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"))["config"]
    return config


PAIR: Final = Topology(sites=tuple(replace(site, ranges=ranges_of(site.name)) for site in DEFAULT.sites))
"""The page's two clusters on the lab's machines."""


@pytest.fixture(scope="module")
def artifacts() -> Artifacts:
    """What the mirror offers, by the stack files that `lab up` wrote."""
    written = yaml.safe_load(project.stack_file("de").read_text(encoding="utf-8"))["config"]
    return Artifacts(
        k3s_version=written["isthmus:k3s"]["version"],
        k3s_sha256=written["isthmus:k3s"]["sha256"],
        k3s_directory=written["isthmus:mirrors"]["k3s"],
        charts_directory=written["isthmus:mirrors"]["charts"],
        registries=written["isthmus:mirrors"]["registries"],
        cilium_version=written["isthmus:cilium"]["version"],
        operator_version=written["isthmus:netbird"]["operator_version"],
        agent_image=written["isthmus:netbird"]["agent_image"],
    )


@pytest.fixture(scope="module")
def nothing_raised(pulumi: Pulumi, netbird: NetBirdApi) -> None:
    """The machines as their owner has them before the page: the lab's own stacks are gone."""
    for stack in reversed(STACKS):
        destroy(pulumi, stack)
    assert names(hetzner()) == {}
    assert whole(netbird) == {"groups": ["All"]}


@pytest.fixture(scope="module")
def shell(nothing_raised: None, tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A fresh clone, an empty home with the user's SSH key, a Pulumi that knows nobody; at the workstation.

    Nothing of the page's ranges may be on a wire in plain meanwhile.
    """
    folder = tmp_path_factory.mktemp("tutorial")
    key = folder / "home/.ssh/id_ed25519"
    key.parent.mkdir(parents=True, mode=0o700)
    private_files.write_secret(key, lab_up.ssh_key("user").read_text(encoding="utf-8"))
    lab = {name: value for name, value in project.environment(tools).items() if name not in DROPPED}
    environment = {
        **lab,
        **CONFIRMED,
        "HOME": str(folder / "home"),
        "PULUMI_HOME": str(pulumi_home(directory=folder / "pulumi-home")),
    }
    with watching(site.ranges for site in PAIR.sites) as watch:
        yield Shell(checkout(folder / "isthmus"), environment, folder / "exports", around=project.at_workstation([]))
    assert watch.seen == []


def filled_in(directory: Path, stack: str, artifacts: Artifacts, k3s: Mapping[str, str]) -> None:
    """The user's own into the marks, then what only the lab needs."""
    site = PAIR.site(stack)
    own = [f"{PAIR.workstation_site.public_address}/32"]
    marks: dict[str, Any] = {"isthmus:k3s": k3s}
    if isinstance(site, HetznerSite):
        marks["isthmus:hetzner"] = {"api_allowed_cidrs": own, "ssh_allowed_cidrs": own}
    else:
        of_lab = yaml.safe_load(project.stack_file(stack).read_text(encoding="utf-8"))["config"]
        machines = [
            {"address": machine["address"], "host_key": machine["host_key"]}
            for machine in of_lab["isthmus:on_premise"]["machines"]
        ]
        marks |= {
            "isthmus:network": {"node_cidr": str(site.ranges.nodes)},
            "isthmus:on_premise": {"machines": machines},
        }
    assert set(fill_in(directory, stack, marks)) >= {"sha256"}
    path = directory / f"Pulumi.{stack}.yaml"
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    different = own_settings(site, artifacts, privileged=preflight.lacks_sys_resource())
    assert different["isthmus:k3s"] == k3s
    written["config"] = merged(written["config"], different)
    path.write_text(yaml.safe_dump(written, sort_keys=False), encoding="utf-8")


def answers(netbird: NetBirdApi) -> dict[str, str]:
    """What is typed at the commands that ask for a secret."""
    token = lab_up.hetzner_token_file().read_text(encoding="utf-8").strip()
    return {
        "pulumi config set --secret netbirdApiToken -s de": netbird.token,
        "pulumi config set --secret netbirdApiToken -s mn": netbird.token,
        "pulumi config set --secret hcloud:token -s de": token,
    }


def test_word_for_word_from_an_empty_home_to_a_linked_pair(
    shell: Shell, artifacts: Artifacts, netbird: NetBirdApi
) -> None:
    said: list[Typed] = []
    for command in commands(section(2)):
        if command.startswith("curl "):
            continue
        if command == CHECKSUM:
            lab_has = command.replace(K3S_VERSION, artifacts.k3s_version)
            printed = shell.type(f"{lab_has} --mirror {artifacts.k3s_directory}").well()
            for stack in STACKS:
                filled_in(shell.directory, stack, artifacts, yaml.safe_load(printed.output))
            said.append(printed)
            continue
        said.append(shell.type(command, answers(netbird).get(command, ""), deadline_seconds=UP_SECONDS).well())

    def told(start: str) -> list[str]:
        return [typed.output for typed in said if typed.command.startswith(start)]

    (plan,) = told("./isthmus plan")
    assert "2 clusters, 4 nodes, 1 link of up to 1230 bytes; no problem found." in plan
    first, second, firewall = told("pulumi up -s de")
    assert "mn: link pending" in first
    assert '=> "linked: pods' in second
    assert "unchanged" in firewall
    (nodes,) = told("kubectl ")
    assert nodes.count(" Ready ") == PAIR.site("de").node_count, nodes
    kubeconfig = shell.directory / "de.kubeconfig"
    assert kubeconfig.stat().st_mode & 0o077 == 0
    everything = "\n".join(typed.output for typed in said)
    for secret in answers(netbird).values():
        assert secret not in everything


@pytest.mark.parametrize("stack", STACKS)
def test_a_preview_changes_nothing(shell: Shell, stack: str) -> None:
    shell.type(f"pulumi preview -s {stack} --expect-no-changes").well()


@pytest.fixture(scope="module")
def pair(shell: Shell, tools: Tools) -> Mapping[str, Cluster]:
    """Both clusters by name, by the kubeconfigs that the page's command gives."""
    written = {}
    for stack in STACKS:
        command = next(candidate for candidate in commands(section(2)) if "stack output kubeconfig" in candidate)
        shell.type(command.replace("-s de", f"-s {stack}").replace("de.kubeconfig", f"{stack}.kubeconfig")).well()
        written[stack] = yaml.safe_load((shell.directory / f"{stack}.kubeconfig").read_text(encoding="utf-8"))
    private_files.write_secret(project.kubeconfig_file(), yaml.safe_dump(kubernetes.merged(written)))
    return {stack: Cluster(name=stack, tools=tools) for stack in STACKS}


def test_every_path_between_the_two_carries(pair: Mapping[str, Cluster], tools: Tools) -> None:
    assert set(pair) == set(STACKS)
    all_passed({result.id: result for result in verify(PAIR, tools, Silent(), only=ALL_BUT_THROUGHPUT)})


def database() -> list[dict[str, Any]]:
    """The service and the pod that the page has for an example; the lab's probe is what listens."""
    labels = {"app": "db"}
    container = {"name": "db", "image": PROBE_IMAGE, "readinessProbe": {"httpGet": {"path": "/", "port": 8080}}}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "db", "namespace": "shop"},
            "spec": {"clusterIP": "None", "selector": labels, "ports": [{"port": 8080}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "db", "namespace": "shop"},
            "spec": {
                "serviceName": "db",
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        },
    ]


def asker() -> list[dict[str, Any]]:
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "asking"}},
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "asker", "namespace": "asking"},
            "spec": {"containers": [{"name": "asker", "image": PROBE_IMAGE}]},
        },
    ]


def test_the_pages_names_are_answered(pair: Mapping[str, Cluster]) -> None:
    assert {SERVICE, POD} <= set(spans(section(2)))
    pair["mn"].apply(database())
    pair["de"].apply(asker())

    def all_ready() -> list[dict[str, Any]] | None:
        found = [*pair["mn"].get("pods", namespace="shop"), *pair["de"].get("pods", namespace="asking")]
        return found if len(found) == 2 and all(is_ready(pod) for pod in found) else None

    of_mn, _ = wait_until(all_ready, what="both pods are ready", deadline_seconds=120)
    ask = "import socket, sys; print(socket.create_connection((sys.argv[1], 8080), timeout=10).getpeername()[0])"
    for name in (SERVICE, f"{SERVICE}.", POD, f"{POD}."):
        said = pair["de"].execute("asking", "asker", "asker", ["python3", "-c", ask, name])
        assert said.strip() == of_mn["status"]["podIP"], name


def test_the_pages_last_commands_leave_nothing(shell: Shell, netbird: NetBirdApi) -> None:
    last = [span for span in spans(section(2)) if span.startswith("pulumi destroy ")]
    assert last == ["pulumi destroy -s mn", "pulumi destroy -s de"]
    for command in last:
        shell.type(command, deadline_seconds=900).well()
    assert names(hetzner()) == {}
    assert whole(netbird) == {"groups": ["All"]}
    assert left_on_machines() == {machine.name: [] for site in PAIR.on_premise for machine in site.machines}
