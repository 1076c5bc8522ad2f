"""The commands of `./isthmus` and their help. What they do lies beside: cli/lab.py, cli/checks.py, cli/testing.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.benchmark_commands import benchmark
from cli.errors import guarded, prepare_output
from cli.options import HELP, Json
from domain.version import VERSION

app = typer.Typer(
    name="isthmus",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=HELP,
    add_completion=False,
)
lab = typer.Typer(
    help="Two or three real clusters on this machine, all but one behind a NAT, and the links between them.",
    no_args_is_help=True,
    context_settings=HELP,
)
app.add_typer(lab, name="lab")
app.add_typer(benchmark, name="benchmark")


def _print_version(asked: bool) -> None:
    if asked:
        print(f"isthmus {VERSION}")
        raise typer.Exit


def _one_or_three(servers: int | None) -> int | None:
    if servers not in (None, 1, 3):
        raise typer.BadParameter(f"{servers} is neither 1 nor 3; etcd wants a majority.")
    return servers


@app.callback()
def isthmus(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the program's version and exit."),
    ] = False,
) -> None:
    """Isthmus joins Kubernetes clusters that cannot see each other. `pulumi up` does that; this stands beside it."""


@lab.command("up")
@guarded(
    when_interrupted="What was made stays; `./isthmus lab up` goes on from there, `./isthmus lab down` removes it."
)
def lab_up(
    sites: Annotated[
        int | None,
        typer.Option(
            "--sites",
            min=2,
            max=3,
            help="How many clusters: one at Hetzner, the others behind a NAT each. Default: 2, or what the lab has.",
            show_default=False,
        ),
    ] = None,
    routers: Annotated[
        int | None,
        typer.Option(
            "--routers",
            min=1,
            max=2,
            help="How many nodes of each cluster carry the link. Default: 1, or what the lab has.",
            show_default=False,
        ),
    ] = None,
    servers: Annotated[
        int | None,
        typer.Option(
            "--servers",
            metavar="1|3",
            help="How many servers run the API of each cluster. Default: 1, or what the lab has.",
            show_default=False,
            callback=_one_or_three,
        ),
    ] = None,
) -> int:
    """Raise the lab: builds what is missing, starts networks and machines, runs `pulumi up` for every stack.

    It can be called again at any time: it goes on where the last one stopped, adds a site or a router, or says that all
    is up. Needs root.
    """
    from cli.lab import up

    return up(sites=sites, routers=routers, servers=servers)


@lab.command("status")
@guarded()
def lab_status(json: Json = False) -> int:
    """Show machines, clusters, routers and the link; exit code 1 when something is down."""
    from cli.lab import status

    return status(as_json=json)


@lab.command("verify")
@guarded(when_interrupted="The namespaces isthmus-verify may still be there; the next verify removes them.")
def lab_verify(
    json: Json = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="TEXT", help="Only checks whose id contains TEXT; repeatable.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the probe pods in place.")] = False,
) -> int:
    """Check the link from inside the pods: addresses, names, MTU, policy, throughput; exit code 1 when one fails."""
    from cli.lab import verify

    return verify(as_json=json, only=tuple(only or ()), keep=keep)


@lab.command("env")
@guarded()
def lab_env() -> int:
    """Print what to export so that your own pulumi and kubectl work against the lab: eval "$(./isthmus lab env)"."""
    from cli.lab import env

    return env()


@lab.command("shell")
@guarded()
def lab_shell(
    machine: Annotated[str, typer.Argument(help="A machine as `lab status` names it, or `workstation`.")],
    command: Annotated[list[str] | None, typer.Argument(help="A command instead of a shell (after `--`).")] = None,
) -> int:
    """Open a root shell inside a machine of the lab, or run one command there."""
    from cli.lab import shell

    return shell(machine, tuple(command or ()))


@lab.command("down")
@guarded(when_interrupted="`./isthmus lab down` goes on.")
def lab_down() -> int:
    """Remove the lab: processes, mounts, namespaces and files. What was built stays in the cache."""
    from cli.lab import down

    return down()


_Directory = Annotated[
    Path | None,
    typer.Option(
        "--directory",
        help="Where the stack files lie. Default: as Pulumi finds its project, from the current folder upwards; else "
        "the folder of ./isthmus.",
        show_default=False,
    ),
]


@app.command("plan")
@guarded()
def plan(
    directory: _Directory = None,
    json: Json = False,
    running: Annotated[
        bool,
        typer.Option("--running", help="Ask pulumi what runs, and refuse what a running cluster can't follow."),
    ] = False,
    stack: Annotated[
        str | None, typer.Option("--stack", "-s", metavar="NAME", help="Show only this stack, with all its nodes.")
    ] = None,
) -> int:
    """Check all stack files and show what they make: addresses, MTU, nodes, links; exit code 1 with every problem."""
    from cli.directory import project_directory
    from cli.plan import plan as run

    return run(project_directory(directory), as_json=json, running=running, stack=stack)


@app.command("new")
@guarded()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the stack, and of its cluster.")],
    hetzner: Annotated[bool, typer.Option("--hetzner", help="Machines that are made at Hetzner Cloud.")] = False,
    on_premise: Annotated[bool, typer.Option("--on-premise", help="Machines that exist already.")] = False,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            "--peer",
            metavar="STACK",
            help="A stack to link with; repeatable. Default: all that are there, if there are no more than four.",
        ),
    ] = None,
    location: Annotated[str | None, typer.Option("--location", help="Hetzner's location. Default: fsn1.")] = None,
    node_cidr: Annotated[
        str | None, typer.Option("--node-cidr", metavar="CIDR", help="The LAN of the machines on-premise.")
    ] = None,
    init: Annotated[
        bool, typer.Option("--init", help="Also initialise the stack by pulumi, and set its clusterSecret.")
    ] = False,
    directory: _Directory = None,
) -> int:
    """Write a stack file for another cluster, with ranges that are free in the fleet; never over a file.

    Says what is left to fill in. Pulumi and its backend are left alone without --init.
    """
    from cli.directory import project_directory
    from cli.new import new as run

    place: Literal["hetzner", "on_premise"] | None = None
    if hetzner != on_premise:
        place = "hetzner" if hetzner else "on_premise"
    where = project_directory(directory)
    return run(name, place, where, peers=peer, location=location, node_cidr=node_cidr, init=init)


@app.command("k3s-checksum")
@guarded()
def k3s_checksum(
    version: Annotated[
        str | None,
        typer.Argument(
            metavar="[VERSION]", help="Tag of a k3s release. Default: that of a new stack file.", show_default=False
        ),
    ] = None,
    mirror: Annotated[
        str | None,
        typer.Option(
            "--mirror",
            metavar="URL",
            help="A mirror, as `mirrors.k3s` has it: VERSION/sha256sum-amd64.txt below it. Default: k3s's releases.",
        ),
    ] = None,
    arm64: Annotated[
        bool, typer.Option("--arm64", help="Also the checksum for Arm servers at Hetzner, from sha256sum-arm64.txt.")
    ] = False,
) -> int:
    """Print the lines of a stack file for a k3s release: its version and the checksum that the release tells."""
    from cli.k3s_checksum import k3s_checksum as run

    return run(version, mirror, arm64=arm64)


@app.command("preflight")
@guarded(when_interrupted="Nothing was changed.")
def preflight(
    stack: Annotated[str, typer.Argument(metavar="STACK", help="A stack on machines of your own.")],
    directory: _Directory = None,
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="FILE", help="The SSH private key. Default: the stack's own, asked of pulumi."),
    ] = None,
    json: Json = False,
) -> int:
    """Look at a stack's machines over SSH and say all that keeps them from becoming nodes; nothing is changed."""
    from cli.directory import project_directory
    from cli.preflight import preflight as run

    return run(project_directory(directory), stack, key=key, as_json=json)


