"""`lab status` as text: tables of machines, clusters and links, and what is wrong, each cause with its fix."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from typing import Final

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.segment import Segments
from rich.style import Style
from rich.table import Table
from rich.text import Text

from cli import tables
from lab import state
from lab.status import Cause, ClusterStatus, LinkStatus, Status, unready

Row = Sequence[str | Text]
CLUSTER_HEADS: Final = ("cluster", "nodes", "router on", "node IP", "NetBird IP", "leads to", "DNS zone")
LINK_HEADS: Final = ("link", "packets", "names", "path", "round trip", "egress policy")
NO_LIMIT: Final = 10_000
"""Columns, for asking how wide a table wants to be."""
_STYLES = {"up": "green", "partly": "bold yellow", "down": "bold red", "unknown": "bold yellow"}
_NAMES = {"up": "answered", "partly": "partly", "down": "not answered", "unknown": "not asked"}


def print_status(out: Console, status: Status, *, machines_too: bool = False) -> None:
    """The tables of clusters and links, on request of machines and helpers as well."""
    if machines_too:
        machines = ((machine.name, _state(machine.running, "running", "off"), "") for machine in status.machines)
        helpers = ((helper.name, _state(helper.running, "running", "ended"), helper.url) for helper in status.helpers)
        print_table(out, ("machine or server", "state", "address"), list(chain(machines, helpers)))
    print_table(out, CLUSTER_HEADS, list(_cluster_rows(status.clusters)))
    print_table(out, LINK_HEADS, list(_link_rows(status.links)))


def print_table(out: Console, heads: Sequence[str], rows: Sequence[Row], *, right: Collection[str] = ()) -> None:
    """In lines as wide as they need, columns of ``right`` at their right end; where there is no room for them every
    cell wraps within its column.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in heads:
        table.add_column(name, no_wrap=True, justify="right" if name in right else "left")
    for row in rows:
        table.add_row(*row)
    if Measurement.get(out, out.options.update(max_width=NO_LIMIT), table).maximum <= out.width:
        out.print(table)
        return
    styles = {cell.plain: Style.parse(str(cell.style)) for row in rows for cell in row if isinstance(cell, Text)}
    plain = [[str(cell) for cell in row] for row in rows]
    out.print(Segments(tables.table("", heads, plain, width=out.width, styles=styles)), end="")


def _state(good: bool, yes: str, no: str) -> Text:
    return Text(yes, style="green") if good else Text(no, style="bold red")


def _cluster_rows(clusters: tuple[ClusterStatus, ...]) -> Iterator[Row]:
    """Clusters with nodes and routers, a row for each router."""
    for cluster in clusters:
        ready = sum(node.ready for node in cluster.nodes)
        nodes = _state(
            cluster.reachable and ready == len(cluster.nodes) >= cluster.expected_nodes,
            f"{ready} ready",
            f"{ready} of {cluster.expected_nodes} ready" if cluster.reachable else "API does not answer",
        )
        if not cluster.routers:
            yield (cluster.name, nodes, Text("none", style="bold red"), "", "", "", cluster.dns_zone)
        for number, router in enumerate(cluster.routers):
            own = (cluster.name, nodes) if number == 0 else ("", "")
            zone = cluster.dns_zone if number == 0 else ""
            yield (*own, router.node, router.node_ip, router.netbird_ip, _leads_to(cluster, router.node), zone)


def _leads_to(cluster: ClusterStatus, node: str) -> str:
    """The peers that the cluster's pods reach by the router on this node, by any keeper's word; of one router all."""
    keepers = [router.keeper for router in cluster.routers if router.keeper]
    return ", ".join(sorted({peer for keeper in keepers for peer, named in keeper.out.items() if named == node})) or "-"


def _link_rows(links: tuple[LinkStatus, ...]) -> Iterator[Row]:
    """Links as packets see them, with the way between the routers."""
    for link in links:
        passed = sum(probe.passed for probe in link.probes)
        yield (
            f"{link.source} → {link.target}",
            Text(f"{link.verdict} ({passed} of {len(link.probes)} probes)", style=_STYLES[link.verdict]),
            Text(_NAMES[link.names], style=_STYLES[link.names]),
            _state(link.path in ("direct", "relayed"), link.path, link.path),
            f"{link.round_trip_ms:.1f} ms" if link.round_trip_ms is not None else "-",
            _state(link.policy, "in place", "missing"),
        )


def print_problems(out: Console, status: Status) -> None:
    """What is wrong, why, and what mends it."""
    for sentence in unready(status):
        _print_sentence(out, sentence, "bold red")
    _print_causes(out, status)
    out.print(
        Text(
            'pulumi and kubectl as above work in a shell after eval "$(./isthmus lab env)". Logs: '
            f"{state.STATE / 'logs'}",
            style="dim",
        )
    )


def print_remarks(out: Console, status: Status) -> None:
    """What is worth knowing of a lab that is up."""
    _print_causes(out, status)
    for sentence in dict.fromkeys(sentence for link in status.links for sentence in link.not_probed):
        _print_sentence(out, f"Probes: {sentence}", "dim")


def _print_sentence(out: Console, sentence: str, style: str) -> None:
    """Broken at spaces, as wide as the terminal is."""
    out.print(Text("\n".join(tables.wrapped(sentence, out.width)), style=style))


def _print_causes(out: Console, status: Status) -> None:
    for cause, links in status.causes:
        sentence = f"{_kind(cause)}: {cause.sentence}"
        _print_sentence(out, sentence, "yellow" if cause.kind == "remark" else "bold red")
        if cause.explains:
            out.print(Text(tables.hanging("  lost by it: ", ", ".join(links), out.width)))
        # Not wrapped, so that it can be copied.
        out.print(Text(f"  fix: {cause.fix}"), soft_wrap=True)


def _kind(cause: Cause) -> str:
    return {"fault": "Cause", "security": "Security fault", "remark": "Remark"}[cause.kind]
