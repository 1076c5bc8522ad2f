"""Taking the stacks down leaves nothing; an `up` that was killed or refused midway is completed by the next one."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from lab import kubernetes, machines
from lab import up as lab_up
from lab.commands import wait_until
from lab.kubernetes import Cluster
from lab.netbird_api import NetBirdApi
from lab.pulumi_command import Pulumi
from lab.status import Status
from lab.topology import DEFAULT
from tests.link.assertions import ALL_BUT_THROUGHPUT, all_passed, told
from tests.link.changing import at_hetzner, begin_up, changes_ahead
from tests.link.conftest import Verify
from tests.link.secret_search import ProcessLists, lab_secrets, shown, without_operator

pytestmark = pytest.mark.link

HETZNER_KINDS = ("servers", "networks", "firewalls", "ssh_keys", "placement_groups", "primary_ips")
NETBIRD_KINDS = ("peers", "groups", "policies", "networks", "setup-keys", "dns/zones")

# Lines of `pulumi up`: at each of them one run is killed, in this order.
NETWORK = r"hcloud:index:Network isthmus-de creating"
SERVER = r"hcloud:index:Server .* creating"
KUBECONFIG = r"remote:Command .* creating"
IN_THE_CLUSTER = (
    pytest.param(KUBECONFIG, id="kubeconfig", marks=pytest.mark.thorough),
    pytest.param(r"helm.sh/v3:Release isthmus-cilium creating", id="cilium"),
    pytest.param(r"helm.sh/v3:Release isthmus-netbird-operator creating", id="operator", marks=pytest.mark.thorough),
    pytest.param(r"netbird.io/v1alpha1:NetworkRouter .* creating", id="router", marks=pytest.mark.thorough),
)

SAID: list[str] = []
"""All that Pulumi said in these tests."""


def hetzner() -> dict[str, list[dict[str, Any]]]:
    """Everything that the Hetzner stand-in has, by kind."""
    return {kind: at_hetzner(kind) for kind in HETZNER_KINDS}


def names(found: Mapping[str, list[dict[str, Any]]]) -> dict[str, list[str]]:
    return {kind: sorted(str(item.get("name")) for item in objects) for kind, objects in found.items() if objects}


def whole(netbird: NetBirdApi) -> dict[str, list[str]]:
    """The names of everything that NetBird has, whoever made it; what is random in a name is a star."""

    def name(item: Mapping[str, Any]) -> str:
        named = re.sub(r"^networkrouter-.+", "networkrouter-*", str(item.get("name") or item.get("domain")))
        return re.sub(r"-stack-[0-9a-f]{32}$", "-stack-*", named)

    found = {kind: sorted(map(name, netbird.list(kind))) for kind in NETBIRD_KINDS}
    return {kind: listed for kind, listed in found.items() if listed}


def ours(found: Mapping[str, list[str]], *clusters: str) -> dict[str, list[str]]:
    """Those whose names tell that they are of these clusters."""
    pattern = re.compile(rf"(^|[-.])({'|'.join(clusters)})([-.]|$)")
    of_us = {kind: [name for name in listed if pattern.search(name)] for kind, listed in found.items()}
    return {kind: listed for kind, listed in of_us.items() if listed}


def up(pulumi: Pulumi, stack: str, *arguments: str, kill_at: str | None = None) -> tuple[int, str]:
    """One `pulumi up`; with ``kill_at`` it is killed with SIGKILL at the first line that matches. Code and output."""
    process = begin_up(pulumi, stack, *arguments)
    lines = []
    assert process.stdout is not None
    with process.stdout:
        # Only the update counts: a preview before it has the same words without "creating".
        for line in process.stdout:
            lines.append(line)
            if kill_at is not None and re.search(kill_at, line):
                os.kill(process.pid, signal.SIGKILL)
                break
    said = "".join(lines)
    SAID.append(said)
    return process.wait(), said


def complete(pulumi: Pulumi, stack: str, *arguments: str) -> str:
    """`pulumi up` that succeeds, after the engine's own hint when it says that the stack is locked."""
    code, said = up(pulumi, stack, *arguments)
    if code != 0 and "pulumi cancel" in said:
        pulumi.run("cancel", "--yes", "-s", stack)
        code, said = up(pulumi, stack, *arguments)
    assert code == 0, said
    return said


