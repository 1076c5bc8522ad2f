"""`pulumi up` is killed with SIGKILL at random moments; the next one completes, without `refresh` or a hand.

Every fourth kill meets an `up` that raises the cluster from nothing, the others one that changes DNS, Cilium, the
router's pods and, at Hetzner, labels. The moments come from a seed, which is printed: ``ISTHMUS_SEED`` repeats them and
``ISTHMUS_KILLS`` says how many there are a stack.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest

from lab import kubernetes
from lab.kubernetes import Cluster
from lab.netbird_api import NetBirdApi
from lab.pulumi_command import Pulumi
from lab.status import Status
from lab.topology import VERIFY_NAMESPACE
from tests.link.assertions import ALL_BUT_THROUGHPUT, all_passed
from tests.link.changing import begin_up, change_settings, changes_ahead, config_of, stack_files_kept
from tests.link.conftest import Verify
from tests.link.test_recovery import complete, destroy, hetzner, names, whole
from tests.link.test_restarts import wait_up

pytestmark = [pytest.mark.link, pytest.mark.thorough]

STACKS: Final = ("de", "mn")
KILLS: Final = int(os.environ.get("ISTHMUS_KILLS", "4"))
SEED: Final = int(os.environ.get("ISTHMUS_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
FROM_NOTHING_EVERY: Final = 4
TAKES_SECONDS: Final = {True: 80.0, False: 12.0}
"""How long an `up` takes from nothing, and one of changes, on two cores with nothing beside it. Moments are drawn in
that time, and come too late where the `up` was quicker.
"""
BACK_SECONDS: Final = 180.0

KINDS: Final = (
    "deployments",
    "daemonsets",
    "services",
    "ciliumegressgatewaypolicies",
    "networkrouters",
    "networkresources",
    "setupkeys",
)
"""What stands twice in a cluster, or is left over, when a killed `up` made it and the next one did not know of it."""


@pytest.fixture(scope="module")
def kills(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """A line for each kill, printed at the end with the seed."""
    found: list[str] = []
    yield found
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\nkills with ISTHMUS_SEED={SEED}:", *found, sep="\n  ")


def in_cluster(cluster: Cluster) -> dict[str, list[str]]:
    """Namespace and name of everything of :data:`KINDS`, but what `lab verify` has in there, which goes by itself."""
    return {
        kind: sorted(
            f"{item['metadata'].get('namespace', '')}/{item['metadata']['name']}"
            for item in cluster.get(kind, namespace="*")
            if item["metadata"].get("namespace") != VERIFY_NAMESPACE
        )
        for kind in KINDS
    }


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Everything that there is, by name, outside of Pulumi's state and in it."""

    hetzner: Mapping[str, list[str]]
    netbird: Mapping[str, list[str]]
    clusters: Mapping[str, Mapping[str, list[str]]]
    resources: Mapping[str, list[str]]


def standing(pulumi: Pulumi, netbird: NetBirdApi, clusters: Mapping[str, Cluster]) -> Standing:
    """What there is now."""
    exported = {stack: json.loads(pulumi.run("stack", "export", "-s", stack).stdout) for stack in STACKS}
    # Primary addresses are named by Hetzner, anew for each server.
    of_hetzner = names(hetzner())
    return Standing(
        hetzner={**of_hetzner, "primary_ips": [str(len(of_hetzner["primary_ips"]))]},
        netbird=whole(netbird),
        clusters={name: in_cluster(cluster) for name, cluster in clusters.items()},
        resources={
            stack: sorted(resource["urn"] for resource in found["deployment"]["resources"])
            for stack, found in exported.items()
        },
    )


def differences(now: Standing, before: Standing) -> list[str]:
    """What is missing, double or new, a line each."""

    def flat(found: Any, path: str = "") -> dict[str, list[str]]:
        if isinstance(found, list):
            return {path: found}
        return {where: names for key, part in found.items() for where, names in flat(part, f"{path}/{key}").items()}

    there, wanted = flat(vars(now)), flat(vars(before))
    lines = []
    for where in sorted(there.keys() | wanted.keys()):
        has, had = Counter(there.get(where, [])), Counter(wanted.get(where, []))
        lines += [f"{where}: {name} is missing" for name in sorted((had - has).elements())]
        lines += [f"{where}: {name} is new" for name in sorted((has - had).elements())]
    return lines


