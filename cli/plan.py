"""`./isthmus plan`: what all stack files together would make, or everything that is wrong with them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli import console
from cli.directory import cannot, print_problems, read_fleet
from cli.errors import FAILED
from domain.changes import changes_refused
from domain.fleet import Fleet, check_fleet, place_problems
from domain.plan_report import ClusterReport, FleetReport, fleet_report
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


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, no_wrap=True)
    return table


def print_report(out: Console, report: FleetReport) -> None:
    """Tables for people: addresses, nodes, names, MTU, links."""
    _title(out, "Addresses")
    addresses = _table("cluster", "where", "pods", "services", "nodes", "zone")
    for cluster in report.clusters:
        plan = cluster.plan
        network = "" if cluster.hetzner_network is None else f" in {cluster.hetzner_network}"
        nodes = f"{plan.node_cidr}{network}"
        addresses.add_row(cluster.name, cluster.place, str(plan.pod_cidr), str(plan.service_cidr), nodes, plan.dns_zone)
    out.print(addresses)

    _title(out, "Nodes")
    nodes_table = _table("cluster", "node", "role", "address", "")
    for cluster in report.clusters:
        for node in cluster.plan.nodes:
            nodes_table.add_row(
                cluster.name, node.name, node.role, str(node.address), "carries the link" if node.router else ""
            )
    out.print(nodes_table)

    _title(out, "Fixed addresses of services")
    fixed = _table("cluster", "Kubernetes API", "DNS", "DNS relay")
    for cluster in report.clusters:
        plan = cluster.plan
        fixed.add_row(cluster.name, str(plan.kubernetes_service), str(plan.cluster_dns), str(plan.relay_service_ip))
    out.print(fixed)

    _title(out, "MTU, in bytes")
    out.print(_mtu_table(report.clusters))

    if not report.links:
        out.print("No stack has peers, so there is no link.")
        return
    _title(out, "Links")
    links = _table("link", "carries packets to", "of at most", "names in", "egress policy", "NetBird policies")
    for link in report.links:
        policies = link.netbird_policies
        for number in range(max(len(link.destination_cidrs), len(policies))):
            policy = policies[number] if number < len(policies) else None
            first = number == 0
            links.add_row(
                f"{link.source} → {link.target}" if first else "",
                str(link.destination_cidrs[number]) if number < len(link.destination_cidrs) else "",
                f"{link.mtu} bytes" if first else "",
                link.zone if first else "",
                link.egress_policy if first else "",
                "" if policy is None else f"{policy.name} ({', '.join([policy.protocol, *policy.ports])})",
            )
    out.print(links)


def _mtu_table(clusters: Sequence[ClusterReport]) -> Table:
    table = _table("cluster", *(layer.name for layer in clusters[0].layers))
    for cluster in clusters:
        table.add_row(
            cluster.name,
            *(f"≥ {layer.mtu}" if layer.name == "underlay" else str(layer.mtu) for layer in cluster.layers),
        )
    table.caption = "\n".join(f"{layer.name}: {layer.meaning}" for layer in clusters[0].layers)
    table.caption_justify = "left"
    return table


def _title(out: Console, text: str) -> None:
    out.print(Text(text, style="bold cyan"))
