"""`./isthmus plan`: what all stack files together would make, or everything that is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.segment import Segment, Segments
from rich.text import Text

from cli import console
from cli.directory import print_problems, read_fleet
from cli.errors import FAILED, cannot
from cli.tables import EMPTY_LINE, HEAD, NOTE, TITLE, Row, grouped, table, wrapped
from domain.fleet import NAMES_SHOWN, Fleet, check_fleet
from domain.plan_report import ClusterReport, FleetReport, LinkReport, fleet_report
from domain.problems import Problem, shown
from domain.stack_file import stack_file_name

MANY: Final = 4
"""From so many clusters on, one line a cluster, and a matrix of the links."""


IN_AN_ENVIRONMENT: Final = (
    "{stack} is not shown: a part of its settings comes from environments of Pulumi ESC, which Pulumi alone reads; "
    "`pulumi preview -s {stack}` checks and shows it."
)
BESIDE_AN_ENVIRONMENT: Final = (
    "{stack} is shown as its file says: what environments of Pulumi ESC add to it, Pulumi alone reads; "
    "`pulumi preview -s {stack}` checks and shows that."
)


def plan(directory: Path, *, as_json: bool, running: bool, stack: str | None = None) -> int:
    """Prints the plan, exit code 0, or all problems, exit code 1.

    ``running`` asks Pulumi for the outputs of every stack, to find changes that a cluster that runs can't follow.
    ``stack`` shows of the plan what concerns this stack; problems of all files are shown all the same, because
    `pulumi up` refuses for each of them.
    """
    fleet = read_fleet(directory)
    if not fleet.files:
        cannot(f"there is no stack file in {directory}; `./isthmus new NAME --hetzner` makes one.")
    if stack is not None and stack not in fleet.files:
        cannot(_no_such_stack(stack, directory, fleet))
    problems = check_fleet(fleet)
    if running and not problems:
        from cli.running import changes

        problems = changes(fleet, directory)
    report = None if problems else fleet_report(fleet.stacks)
    if report is not None and stack is not None and stack not in fleet.partial:
        report = report.only(stack)
    if as_json:
        print(json.dumps(as_plain_data(report, problems), indent=2))
    elif report is None:
        print_problems(problems)
    else:
        if report.clusters and stack not in fleet.partial:
            print_report(console.results(), report)
        for name in (name for name, file in fleet.files.items() if file.environment and stack in (None, name)):
            words = IN_AN_ENVIRONMENT if name in fleet.partial else BESIDE_AN_ENVIRONMENT
            console.messages().print(words.format(stack=name))
        if not running:
            console.messages().print("Not compared with what runs; --running does that.", style="dim")
    return FAILED if problems else 0


def _no_such_stack(stack: str, directory: Path, fleet: Fleet) -> str:
    names = [shown(name) for name in fleet.files]
    there = ", ".join([*names[:NAMES_SHOWN], *(["..."] if len(names) > NAMES_SHOWN else [])])
    return f"there is no {stack_file_name(shown(stack))} in {directory}; stacks there: {there}."


def as_plain_data(report: FleetReport | None, problems: Sequence[Problem]) -> dict[str, Any]:
    """What --json prints: clusters and links are empty where there are problems."""
    found = {"clusters": [], "links": []} if report is None else report.as_json()
    return {**found, "problems": [problem.as_json() for problem in problems]}


# --- printing ---------------------------------------------------------------------------------------------------------


def print_report(out: Console, report: FleetReport) -> None:
    """Tables for people and one line of summary, within the console's width."""
    width = out.width
    lines: list[Segment] = []
    lines += _many_clusters(report, width) if len(report.clusters) >= MANY else _few_clusters(report, width)
    lines += _versions(report, width)
    lines += _access(report, width)
    lines += _mtu(report, width)
    if report.links:
        lines += _matrix(report, width) if len(report.clusters) >= MANY else _links(report, width)
    # In one go, and as what the console makes of any text: a fleet may have many lines, and this is most of the time.
    out.print(Segments(lines))
    out.print(Text(summary(report), style="bold"))


