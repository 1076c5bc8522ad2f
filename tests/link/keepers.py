"""What the keepers of a cluster's routers have told so far: their metrics and their Events."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from keeper.kubernetes import EVENT_NAMESPACE, MANAGER
from lab import machines
from lab.failover.run import router_nodes
from lab.kubernetes import Cluster

METRICS = "http://127.0.0.1:8055/metrics"
ASK = f"import urllib.request as r; print(r.urlopen('{METRICS}', timeout=5).read().decode())"
MENDED = re.compile(r'^isthmus_keeper_mended_total\{what="([^"]+)"\} ([0-9]+)$', re.MULTILINE)


@dataclass(frozen=True)
class Told:
    """``mended`` is how often each thing was put right, of all routers; ``events`` {uid: (reason, message)}."""

    mended: Counter[str] = field(default_factory=Counter)
    events: dict[str, tuple[str, str]] = field(default_factory=dict)

    def since(self, before: Told) -> Told:
        """What is new. A keeper that was started anew counts from nothing."""
        return Told(
            self.mended - before.mended,
            {uid: event for uid, event in self.events.items() if uid not in before.events},
        )


def told(cluster: Cluster) -> Told:
    """Until now."""
    mended: Counter[str] = Counter()
    for node in router_nodes(cluster):
        text = machines.exec(node, ["python3", "-c", ASK], check=True).stdout
        assert "isthmus_keeper_node_in_order" in text
        mended.update({what: int(times) for what, times in MENDED.findall(text)})
    events = {
        str(event["metadata"]["uid"]): (str(event["reason"]), str(event["message"]))
        for event in cluster.get("events", namespace=EVENT_NAMESPACE)
        if event.get("source", {}).get("component") == MANAGER
    }
    return Told(mended, events)
