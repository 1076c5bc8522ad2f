"""`lab status` as text: tables of machines, clusters and links, and what is wrong, each cause with its fix."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab import state
from lab.status import Cause, ClusterStatus, LinkStatus, Status, unready

_STYLES = {"up": "green", "partly": "bold yellow", "down": "bold red", "unknown": "bold yellow"}
_NAMES = {"up": "answered", "partly": "partly", "down": "not answered", "unknown": "not asked"}


def print_status(out: Console, status: Status, *, machines_too: bool = False) -> None:
    """The tables of clusters and links, on request of machines and helpers as well."""
    if machines_too:
        table = _table("machine or server", "state", "address")
        for machine in status.machines:
            table.add_row(machine.name, _state(machine.running, "running", "off"), "")
        for helper in status.helpers:
            table.add_row(helper.name, _state(helper.running, "running", "ended"), helper.url)
        out.print(table)
    out.print(cluster_table(status.clusters))
    out.print(link_table(status.links))


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, no_wrap=True)
    return table


def _state(good: bool, yes: str, no: str) -> Text:
    return Text(yes, style="green") if good else Text(no, style="bold red")


def cluster_table(clusters: tuple[ClusterStatus, ...]) -> Table:
    """Clusters with nodes and routers, a line for each router."""
    table = _table("cluster", "nodes", "router on", "node IP", "NetBird IP", "DNS zone")
    for cluster in clusters:
        ready = sum(node.ready for node in cluster.nodes)
        nodes = _state(
            cluster.reachable and ready == len(cluster.nodes) >= cluster.expected_nodes,
            f"{ready} ready",
            f"{ready} of {cluster.expected_nodes} ready" if cluster.reachable else "API does not answer",
        )
        if not cluster.routers:
            table.add_row(cluster.name, nodes, Text("none", style="bold red"), "", "", cluster.dns_zone)
        for number, router in enumerate(cluster.routers):
            own = (cluster.name, nodes) if number == 0 else ("", "")
            zone = cluster.dns_zone if number == 0 else ""
            table.add_row(*own, router.node, router.node_ip, router.netbird_ip, zone)
    return table


def link_table(links: tuple[LinkStatus, ...]) -> Table:
    """Links as packets see them, with the way between the routers."""
    table = _table("link", "packets", "names", "path", "round trip", "egress policy")
    for link in links:
        passed = sum(probe.passed for probe in link.probes)
        table.add_row(
            f"{link.source} → {link.target}",
            Text(f"{link.verdict} ({passed} of {len(link.probes)} probes)", style=_STYLES[link.verdict]),
            Text(_NAMES[link.names], style=_STYLES[link.names]),
            _state(link.path in ("direct", "relayed"), link.path, link.path),
            f"{link.round_trip_ms:.1f} ms" if link.round_trip_ms is not None else "-",
            _state(link.policy, "in place", "missing"),
        )
    return table


def print_problems(out: Console, status: Status) -> None:
    """What is wrong, why, and what mends it."""
    for sentence in unready(status):
        out.print(Text(sentence, style="bold red"))
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
        out.print(Text(f"Probes: {sentence}", style="dim"))


def _print_causes(out: Console, status: Status) -> None:
    for cause, links in status.causes:
        out.print(Text(f"{_kind(cause)}: {cause.sentence}", style="yellow" if cause.kind == "remark" else "bold red"))
        if cause.explains:
            out.print(Text(f"  lost by it: {', '.join(links)}"))
        # Not wrapped, so that it can be copied.
        out.print(Text(f"  fix: {cause.fix}"), soft_wrap=True)


def _kind(cause: Cause) -> str:
    return {"fault": "Cause", "security": "Security fault", "remark": "Remark"}[cause.kind]