@app.command("schema")
@guarded()
def schema(
    write: Annotated[
        bool, typer.Option("--write", help="Renew docs/stack-file.schema.json and docs/settings.md.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit code 1 when one of the two is not current.")] = False,
) -> int:
    """Print the JSON Schema of stack files, made from the settings' models."""
    from cli.schema import schema as run

    return run(write=write, check=check)


@app.command("check")
@guarded()
def check() -> int:
    """Format, lint, types, import contract, shell and Go: all of them run, exit code 1 when one fails."""
    from cli.checks import run_all

    return run_all()


@app.command("test")
@guarded(when_interrupted="A lab that the tests raised may still be up; `./isthmus lab down` removes it.")
def test(
    parts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PART]...", help="check, unit, engine, link: all without one; or coverage.", show_default=False
        ),
    ] = None,
    no_skips: Annotated[
        bool, typer.Option("--no-skips", envvar="CI", help="A skipped test is a failure (as with CI=true).")
    ] = False,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Also the long stages and the many runs: some 90 minutes in all.")
    ] = False,
    only_list: Annotated[
        bool, typer.Option("--list", help="Run nothing; show which tests run always and which only with --thorough.")
    ] = False,
) -> int:
    """Run the tests and print what each file and the slowest of them took; exit code 1 when anything fails."""
    from cli.testing import run_parts

    return run_parts(tuple(parts or ()), no_skips=no_skips, thorough=thorough, only_list=only_list)


def main() -> int:
    """Runs the command line and returns the exit code."""
    prepare_output()
    app(prog_name="isthmus")
    return 0
