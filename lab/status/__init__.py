"""What is up in the lab, judged by what a packet sees, and the cause where one is lost.

`collecting.py` looks (`looking.py` who is there, `probing.py` which questions go out, `asking.py` and `node_agent.py`
how), `reading.py` turns the answers into facts (`facts.py`), `findings.py` and `judging.py` turn facts into causes
(`causes.py`), and `results.py` is what comes of it. Everything is looked up where it happens; nothing is remembered,
nothing is changed.
"""

from lab.status.collecting import collect, helpers
from lab.status.results import (
    Cause,
    ClusterStatus,
    HelperStatus,
    LinkStatus,
    MachineStatus,
    NameProbe,
    NodeStatus,
    Probe,
    RouterStatus,
    Status,
    unready,
)
from lab.status.routers import NETBIRD_NAMESPACE, ROUTER_CONTAINER, agent_status, peer_path, router_pods

__all__ = [
    "NETBIRD_NAMESPACE",
    "ROUTER_CONTAINER",
    "Cause",
    "ClusterStatus",
    "HelperStatus",
    "LinkStatus",
    "MachineStatus",
    "NameProbe",
    "NodeStatus",
    "Probe",
    "RouterStatus",
    "Status",
    "agent_status",
    "collect",
    "helpers",
    "peer_path",
    "router_pods",
    "unready",
]
