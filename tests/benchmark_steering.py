"""How long Cilium takes to lead pods to another router once the policy names it, and what pods see of that.

    python -m tests.benchmark_steering [--cluster de] [--runs 20] [--json]

In a lab of two routers a cluster, without a keeper: the CiliumEgressGatewayPolicy is patched to name the one and the
other router in turn, while pods on every node send to the peer. Measured are the seconds from the patch (from when
`kubectl` is started, and from when it has ended) to the first packets out of that router's wt0, and the longest time
without an answer that the pods see.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from domain.egress_policy import egress_policy_name
from domain.overlay import NETBIRD_INTERFACE
from lab import machines
from lab import sites as lab_sites
from lab import up as lab_up
from lab.failover import pods
from lab.failover.gaps import KINDS, longest_gap
from lab.failover.probing import Flow, probing
from lab.failover.run import CALM_BEFORE_SECONDS, router_nodes
from lab.kubernetes import Cluster

ENOUGH: Final = 20
"""Packets: what an agent sends to keep its tunnels open is fewer in the time that a switch may take."""
DEADLINE_SECONDS: Final = 20.0

WATCH: Final = f"""
import time
from collections import deque
from pathlib import Path
counter = Path("/sys/class/net/{NETBIRD_INTERFACE}/statistics/tx_packets")
end = time.monotonic() + {DEADLINE_SECONDS}
seen = deque()
print("on", flush=True)
while (now := time.monotonic()) < end:
    seen.append((now, int(counter.read_text())))
    while seen[0][0] < now - 0.3:
        seen.popleft()
    if seen[-1][1] - seen[0][1] >= {ENOUGH}:
        print(next(moment for moment, count in seen if count > seen[0][1]), flush=True)
        break
    time.sleep(0.005)
"""


@contextmanager
def watching(node: str) -> Iterator[subprocess.Popen[str]]:
    """Tells, by a line, when packets begin to leave by the node's wt0."""
    process = subprocess.Popen(
        machines.exec_command(node, ["python3", "-S", "-u", "-c", WATCH]), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "on\n":
            raise RuntimeError(f"{node}: nobody watches {NETBIRD_INTERFACE}")
        yield process
    finally:
        process.kill()
        process.wait()


def patch(cluster: Cluster, peer: str, node: str | None) -> None:
    """Lets the policy name this node, or none."""
    wanted = {"spec": {"egressGateway": {"nodeSelector": {"matchLabels": {"kubernetes.io/hostname": node}}}}}
    cluster.kubectl(
        "patch",
        "ciliumegressgatewaypolicies",
        egress_policy_name(peer),
        "--type=merge",
        f"--patch={json.dumps(wanted)}",
    )


def measure(name: str, runs: int) -> dict[str, Any]:
    """All runs of a cluster."""
    lab, tools = lab_sites.of_lab(), lab_up.tools_of_person()
    cluster = Cluster(name=name, tools=tools)
    peer = next(site.name for site in lab.sites if site.name != name)
    other = Cluster(name=peer, tools=tools)
    routers = router_nodes(cluster)
    if len(routers) < 2:
        raise RuntimeError(f"{name} has one router; this needs two: ./isthmus lab up --routers 2")
    rounds = []
    try:
        for side in (cluster, other):
            pods.start(side)
        far = next(pod for node, pod in sorted(pods.ready(other).items()) if node not in router_nodes(other))
        flows = [Flow(pod, far) for pod in pods.ready(cluster).values()]
        with probing([*(flow.source for flow in flows), far]) as made:
            patch(cluster, peer, routers[0])
            made.start(flows)
            for number in range(runs):
                node = routers[(number + 1) % len(routers)]
                end = time.monotonic() + 60
                while not made.calm(flows, seconds=CALM_BEFORE_SECONDS):
                    if time.monotonic() > end:
                        raise RuntimeError(f"no calm: {made.silent(flows, seconds=CALM_BEFORE_SECONDS)}")
                    time.sleep(0.2)
                with watching(node) as watch:
                    begun = time.monotonic()
                    patch(cluster, peer, node)
                    done = time.monotonic()
                    assert watch.stdout is not None
                    line = watch.stdout.readline()
                if not line:
                    raise RuntimeError(f"no packet left by {node} in {DEADLINE_SECONDS} s")
                first = float(line)
                time.sleep(3.0)
                gaps = {
                    kind: max(
                        longest_gap(made.of(flow).answers(flow, kind), begin=begun, end=made.of(flow).now).seconds
                        for flow in flows
                    )
                    for kind in KINDS
                }
                rounds.append({"from_start": first - begun, "from_end": first - done, "gaps": gaps})
    finally:
        patch(cluster, peer, None)
        for side in (cluster, other):
            pods.remove(side)
    return {"cluster": name, "runs": len(rounds), "seconds": rounds}


def told(name: str, values: Sequence[float]) -> str:
    """Median and worst in a line."""
    return f"{name}: median {statistics.median(values):.2f} s, worst {max(values):.2f} s"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cluster", default="de")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = measure(arguments.cluster, arguments.runs)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    print(told("patch to first packet, kubectl's start counted", [round_["from_start"] for round_ in found["seconds"]]))
    print(told("patch to first packet, from kubectl's end", [round_["from_end"] for round_ in found["seconds"]]))
    for kind in KINDS:
        print(told(f"longest time without an answer, {kind}", [round_["gaps"][kind] for round_ in found["seconds"]]))


if __name__ == "__main__":
    main()
