"""Which sites this machine's lab has: said when it is raised, and remembered for every later command.

Sites can be added to a lab that is up, as clusters can to a fleet; they are not taken away again but with the lab.
"""

from __future__ import annotations

from pathlib import Path

from lab import state
from lab.errors import LabError
from lab.topology import DEFAULT, Topology, of_sites


def of_lab() -> Topology:
    """The sites of the lab that is up, or those that one gets by default."""
    recorded = state.read_json(_record())
    return DEFAULT if recorded is None else of_sites(int(recorded["sites"]))


def choose(count: int | None) -> Topology:
    """The sites that a lab which is being raised gets: ``count`` of them, or those that it has.

    Remembers them. Raises :class:`~lab.errors.LabError` when the lab that is up has more.
    """
    present = of_lab()
    wanted = present if count is None else of_sites(count)
    if state.read_json(_record()) is not None and len(wanted.sites) < len(present.sites):
        names = ", ".join(site.name for site in present.sites)
        raise LabError(
            f"The lab that is up has {len(present.sites)} sites ({names}), and sites are not taken out of a lab one by "
            "one. Leave out --sites, or `./isthmus lab down` first."
        )
    state.write_json(_record(), {"sites": len(wanted.sites)})
    return wanted


def _record() -> Path:
    return state.STATE / "sites.json"