def destroy(pulumi: Pulumi, stack: str) -> None:
    done = pulumi.run("destroy", "--yes", "--skip-preview", "-s", stack, check=False, deadline_seconds=900)
    SAID.append(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module", autouse=True)
def process_lists() -> Iterator[ProcessLists]:
    """What runs anywhere on this machine and in the lab's while these tests do."""
    with ProcessLists() as lists:
        yield lists


@pytest.fixture(scope="module")
def linked(netbird: NetBirdApi) -> dict[str, list[str]]:
    """What NetBird has of two clusters that are linked."""
    return whole(netbird)


@pytest.fixture
def faults() -> Iterator[Callable[[list[dict[str, Any]]], None]]:
    """Orders faults of the Hetzner API; they are gone after the test."""
    path = lab_up.hetzner_faults_file()

    def order(wanted: list[dict[str, Any]]) -> None:
        path.write_text(json.dumps({"faults": wanted}))

    yield order
    path.unlink(missing_ok=True)


def left_on_machines() -> dict[str, list[str]]:
    """What of a cluster is still on the machines on premises, by machine."""
    look = (
        "ls -d /etc/rancher /var/lib/rancher/* /var/lib/kubelet/* /etc/cni /opt/cni /usr/local/bin/k3s "
        "/usr/local/lib/isthmus /var/lib/netbird-router /etc/systemd/system/k3s*.service 2>/dev/null; "
        "ls -d /var/lib/isthmus-guard /etc/systemd/system/isthmus-guard.service 2>/dev/null; "
        "ls /etc/systemd/system/multi-user.target.wants | grep isthmus; ip rule | grep -E '^10[1-4]:'; "
        "pgrep -a 'k3s|kubelet|containerd|cilium|netbird'; ip -o link | grep -E 'cilium|lxc|wt0|wt-refuse'; "
        "mount | grep -E 'kubelet/|/run/k3s|/run/cilium'; true"
    )
    return {
        machine.name: machines.exec(machine.name, ["sh", "-c", look], check=True).stdout.splitlines()
        for site in DEFAULT.on_premise
        for machine in site.machines
    }


def test_destroying_mn_leaves_its_machines_without_k3s(
    pulumi: Pulumi, netbird: NetBirdApi, linked: dict[str, list[str]]
) -> None:
    assert "peers" in ours(linked, "mn")
    destroy(pulumi, "mn")
    left = left_on_machines()
    assert len(left) == 2
    assert left == {name: [] for name in left}
    # The policies that de made for the link are de's, and go when it no longer has this peer.
    assert set(ours(whole(netbird), "mn")) <= {"policies"}


def test_destroying_de_leaves_hetzner_and_netbird_empty(pulumi: Pulumi, netbird: NetBirdApi) -> None:
    assert names(hetzner())["servers"] == ["de-agent-1", "de-server-1"]
    destroy(pulumi, "de")
    assert names(hetzner()) == {}
    assert whole(netbird) == {"groups": ["All"]}


def killed(pulumi: Pulumi, moment: str) -> None:
    """One `pulumi up` of de that is killed at this moment; a lock is taken away first, by the engine's own hint."""
    code, said = up(pulumi, "de", "--skip-preview", kill_at=moment)
    if code != 0 and "pulumi cancel" in said:
        pulumi.run("cancel", "--yes", "-s", "de")
        code, said = up(pulumi, "de", "--skip-preview", kill_at=moment)
    assert code == -signal.SIGKILL, f"{moment} never came: {said}"


def refused(pulumi: Pulumi, *reasons: str) -> None:
    """One `pulumi up` of de that ends with an error, which is the API's own."""
    code, said = up(pulumi, "de", "--skip-preview")
    if code != 0 and "pulumi cancel" in said:
        pulumi.run("cancel", "--yes", "-s", "de")
        code, said = up(pulumi, "de", "--skip-preview")
    assert code > 0, said
    assert any(reason in said for reason in reasons), said
    assert "Traceback" not in said


def test_machines_are_made_in_spite_of_kills_and_of_an_api_that_refuses(
    pulumi: Pulumi, faults: Callable[[list[dict[str, Any]]], None]
) -> None:
    killed(pulumi, NETWORK)
    faults([{"method": "POST", "path": "^/servers$", "count": 40, "answer": 500}])
    refused(pulumi, "server_error", "500")
    assert "servers" not in names(hetzner())
    faults([])
    killed(pulumi, SERVER)
    # A server that was ordered before the kill is made all the same, and would meet the fault that is for the next one.
    wait_until(
        lambda: all(server["status"] == "running" for server in at_hetzner("servers")),
        what="what was ordered before the kill runs",
        deadline_seconds=120,
        state=lambda: str(names(hetzner())),
        every_seconds=0.2,
    )
    # A rate limit is waited for. An action that fails leaves a server without its private network.
    faults(
        [{"method": "POST", "path": "^/servers$", "answer": 429}, {"action": "attach_to_network", "message": "no luck"}]
    )
    refused(pulumi, "no luck")


@pytest.mark.parametrize("moment", IN_THE_CLUSTER)
def test_the_next_up_comes_to_the_moment_of_the_next_kill(pulumi: Pulumi, moment: str) -> None:
    killed(pulumi, moment)


def test_de_alone_is_complete_after_all_of_that(
    pulumi: Pulumi, netbird: NetBirdApi, linked: dict[str, list[str]]
) -> None:
    said = complete(pulumi, "de")
    assert "mn: link pending" in said
    found = names(hetzner())
    addresses = found.pop("primary_ips")
    assert found == {
        "servers": ["de-agent-1", "de-server-1"],
        **{kind: ["isthmus-de"] for kind in ("networks", "firewalls", "ssh_keys", "placement_groups")},
    }
    assert len(addresses) == len(found["servers"])
    # Nothing twice and nothing orphaned: what it had before, but for the link. Each cluster has one of the starred.
    of_mn = ours(linked, "mn")
    alone = {kind: sorted(set(listed) - set(of_mn.get(kind, []))) for kind, listed in linked.items()}
    assert whole(netbird) == {kind: listed for kind, listed in alone.items() if listed}
    assert pulumi.run("preview", "-s", "de", "--expect-no-changes", check=False).returncode == 0


def test_alone_it_has_nothing_that_needs_the_peer(
    pulumi: Pulumi, netbird: NetBirdApi, clusters: Mapping[str, Cluster]
) -> None:
    kubernetes.write_kubeconfig(pulumi, ["de"])
    de = clusters["de"]
    assert pulumi.outputs("de")["links"]["mn"]["status"] == "pending"
    assert de.get("ciliumegressgatewaypolicies") == []
    assert [
        daemon_set for daemon_set in de.get("daemonsets", namespace="*") if "relay" in daemon_set["metadata"]["name"]
    ] == []
    assert [policy["name"] for policy in netbird.list("policies")] == []


@pytest.mark.thorough
def test_mn_is_killed_as_well(pulumi: Pulumi) -> None:
    code, said = up(pulumi, "mn", "--skip-preview", kill_at=KUBECONFIG)
    assert code == -signal.SIGKILL, said


def test_both_are_joined_again(pulumi: Pulumi, status: Callable[[], Status], run_verify: Verify) -> None:
    # That a preview goes as well is seen with de alone.
    complete(pulumi, "mn", "--skip-preview")
    complete(pulumi, "de", "--skip-preview")
    kubernetes.write_kubeconfig(pulumi, [site.name for site in DEFAULT.sites])
    last: list[str] = []

    def joined() -> bool:
        found = status()
        last[:] = [told(found)]
        return found.is_whole

    wait_until(
        joined, what="the lab is up again", deadline_seconds=120, state=lambda: "; ".join(last), every_seconds=1.0
    )
    all_passed(run_verify(*ALL_BUT_THROUGHPUT))
    assert changes_ahead(pulumi, [site.name for site in DEFAULT.sites]) == {}


def test_nothing_that_was_said_or_ran_meanwhile_shows_a_secret(
    pulumi: Pulumi, clusters: Mapping[str, Cluster], process_lists: ProcessLists
) -> None:
    secrets = lab_secrets(pulumi, clusters)
    assert len(SAID) > len(IN_THE_CLUSTER)
    assert [found for said in SAID if (found := shown(secrets, said))] == []
    assert any("pulumi-language-python" in line for line in process_lists.command_lines)
    assert any("k3s" in line for line in process_lists.command_lines)
    assert {
        line: found for line in without_operator(process_lists.command_lines) if (found := shown(secrets, line))
    } == {}
