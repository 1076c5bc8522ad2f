"""Changes in a probe pod's network that the pod itself has no rights for."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence

from lab import machines
from lab.verify.workload import ProbePod

_SCRIPT = (
    'for p in $(pgrep -f probe-server); do nsenter -t "$p" -n hostname -I | grep -qw "$1" || continue; '
    'exec nsenter -t "$p" -n sh -ec "$0"; done; echo "no such pod" >&2; exit 1'
)


def inside_pod(pod: ProbePod, command: str) -> str:
    """Runs a shell command in the pod's network, with the tools of its node; returns what it wrote."""
    return machines.exec(pod.node, ["sh", "-c", _SCRIPT, command, pod.address], check=True).stdout


def route_mtu(pod: ProbePod) -> int:
    """What the pod may send in one packet, in bytes: the MTU of its default route."""
    routes = json.loads(inside_pod(pod, "ip -json -details route show default"))
    return int(next(metric["mtu"] for metric in routes[0]["metrics"] if "mtu" in metric))


def set_route_mtu(pod: ProbePod, size: int) -> None:
    """Lets the pod send packets of this size. Its interface has an MTU of 1500 by Cilium; only the route is smaller."""
    inside_pod(pod, f"ip route change $(ip route show default | sed 's/ mtu [0-9]*//') mtu {size}")


def forget_path_mtus(pods: Sequence[ProbePod]) -> None:
    """What the pods' kernels have learned of the paths to single addresses, which they keep for ten minutes."""
    for pod in pods:
        inside_pod(pod, "echo 1 > /proc/sys/net/ipv4/route/flush")


@contextlib.contextmanager
def sending_up_to(size: int, pods: Sequence[ProbePod]) -> Iterator[None]:
    """The pods may send packets of this size during the block."""
    before = {pod: route_mtu(pod) for pod in pods}
    try:
        for pod in pods:
            set_route_mtu(pod, size)
        yield
    finally:
        for pod, mtu in before.items():
            set_route_mtu(pod, mtu)
