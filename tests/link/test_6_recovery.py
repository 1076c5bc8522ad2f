"""Taking the stacks down leaves nothing; an `up` that was killed or refused midway is completed by the next one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from lab import kubernetes, machines, project
from lab import up as lab_up
from lab.commands import wait_until
from lab.inside import http_request
from lab.kubernetes import Cluster
from lab.netbird_api import NetBirdApi
from lab.pulumi_command import Pulumi
from lab.status import Status, unready
from lab.topology import DEFAULT, HETZNER_ADDRESS, WORKSTATION_NAMESPACE
from tests.link.assertions import all_passed
from tests.link.conftest import Verify

pytestmark = pytest.mark.link

HETZNER_KINDS = ("servers", "networks", "firewalls", "ssh_keys", "placement_groups", "primary_ips")
NETBIRD_KINDS = ("peers", "groups", "policies", "networks", "setup-keys", "dns/zones")

MOMENTS = (
    r"hcloud:index:Network isthmus-de creating",
    r"hcloud:index:Server .* creating",
    r"remote:Command .* creating",
    r"helm.sh/v3:Release isthmus-cilium creating",
    r"helm.sh/v3:Release isthmus-netbird-operator creating",
    r"netbird.io/v1alpha1:NetworkRouter .* creating",
)
"""Lines of `pulumi up -s de`: at each of them one run is killed, in this order."""


def hetzner() -> dict[str, list[dict[str, Any]]]:
    """Everything that the Hetzner stand-in has, by kind."""
    token = lab_up.hetzner_token_file().read_text().strip()
    found = {}
    for kind in HETZNER_KINDS:
        answer = http_request(
            WORKSTATION_NAMESPACE,
            "GET",
            str(HETZNER_ADDRESS),
            80,
            f"/v1/{kind}?per_page=50",
            headers={"Authorization": f"Bearer {token}"},
        )
        assert answer.status == 200, answer
        found[kind] = answer.json()[kind]
    return found


def names(found: Mapping[str, list[dict[str, Any]]]) -> dict[str, list[str]]:
    return {kind: sorted(str(one.get("name")) for one in objects) for kind, objects in found.items() if objects}


def ours(netbird: NetBirdApi, *clusters: str) -> dict[str, list[str]]:
    """NetBird's objects whose names tell that they are of these clusters."""
    pattern = re.compile(rf"(^|[-.])({'|'.join(clusters)})([-.]|$)")
    found = {}
    for kind in NETBIRD_KINDS:
        listed = sorted(
            str(one.get("name") or one.get("domain")) for one in netbird.list(kind) if not one.get("revoked")
        )
        if of_us := [name for name in listed if "isthmus" in name and pattern.search(name)]:
            found[kind] = of_us
    return found


