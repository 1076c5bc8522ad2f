"""Which sites this machine's lab has, and how many routers and servers: said when it is raised, and remembered.

Sites and routers can be added to a lab that is up, as to a fleet; they are not taken away again but with the lab. The
servers of a cluster are as many as it was made with.
"""

from __future__ import annotations

from pathlib import Path

from lab import state
from lab.errors import LabError
from lab.topology import DEFAULT, Topology, of_sites


def of_lab() -> Topology:
    """What the lab that is up has, or what one gets by default."""
    recorded = state.read_json(_record())
    if recorded is None:
        return DEFAULT
    # A lab that was raised before routers and servers were counted has one of each a cluster.
    counts = [int(recorded.get(name, 1)) for name in ("routers", "servers")]
    return of_sites(int(recorded["sites"]), *counts)


def choose(count: int | None, routers: int | None = None, servers: int | None = None) -> Topology:
    """What a lab that is being raised gets: ``count`` sites with so many routers and servers each, or as many as it
    has.

    Remembers it. Raises :class:`~lab.errors.LabError` when the lab that is up has more.
    """
    present = of_lab()
    wanted = of_sites(
        len(present.sites) if count is None else count,
        present.routers if routers is None else routers,
        present.servers if servers is None else servers,
    )
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
        if wanted.servers != present.servers:
            raise LabError(
                f"The lab that is up has {present.servers} server{'s' if present.servers > 1 else ''} a cluster "
                f"({names}), and a cluster of the lab keeps the number that it was made with. Leave out --servers, or "
                "`./isthmus lab down` first."
            )
    record = {"sites": len(wanted.sites), "routers": wanted.routers, "servers": wanted.servers}
    state.write_json(_record(), record)
    return wanted


def _record() -> Path:
    return state.STATE / "sites.json"
