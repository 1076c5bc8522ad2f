"""`./isthmus plan`: what all stack files together would make, or everything that is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style

from cli import console
from cli.directory import print_problems, read_fleet
from cli.errors import FAILED, cannot
from domain.fleet import check_fleet
from domain.plan_report import ClusterReport, FleetReport, LinkReport, fleet_report
from domain.problems import Problem


def plan(directory: Path, *, as_json: bool, running: bool) -> int:
    """Prints the plan, exit code 0, or all problems, exit code 1.

    ``running`` asks Pulumi for the outputs of every stack, to find changes that a cluster that runs can't follow.
    """
    fleet = read_fleet(directory)
    if not fleet.files:
        cannot(f"there is no stack file in {directory}; `./isthmus new NAME --hetzner` makes one.")
    problems = check_fleet(fleet)
    if running and not problems:
        from cli.running import changes

        problems = changes(fleet, directory)
    report = None if problems else fleet_report(fleet.stacks)
    if as_json:
        print(json.dumps(as_plain_data(report, problems), indent=2))
    elif report is None:
        print_problems(problems)
    else:
        print_report(console.results(), report)
        if not running:
            console.messages().print("Not compared with what runs; --running does that.", style="dim")
    return FAILED if problems else 0


def as_plain_data(report: FleetReport | None, problems: Sequence[Problem]) -> dict[str, Any]:
    """What --json prints: clusters and links are empty where there are problems."""
    found = {"clusters": [], "links": []} if report is None else report.as_json()
    return {**found, "problems": [problem.as_json() for problem in problems]}


# --- printing ---------------------------------------------------------------------------------------------------------


Row = Sequence[str]


def print_report(out: Console, report: FleetReport) -> None:
    """Tables for people: addresses, nodes, fixed addresses, MTU, links."""
    lines: list[Segment] = []
    _table(
        lines,
        "Addresses",
        ("cluster", "where", "pods", "services", "nodes", "zone"),
        [_address_row(cluster) for cluster in report.clusters],
    )
    _table(
        lines,
        "Nodes",
        ("cluster", "node", "role", "address", ""),
        [
            (cluster.name, node.name, node.role or "", str(node.address), "carries the link" if node.router else "")
            for cluster in report.clusters
            for node in cluster.plan.nodes
        ],
    )
    _table(
        lines,
        "Fixed addresses of services",
        ("cluster", "Kubernetes API", "DNS", "DNS relay"),
        [
            (plan.cluster, str(plan.kubernetes_service), str(plan.cluster_dns), str(plan.relay_service_ip))
            for plan in (cluster.plan for cluster in report.clusters)
        ],
    )
    layers = report.clusters[0].layers
    _table(
        lines,
        "MTU, in bytes",
        ("cluster", *(layer.name for layer in layers)),
        [(cluster.name, *(str(layer.mtu) for layer in cluster.layers)) for cluster in report.clusters],
        notes=[f"{layer.name}: {layer.meaning}" for layer in layers],
    )
    if report.links:
        _table(
            lines,
            "Links",
            ("link", "carries packets to", "of at most", "names in", "egress policy", "NetBird policies"),
            [row for link in report.links for row in _link_rows(link)],
        )
    else:
        lines.append(Segment("No stack has peers, so there is no link.\n"))
    if lines[-1] == _EMPTY_LINE:
        lines.pop()
    # In one go, and as what the console makes of any text: a fleet may have many lines, and this is most of the time.
    out.print(Segments(lines))


def _address_row(cluster: ClusterReport) -> Row:
    plan = cluster.plan
    network = "" if cluster.hetzner_network is None else f" in {cluster.hetzner_network}"
    nodes = f"{plan.node_cidr}{network}"
    return (cluster.name, cluster.place, str(plan.pod_cidr), str(plan.service_cidr), nodes, plan.dns_zone)


def _link_rows(link: LinkReport) -> Iterator[Row]:
    """One line for each policy; what holds for the whole link stands in the first."""
    whole = (
        f"{link.source} → {link.target}",
        ", ".join(map(str, link.destination_cidrs)),
        f"{link.mtu} bytes",
        link.zone,
        link.egress_policy,
    )
    for policy in link.netbird_policies:
        yield (*whole, f"{policy.name} ({', '.join([policy.protocol, *policy.ports])})")
        whole = ("",) * 5


_EMPTY_LINE = Segment.line()
_TITLE, _HEAD, _NOTE = Style(bold=True, color="cyan"), Style(bold=True), Style(dim=True)


def _table(lines: list[Segment], title: str, heads: Row, rows: Sequence[Row], notes: Sequence[str] = ()) -> None:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]

    def line(row: Row) -> str:
        return "  " + "  ".join(map(str.ljust, row, widths)).rstrip()

    def styled(text: str, style: Style) -> tuple[Segment, Segment]:
        # The end of a line has no style, so that a colour never reaches over it.
        return Segment(text, style), _EMPTY_LINE

    lines += styled(title, _TITLE)
    lines += styled(line(heads), _HEAD)
    lines += [Segment("".join(f"{line(row)}\n" for row in rows))]
    for note in notes:
        lines += styled(f"  {note}", _NOTE)
    lines.append(_EMPTY_LINE)
