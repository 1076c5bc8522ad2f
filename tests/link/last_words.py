"""What the routers of both clusters said lately, for a test of the link that has failed: who reads it has no lab."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from domain.objects.keeper import LABELS as KEEPER_LABELS
from domain.router_rollout import ROUTER_POD_LABEL
from lab.errors import LabError
from lab.kubernetes import Cluster
from lab.status.routers import NETBIRD_NAMESPACE

SYSTEM_NAMESPACE: Final = "kube-system"
SINCE: Final = "3m"
LINES: Final = 30
"""Of each, the last ones."""
DEADLINE_SECONDS: Final = 15.0
OF_A_CONNECTION: Final = re.compile(
    r"starting NetBird|started, the IP|WireGuard|wg_watcher|handshake|ICE|relay conn|via relay|chosen route|"
    r"not been assigned|Management Service|Signal|configure|received (offer|answer)"
)
"""The lines of NetBird's agent that tell how it comes to its peers, and none in which a key or a token could be."""
OF_THE_DATAPATH: Final = re.compile(r"level=(warn|error)|devices-controller|BPFCompilationTime|device=wt0")

Source = tuple[str, str, str, re.Pattern[str]]
"""Title, namespace, selector of the pods, and which lines count."""


def sources(cluster: str) -> list[Source]:
    """Who is asked in a cluster. Pure."""
    (keeper,) = KEEPER_LABELS.items()
    return [
        ("keepers", SYSTEM_NAMESPACE, "=".join(keeper), re.compile("")),
        ("agents", NETBIRD_NAMESPACE, f"{ROUTER_POD_LABEL}={cluster}", OF_A_CONNECTION),
        ("Cilium", SYSTEM_NAMESPACE, "k8s-app=cilium", OF_THE_DATAPATH),
    ]


def chosen(said: str, counts: re.Pattern[str]) -> list[str]:
    """The last lines that count, by their time, which each begins with after its pod. Pure."""
    lines = [line for line in said.splitlines() if counts.search(line)]
    return sorted(lines, key=lambda line: line.partition(" ")[2])[-LINES:]


def last_words(clusters: Sequence[Cluster], ask: Callable[..., str] | None = None) -> str:
    """A paragraph for each, whatever does not answer; raises nothing."""
    parts = []
    for cluster in clusters:
        for title, namespace, selector, counts in sources(cluster.name):
            try:
                said = (ask or _logs)(cluster, namespace, selector)
            except (LabError, OSError, LookupError) as error:
                lines = [str(error)]
            else:
                lines = chosen(said, counts) or [f"nothing of that kind since {SINCE}"]
            parts.append("\n".join([f"{cluster.name}, {title}:", *lines]))
    return "\n\n".join(parts)


def _logs(cluster: Cluster, namespace: str, selector: str) -> str:
    arguments = ["--all-containers", "--prefix", "--timestamps", f"--since={SINCE}", "--tail=-1"]
    return cluster.kubectl(
        "logs", f"--namespace={namespace}", f"--selector={selector}", *arguments, deadline_seconds=DEADLINE_SECONDS
    ).stdout