def summary(report: FleetReport) -> str:
    """The plan in one line: of link sizes the smallest and the largest."""
    pairs = {frozenset((link.source, link.target)) for link in report.links}
    sizes = sorted({link.mtu for link in report.links})
    if not pairs:
        links = "no link, since no stack has peers"
    else:
        links = f"{_count(len(pairs), 'link')} of up to {' or '.join(map(str, sizes[:: len(sizes) - 1 or 1]))} bytes"
    nodes = sum(len(cluster.plan.nodes) for cluster in report.clusters)
    return f"{_count(len(report.clusters), 'cluster')}, {_count(nodes, 'node')}, {links}; no problem found."


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _few_clusters(report: FleetReport, width: int) -> Iterator[Segment]:
    yield from table(
        "Addresses",
        ("cluster", "pods", "services", "nodes", "zone"),
        [_address_row(cluster) for cluster in report.clusters],
        width=width,
    )
    yield from table(
        "Nodes",
        ("cluster", "node", "role", "server type", "address", ""),
        [
            (
                cluster.name,
                node.name,
                node.role or "",
                node.server_type or "",
                str(node.address),
                "carries the link" if node.router else "",
            )
            for cluster in report.clusters
            for node in cluster.plan.nodes
        ],
        width=width,
    )
    yield from table(
        "Fixed addresses of services",
        ("cluster", "Kubernetes API", "DNS", "DNS relay"),
        [
            (plan.cluster, str(plan.kubernetes_service), str(plan.cluster_dns), str(plan.relay_service_ip))
            for plan in (cluster.plan for cluster in report.clusters)
        ],
        width=width,
    )


def _address_row(cluster: ClusterReport) -> Row:
    plan = cluster.plan
    network = "" if cluster.own_network is None else f" in {cluster.own_network}"
    nodes = f"{plan.node_cidr}{network}"
    return (cluster.name, str(plan.pod_cidr), str(plan.service_cidr), nodes, plan.dns_zone)


def _many_clusters(report: FleetReport, width: int) -> Iterator[Segment]:
    plans = [cluster.plan for cluster in report.clusters]
    yield from table(
        "Addresses",
        ("cluster", "pods", "services", "nodes", "zone"),
        [
            (plan.cluster, str(plan.pod_cidr), str(plan.service_cidr), str(plan.node_cidr), plan.dns_zone)
            for plan in plans
        ],
        width=width,
    )
    yield from table(
        "Nodes",
        ("cluster", "where", "servers", "workers", "carries the link"),
        [_nodes_row(cluster) for cluster in report.clusters],
        width=width,
        notes=["`--stack NAME` shows every node and address of a cluster."],
    )
    yield from table(
        "Fixed addresses, counted in each service range",
        ("cluster", "Kubernetes API", "DNS", "DNS relay"),
        grouped(
            (plan.cluster, *(f"+{int(address) - int(plan.service_cidr[0])}" for address in addresses))
            for plan, addresses in (
                (plan, (plan.kubernetes_service, plan.cluster_dns, plan.relay_service_ip)) for plan in plans
            )
        ),
        width=width,
    )


def _nodes_row(cluster: ClusterReport) -> Row:
    def machines(role: str) -> str:
        nodes = [node for node in cluster.plan.nodes if node.role == role]
        types = dict.fromkeys(node.server_type for node in nodes if node.server_type)
        return " ".join([str(len(nodes)), *(["x", ", ".join(types)] if types else [])]) if nodes else ""

    routers = ", ".join(f"{node.name} {node.address}" for node in cluster.plan.routers)
    return (cluster.name, cluster.place, machines("server"), machines("agent"), routers)


def _versions(report: FleetReport, width: int) -> Iterator[Segment]:
    rows = [
        (
            cluster.name,
            cluster.versions.k3s or "its own",
            cluster.versions.cilium,
            cluster.versions.netbird_operator,
            cluster.versions.netbird_agent,
            cluster.versions.management_url,
        )
        for cluster in report.clusters
    ]
    heads = ("cluster", "k3s", "Cilium", "NetBird's operator", "NetBird's agents", "NetBird's server")
    yield from table("Versions", heads, grouped(rows), width=width)


SITES_OWN: Final = "(the site's own firewall)"


def _access(report: FleetReport, width: int) -> Iterator[Segment]:
    # Of a few clusters it says where they stand as well; of many the nodes' table has done so.
    few = len(report.clusters) < MANY
    rows = []
    for cluster in report.clusters:
        sources = ((), ()) if cluster.access is None else (cluster.access.api, cluster.access.ssh)
        who = [", ".join(map(str, addresses)) or SITES_OWN for addresses in sources]
        rows.append((cluster.name, *([cluster.place] if few else []), *who))
    yield from table(
        "Where they stand, and who may reach them" if few else "Who may reach the servers",
        ("cluster", *(["where"] if few else []), "Kubernetes API (6443)", "SSH (22)"),
        rows if few else grouped(rows),
        width=width,
    )


