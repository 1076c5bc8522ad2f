"""The commands `./isthmus benchmark` and their help. What they do lies beside: cli/benchmark.py, cli/failover.py."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.errors import guarded
from cli.options import HELP, Json

benchmark = typer.Typer(help="Measurements in the lab.", no_args_is_help=True, context_settings=HELP)


@benchmark.command("preview")
@guarded()
def benchmark_preview(
    stack: Annotated[str, typer.Option("--stack", help="A converged stack of the running lab.")] = "de",
    runs: Annotated[int, typer.Option("--runs", min=1, help="Previews of each.")] = 5,
    at_most: Annotated[float, typer.Option("--at-most", help="The greatest ratio of medians that passes.")] = 3.0,
    json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> int:
    """Compare the preview of a converged stack with that of an empty program; exit code 1 above --at-most."""
    from cli.benchmark import preview

    return preview(stack=stack, runs=runs, at_most=at_most, as_json=json)


@benchmark.command("failover")
@guarded(
    when_interrupted="What was measured is in failover.jsonl of the lab's directory; a fault is undone before the end, "
    "and the namespaces isthmus-failover may still be there."
)
def benchmark_failover(
    fault: Annotated[
        list[str] | None,
        typer.Option(
            "--fault",
            metavar="NAME",
            help="Only this one; repeatable: agent-killed, machine-dead, line-cut, forwarding-off, wt0-down, "
            "rules-deleted, agent-stopped, nft-flushed.",
        ),
    ] = None,
    runs: Annotated[int, typer.Option("--runs", min=1, help="How often each fault is made at each cluster.")] = 10,
    between: Annotated[
        tuple[str, str], typer.Option("--between", metavar="CLUSTER CLUSTER", help="The two ends of the link.")
    ] = ("de", "mn"),
    at: Annotated[
        list[str] | None,
        typer.Option(
            "--at", metavar="CLUSTER", help="Only faults at this cluster's router; repeatable. Default: at both."
        ),
    ] = None,
    watch: Annotated[
        float, typer.Option("--watch", min=15, help="Seconds after a fault for which the link is watched at most.")
    ] = 30.0,
    json: Json = False,
) -> int:
    """Measure how long pods have no answer when something happens to a router; exit code 1 when they get none again.

    A row is a fault at a cluster's router, the place of a pod there, a direction, the path and a kind of traffic: UDP,
    new TCP connections, and one that is kept as long as it stays. What counts is the longest time without an answer. A
    run takes about a minute; each fault is undone and health waited for before the next one. Wants a lab of two routers
    (`lab up --routers 2`); with one it shows what a single router does.
    """
    from cli.failover import failover

    return failover(
        names=tuple(fault or ()),
        runs=runs,
        pair=between,
        at=tuple(at or ()),
        watch_seconds=watch,
        as_json=json,
    )


@benchmark.command("names")
@guarded(when_interrupted="The namespaces isthmus-verify may still be there; the next run removes them.")
def benchmark_names(
    runs: Annotated[int, typer.Option("--runs", min=1, max=500, help="Names of each kind that are asked for.")] = 200,
    json: Json = False,
) -> int:
    """Measure throughput over a ClusterIP against pod to pod, and a cold name of the peer against one of the own
    cluster plus a round trip of the tunnel; exit code 1 beyond a limit.
    """
    from cli.names import names

    return names(runs=runs, as_json=json)


@benchmark.command("first-up")
@guarded(
    when_interrupted="The lab may still be there; `./isthmus lab down` removes it. The runs that were over are in "
    "runs.jsonl of the newest isthmus-first-up- directory for temporary files."
)
def benchmark_first_up(
    runs: Annotated[int, typer.Option("--runs", min=1, help="How often the lab is raised from nothing.")] = 10,
    busy: Annotated[int, typer.Option("--busy", min=0, help="Busy processes (gzip) beside every second run.")] = 2,
    json: Json = False,
) -> int:
    """Raise the lab from nothing and remove it, again and again; exit code 1 when one of them does not end well by
    itself, or leaves something. There must be no lab.
    """
    from cli.first_up import first_up

    return first_up(runs=runs, busy=busy, as_json=json)