def up(pulumi: Pulumi, stack: str, *, kill_at: str | None = None) -> tuple[int, str]:
    """One `pulumi up`; with ``kill_at`` it is killed with SIGKILL at the first line that matches. Code and output."""
    process = subprocess.Popen(
        pulumi.command("up", "--yes", "-s", stack, "--non-interactive", "--color", "never"),
        env=project.environment(pulumi.tools),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    lines = []
    assert process.stdout is not None
    with process.stdout:
        # Only the update counts: the preview before it has the same words without "creating".
        for line in process.stdout:
            lines.append(line)
            if kill_at is not None and re.search(kill_at, line):
                os.kill(process.pid, signal.SIGKILL)
                break
    return process.wait(), "".join(lines)


def complete(pulumi: Pulumi, stack: str) -> str:
    """`pulumi up` that succeeds, after the engine's own hint when it says that the stack is locked."""
    code, said = up(pulumi, stack)
    if code != 0 and "pulumi cancel" in said:
        pulumi.run("cancel", "--yes", "-s", stack)
        code, said = up(pulumi, stack)
    assert code == 0, said
    return said


def destroy(pulumi: Pulumi, stack: str) -> None:
    done = pulumi.run("destroy", "--yes", "-s", stack, check=False, deadline_seconds=900)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def faults() -> Iterator[Callable[[list[dict[str, Any]]], None]]:
    """Orders faults of the Hetzner API; they are gone after the test."""
    path = lab_up.hetzner_faults_file()

    def order(wanted: list[dict[str, Any]]) -> None:
        path.write_text(json.dumps({"faults": wanted}))

    yield order
    path.unlink(missing_ok=True)


def test_destroying_mn_leaves_its_machines_without_k3s(pulumi: Pulumi, netbird: NetBirdApi) -> None:
    assert "peers" in ours(netbird, "mn")
    destroy(pulumi, "mn")
    look = (
        "ls -d /etc/rancher /var/lib/rancher/* /var/lib/kubelet/* /etc/cni /opt/cni /usr/local/bin/k3s "
        "/usr/local/lib/isthmus /var/lib/netbird-router /etc/systemd/system/k3s*.service 2>/dev/null; "
        "pgrep -a 'k3s|kubelet|containerd|cilium|netbird'; ip -o link | grep -E 'cilium|lxc|wt0'; "
        "mount | grep -E 'kubelet/|/run/k3s|/run/cilium'; true"
    )
    left = {
        machine.name: machines.exec(machine.name, ["sh", "-c", look], check=True).stdout.splitlines()
        for site in DEFAULT.on_premise
        for machine in site.machines
    }
    assert left == {name: [] for name in left}
    assert ours(netbird, "mn") == {}


def test_destroying_de_leaves_hetzner_and_netbird_empty(pulumi: Pulumi, netbird: NetBirdApi) -> None:
    assert names(hetzner())["servers"] == ["de-agent-1", "de-server-1"]
    destroy(pulumi, "de")
    assert names(hetzner()) == {}
    assert ours(netbird, "de", "mn") == {}


def test_an_api_that_refuses_gives_an_error_and_the_next_up_goes_on(
    pulumi: Pulumi, faults: Callable[[list[dict[str, Any]]], None]
) -> None:
    faults([{"method": "POST", "path": "^/servers$", "count": 40, "answer": 500}])
    code, said = up(pulumi, "de")
    assert code != 0
    assert "server_error" in said or "500" in said, said
    assert "Traceback" not in said
    before = names(hetzner())
    assert "servers" not in before
    assert len(before["networks"]) == 1
    faults([{"method": "POST", "path": "^/servers$", "count": 1, "answer": 429}, {"action": "attach_to_network"}])
    # Rate limits are waited for; an action that fails leaves a server that the next `up` must not leave lying about.
    up(pulumi, "de", kill_at=MOMENTS[2])
    assert len(hetzner()["networks"]) == 1


def test_de_alone_is_raised_in_spite_of_being_killed_five_times(
    pulumi: Pulumi, netbird: NetBirdApi, clusters: Mapping[str, Cluster]
) -> None:
    destroy_if_locked(pulumi, "de")
    destroy(pulumi, "de")
    assert names(hetzner()) == {}
    killed = []
    for moment in MOMENTS:
        code, said = up(pulumi, "de", kill_at=moment)
        if code != 0 and "pulumi cancel" in said:
            pulumi.run("cancel", "--yes", "-s", "de")
            code, said = up(pulumi, "de", kill_at=moment)
        if code == -signal.SIGKILL:
            killed.append(moment)
    assert len(killed) >= 5, killed
    said = complete(pulumi, "de")
    assert "mn: link pending" in said
    twice = {
        kind: [name for name, count in Counter(listed).items() if count > 1]
        for kind, listed in names(hetzner()).items()
    }
    assert {kind: listed for kind, listed in twice.items() if listed} == {}
    found = names(hetzner())
    assert found["servers"] == ["de-agent-1", "de-server-1"]
    assert {kind: len(listed) for kind, listed in found.items()} == {
        "servers": 2,
        "networks": 1,
        "firewalls": 1,
        "ssh_keys": 1,
        "placement_groups": 1,
        "primary_ips": len(found["primary_ips"]),
    }
    assert len(found["primary_ips"]) <= 4
    for kind, listed in ours(netbird, "de").items():
        assert len(set(listed)) == len(listed), (kind, listed)
    assert pulumi.run("preview", "-s", "de", "--expect-no-changes", check=False).returncode == 0


def destroy_if_locked(pulumi: Pulumi, stack: str) -> None:
    """Removes the lock that a killed `up` has left."""
    pulumi.run("cancel", "--yes", "-s", stack, check=False)


def test_alone_it_has_nothing_that_needs_the_peer(
    pulumi: Pulumi, netbird: NetBirdApi, clusters: Mapping[str, Cluster]
) -> None:
    kubernetes.write_kubeconfig(pulumi, ["de"])
    de = clusters["de"]
    assert pulumi.outputs("de")["links"]["mn"]["status"] == "pending"
    assert de.get("ciliumegressgatewaypolicies") == []
    assert [one for one in de.get("daemonsets", namespace="*") if "relay" in one["metadata"]["name"]] == []
    assert [one["name"] for one in netbird.list("policies")] == []


def test_mn_is_killed_as_well_and_both_are_joined_again(
    pulumi: Pulumi, status: Callable[[], Status], run_verify: Verify
) -> None:
    code, said = up(pulumi, "mn", kill_at=MOMENTS[2])
    assert code == -signal.SIGKILL, said
    complete(pulumi, "mn")
    complete(pulumi, "de")
    kubernetes.write_kubeconfig(pulumi, [site.name for site in DEFAULT.sites])
    last: list[str] = []

    def joined() -> bool:
        found = status()
        last[:] = unready(found)
        return found.is_up

    wait_until(
        joined, what="the lab is up again", deadline_seconds=120, state=lambda: "; ".join(last), every_seconds=1.0
    )
    all_passed(run_verify())
    for site in DEFAULT.sites:
        done = pulumi.run("preview", "-s", site.name, "--expect-no-changes", check=False)
        assert done.returncode == 0, done.stdout