def _mtu(report: FleetReport, width: int) -> Iterator[Segment]:
    layers = report.clusters[0].layers
    yield from table(
        "MTU, in bytes",
        ("cluster", *(layer.name for layer in layers)),
        grouped((cluster.name, *(str(layer.mtu) for layer in cluster.layers)) for cluster in report.clusters),
        width=width,
        notes=[f"{layer.name}: {layer.meaning}" for layer in layers],
    )


def _links(report: FleetReport, width: int) -> Iterator[Segment]:
    yield from table(
        "Links",
        ("link", "carries packets to", "of at most", "names in"),
        [
            (_arrow(link), ", ".join(map(str, link.destination_cidrs)), f"{link.mtu} bytes", link.zone)
            for link in report.links
        ],
        width=width,
    )
    yield from table(
        "What lets them through",
        ("link", "egress policy", "NetBird policies"),
        [
            (
                _arrow(link),
                link.egress_policy,
                ", ".join(
                    f"{policy.name} ({' '.join([policy.protocol, *policy.ports])})" for policy in link.netbird_policies
                ),
            )
            for link in report.links
        ],
        width=width,
    )


def _arrow(link: LinkReport) -> str:
    return f"{link.source} → {link.target}"


SIGNS: Final = "xabcdefghijklmnopqrstuvw"
"""What a field of the matrix shows for each size of packets; the first where there is only one."""
NO_LINK, ITSELF = ".", "-"


def _matrix(report: FleetReport, width: int) -> Iterator[Segment]:
    """A field for each direction; rows say from where, numbered columns to where. Wide ones come in parts."""
    names = [cluster.name for cluster in report.clusters]
    linked = {(link.source, link.target): link.mtu for link in report.links}
    sizes = sorted(set(linked.values()))
    signs = {size: SIGNS[(number + (len(sizes) > 1)) % len(SIGNS)] for number, size in enumerate(sizes)}
    digits, longest = len(str(len(names))), max(map(len, names))
    labels = [f"  {number:>{digits}} {name:<{longest}}  " for number, name in enumerate(names, start=1)]
    # Apart where there is room: a matrix of a few is easier to read so.
    spacing = " " if len(labels[0]) + 2 * len(names) <= width else ""
    part = max(1, (width - len(labels[0])) // (1 + len(spacing)))
    first_link = max(report.links, key=lambda link: len(link.destination_cidrs))
    fewer = [_arrow(link) for link in report.links if len(link.destination_cidrs) < len(first_link.destination_cidrs)]
    example = (
        f"Of {_arrow(first_link)}, and of all others in the same way: pods reach "
        f"{', '.join(map(str, first_link.destination_cidrs))} and names in {first_link.zone}; egress policy "
        f"{first_link.egress_policy}; NetBird policies "
        f"{', '.join(policy.name for policy in first_link.netbird_policies)}."
    )
    notes = [
        *(f"{signs[size]}: a link that carries packets of at most {size} bytes from pod to pod" for size in sizes),
        *([f"{NO_LINK}: no link"] if len(linked) < len(names) * (len(names) - 1) else []),
        example,
        *([f"Without ClusterIPs, so to pods alone: {', '.join(fewer)}."] if fewer else []),
    ]
    yield Segment("Links, from the row to the column", TITLE)
    yield EMPTY_LINE
    for first in range(0, len(names), part):
        columns = names[first : first + part]
        numbers = [str(number).rjust(digits) for number in range(first + 1, first + len(columns) + 1)]
        for place in range(digits):
            head = " " * len(labels[0]) + spacing.join(number[place] for number in numbers)
            yield Segment(head.rstrip(), HEAD)
            yield EMPTY_LINE
        for label, source in zip(labels, names, strict=True):
            fields = (
                ITSELF if source == target else signs[linked[source, target]] if (source, target) in linked else NO_LINK
                for target in columns
            )
            yield Segment(f"{label}{spacing.join(fields)}\n")
    for note in notes:
        for line in wrapped(note, max(20, width - 2)):
            yield Segment(f"  {line}", NOTE)
            yield EMPTY_LINE
    yield EMPTY_LINE
