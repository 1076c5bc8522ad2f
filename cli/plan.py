"""`./isthmus plan`: what all stack files together would make, or everything that is wrong with them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from cli import console
from cli.directory import print_problems, read_fleet
from cli.errors import FAILED, cannot
from domain.changes import changes_refused
from domain.fleet import Fleet, check_fleet, place_problems
from domain.plan_report import ClusterReport, FleetReport, LinkReport, fleet_report
from domain.problems import Problem

PULUMI_DEADLINE_SECONDS: Final = 60.0
NO_STACK: Final = "no stack named"
"""In Pulumi's answer for a stack that nobody has initialised."""


def plan(directory: Path, *, as_json: bool, running: bool) -> int:
    """Prints the plan, exit code 0, or all problems, exit code 1.

    ``running`` asks Pulumi for the outputs of every stack, to find changes that a cluster that runs can't follow.
    """
    fleet = read_fleet(directory)
    if not fleet.files:
        cannot(f"there is no stack file in {directory}; `./isthmus new NAME --hetzner` makes one.")
    problems = check_fleet(fleet)
    if running and not problems:
        problems = _changes(fleet, directory)
    report = None if problems else fleet_report(fleet.stacks)
    if as_json:
        print(json.dumps(as_plain_data(report, problems), indent=2))
    elif report is None:
        print_problems(problems)
    else:
        print_report(console.results(), report)
        if not running:
            console.messages().print(Text("Not compared with what runs; --running does that.", style="dim"))
    return FAILED if problems else 0


def as_plain_data(report: FleetReport | None, problems: Sequence[Problem]) -> dict[str, Any]:
    """What --json prints: clusters and links are empty where there are problems."""
    found = {"clusters": [], "links": []} if report is None else report.as_json()
    return {**found, "problems": [problem.as_json() for problem in problems]}


# --- what runs --------------------------------------------------------------------------------------------------------


def _changes(fleet: Fleet, directory: Path) -> list[Problem]:
    problems = []
    for name, settings in fleet.stacks.items():
        problems += changes_refused(stack_outputs(name, directory), settings)
    return place_problems(fleet, problems)


def stack_outputs(stack: str, directory: Path) -> Mapping[str, Any]:
    """The outputs of the stack's last update, none where there was none. Secrets stay hidden."""
    command = ["pulumi", "stack", "output", "--json", "--non-interactive", "--stack", stack]
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PULUMI_DEADLINE_SECONDS,
        )
    except FileNotFoundError:
        cannot("there is no `pulumi` on PATH, which knows what runs; leave out --running.")
    except subprocess.TimeoutExpired:
        cannot(f"`{' '.join(command)}` has not answered within {PULUMI_DEADLINE_SECONDS:.0f} s.")
    if done.returncode != 0:
        if NO_STACK in done.stderr:
            return {}
        cannot(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    outputs = json.loads(done.stdout or "{}")
    return outputs if isinstance(outputs, Mapping) else {}


# --- printing ---------------------------------------------------------------------------------------------------------


Row = Sequence[str]


def print_report(out: Console, report: FleetReport) -> None:
    """Tables for people: addresses, nodes, fixed addresses, MTU, links."""
    text = Text()
    _table(
        text,
        "Addresses",
        ("cluster", "where", "pods", "services", "nodes", "zone"),
        [_address_row(cluster) for cluster in report.clusters],
    )
    _table(
        text,
        "Nodes",
        ("cluster", "node", "role", "address", ""),
        [
            (cluster.name, node.name, node.role, str(node.address), "carries the link" if node.router else "")
            for cluster in report.clusters
            for node in cluster.plan.nodes
        ],
    )
    _table(
        text,
        "Fixed addresses of services",
        ("cluster", "Kubernetes API", "DNS", "DNS relay"),
        [
            (plan.cluster, str(plan.kubernetes_service), str(plan.cluster_dns), str(plan.relay_service_ip))
            for plan in (cluster.plan for cluster in report.clusters)
        ],
    )
    layers = report.clusters[0].layers
    _table(
        text,
        "MTU, in bytes",
        ("cluster", *(layer.name for layer in layers)),
        [(cluster.name, *(str(layer.mtu) for layer in cluster.layers)) for cluster in report.clusters],
        notes=[f"{layer.name}: {layer.meaning}" for layer in layers],
    )
    if report.links:
        _table(
            text,
            "Links",
            ("link", "carries packets to", "of at most", "names in", "egress policy", "NetBird policies"),
            [row for link in report.links for row in _link_rows(link)],
        )
    else:
        text.append("No stack has peers, so there is no link.\n")
    text.rstrip()
    # In one go: a fleet may have many lines, and each call of the console costs.
    out.print(text)


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


def _table(text: Text, title: str, heads: Row, rows: Sequence[Row], notes: Sequence[str] = ()) -> None:
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]

    def line(row: Row) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"

    text.append(f"{title}\n", style="bold cyan")
    text.append(f"  {line(heads)}", style="bold")
    text.append("".join(f"  {line(row)}" for row in rows))
    text.append("".join(f"  {note}\n" for note in notes), style="dim")
    text.append("\n")