@pytest.fixture(scope="module")
def before(pulumi: Pulumi, netbird: NetBirdApi, clusters: Mapping[str, Cluster]) -> Standing:
    """What there is before the first kill; nothing of it may be missing, double or new after any of them."""
    return standing(pulumi, netbird, clusters)


@pytest.fixture(scope="module", autouse=True)
def stack_files(pulumi: Pulumi, before: Standing) -> Iterator[None]:
    """The stack files are put back in the end, and the clusters by another `up`."""
    assert before.resources
    try:
        with stack_files_kept(STACKS):
            yield
    finally:
        for stack in STACKS:
            complete(pulumi, stack)
        kubernetes.write_kubeconfig(pulumi, STACKS)


def change(stack: str, number: int) -> None:
    """Changes what an `up` applies in place: zones of CoreDNS, Cilium's agents, the router's pod, Hetzner's labels."""
    config = config_of(stack)
    values = config["isthmus:cilium"].get("values", {})
    environment = config["isthmus:netbird"].get("agent_env", {})
    changes: dict[str, Any] = {
        "dns": {"cache_seconds": 31 + number},
        "cilium.values": {**values, "bpf": {"monitorAggregation": ("low", "medium")[number % 2]}},
        "netbird.agent_env": {**environment, "TZ": ("Asia/Ulaanbaatar", "Europe/Berlin")[number % 2]},
    }
    if "isthmus:hetzner" in config:
        changes["hetzner.labels"] = {**config["isthmus:hetzner"].get("labels", {}), "turn": f"t{number}"}
    change_settings(stack, changes)


def killed_after(pulumi: Pulumi, stack: str, seconds: float) -> tuple[int, str]:
    """One `pulumi up` that is killed so long after its start, if it still runs then: code and output.

    It comes back once the plugins of the killed engine have ended, which may take minutes. An `up` that begins while
    they are still at work is in test_recovery.py.
    """
    process = begin_up(pulumi, stack, "--skip-preview")
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        # The plugins hold the pipe for as long as they are at work.
        said, _ = process.communicate(timeout=600)
    return process.returncode, said


def last_step(said: str) -> str:
    """The last line that tells of a resource."""
    steps = [line.strip() for line in said.splitlines() if re.search(r":.* (creat|updat|delet|replac)(ing|ed)", line)]
    return re.sub(r"\s+", " ", steps[-1])[:100] if steps else "before the first resource"


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("number", range(KILLS))
def test_the_next_up_completes(
    stack: str,
    number: int,
    pulumi: Pulumi,
    netbird: NetBirdApi,
    clusters: Mapping[str, Cluster],
    before: Standing,
    kills: list[str],
    status: Callable[[], Status],
) -> None:
    from_nothing = number % FROM_NOTHING_EVERY == 0
    if from_nothing:
        destroy(pulumi, stack)
    else:
        change(stack, number)
    moment = random.Random(f"{SEED} {stack} {number}").random() * TAKES_SECONDS[from_nothing]
    code, said = killed_after(pulumi, stack, moment)
    what = f"{stack} {number}, {'from nothing' if from_nothing else 'changed'}, at {moment:.1f} s of "
    what += f"{TAKES_SECONDS[from_nothing]:.0f} s ({last_step(said)}), ISTHMUS_SEED={SEED}"
    # One that was quicker has ended by itself.
    assert code in (0, -signal.SIGKILL), f"{what}: {said}"
    start = time.monotonic()
    complete(pulumi, stack)
    took = time.monotonic() - start
    kills.append(f"{what.partition(', ISTHMUS')[0]}: {'killed' if code else 'had ended'}; next up {took:.0f} s")
    assert changes_ahead(pulumi, [stack]) == {}, what
    if from_nothing:
        kubernetes.write_kubeconfig(pulumi, STACKS)
        # The peer learns where the new cluster is.
        complete(pulumi, next(other for other in STACKS if other != stack))
    assert differences(standing(pulumi, netbird, clusters), before) == [], what
    assert wait_up(status, within=BACK_SECONDS).is_whole, what


def test_at_least_half_of_them_were_killed(kills: list[str]) -> None:
    assert len(kills) == len(STACKS) * KILLS
    assert sum(": killed;" in told for told in kills) >= len(kills) / 2


def test_every_check_passes_afterwards(run_verify: Verify) -> None:
    all_passed(run_verify(*ALL_BUT_THROUGHPUT))
