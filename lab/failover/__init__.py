"""How long the link is away when something happens to a router, seen by pods: `./isthmus benchmark failover`.

A probe pod stands on every node of two clusters. From each pod of the one cluster to a pod of the other, and back, go
UDP packets, new TCP connections, and messages on a connection that stays (`pod_prober.py`, run by `probing.py`); the
fault is made on the router that they come by, which is found by counting packets on wt0 (`carrying.py`); what counts is
the longest time without an answer (`gaps.py`, pure). `run.py` has the order of it all.
"""
