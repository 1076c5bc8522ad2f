"""Which sites this machine's lab has, and how many routers each: said when it is raised, and remembered for later.

Sites and routers can be added to a lab that is up, as to a fleet; they are not taken away again but with the lab.
"""

from __future__ import annotations

from pathlib import Path

from lab import state
from lab.errors import LabError
from lab.topology import DEFAULT, Topology, of_sites


def of_lab() -> Topology:
    """What the lab that is up has, or what one gets by default."""
    recorded = state.read_json(_record())
    # A lab that was raised before routers were counted has one a cluster.
    return DEFAULT if recorded is None else of_sites(int(recorded["sites"]), int(recorded.get("routers", 1)))


def choose(count: int | None, routers: int | None = None) -> Topology:
    """What a lab that is being raised gets: ``count`` sites with ``routers`` each, or as many as it has.

    Remembers it. Raises :class:`~lab.errors.LabError` when the lab that is up has more.
    """
    present = of_lab()
    wanted = of_sites(len(present.sites) if count is None else count, present.routers if routers is None else routers)
    if state.read_json(_record()) is not None:
        names = ", ".join(site.name for site in present.sites)
        if len(wanted.sites) < len(present.sites):
            raise LabError(
                f"The lab that is up has {len(present.sites)} sites ({names}), and sites are not taken out of a lab "
                "one by one. Leave out --sites, or `./isthmus lab down` first."
            )
        if wanted.routers < present.routers:
            raise LabError(
                f"The lab that is up has {present.routers} routers a cluster ({names}), and `lab up` takes no router "
                "away. Leave out --routers, change the stack files, or `./isthmus lab down` first."
            )
    state.write_json(_record(), {"sites": len(wanted.sites), "routers": wanted.routers})
    return wanted


def _record() -> Path:
    return state.STATE / "sites.json"
