"""``python -m toolchain``: makes tools ready, lists them, prints where they are."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from toolchain import RECIPES, Printer, ToolchainError, Way, cache, ensure, estimates, pulumi_bin, pulumi_home
from toolchain.making import ready_path
from toolchain.recipes import find

_GROUPS = {"pulumi-bin": pulumi_bin, "pulumi-home": pulumi_home}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m toolchain",
        description="Makes the tools ready that Isthmus and its lab run, in pinned versions.",
        epilog="ISTHMUS_TOOLCHAIN=installed|download|build forces where Pulumi's programs come from; "
        "ISTHMUS_CACHE is where all is kept (default ~/.cache/isthmus).",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    ensuring = commands.add_parser("ensure", help="make tools ready and print their directories")
    ensuring.add_argument(
        "names", nargs="+", metavar="NAME", help=f"all, {', '.join(_GROUPS)}, or a name that `list` shows"
    )
    ensuring.add_argument("--way", choices=[way.value for way in Way], help="where Pulumi's programs come from")
    ensuring.add_argument("--quiet", action="store_true", help="print no progress")
    listing = commands.add_parser("list", help="show all tools and whether they are ready")
    listing.add_argument("--json", action="store_true", help="as JSON")
    path = commands.add_parser("path", help="print the directory of a tool that is ready, else end with code 1")
    path.add_argument("name", metavar="NAME")
    return parser


def _ensure(names: Sequence[str], way: Way | None, quiet: bool) -> int:
    printer = None if quiet else Printer()
    wanted = list(RECIPES) if "all" in names else names
    for name in wanted:
        if name not in _GROUPS:
            find(name)
    tools = [name for name in wanted if name not in _GROUPS]
    report = None if printer is None else estimates.counted(tools, printer)
    if not quiet and (missing := estimates.missing(tools)):
        print(estimates.foretold(missing), file=sys.stderr)
    try:
        for name in wanted:
            made = (
                _GROUPS[name](way=way, progress=printer)
                if name in _GROUPS
                else ensure([name], way=way, progress=report)[name]
            )
            print(f"{name}\t{made}", flush=True)
    finally:
        if printer is not None:
            printer.close()
    return 0


def _status() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for name, recipe in RECIPES.items():
        present = recipe.directory().is_dir()
        path: Path | None = ready_path(recipe) if present else None
        made = cache.read_manifest(path) if path is not None and cache.is_complete(path) else {}
        rows.append(
            {
                "name": name,
                "version": recipe.version,
                "files": list(recipe.files),
                "path": None if path is None else str(path),
                "way": made.get("way"),
                "seconds": made.get("seconds"),
            }
        )
    return rows


def _list(as_json: bool) -> int:
    rows = _status()
    if as_json:
        print(json.dumps(rows, indent=2))
        return 0
    for row in rows:
        state = row["path"] or "not ready"
        print(f"{row['name']:<28}{row['version']:<10}{row['way'] or '-':<10}{state}")
    return 0


def _path(name: str) -> int:
    path = ready_path(find(name))
    if path is None:
        print(f"{name} is not ready; run `python -m toolchain ensure {name}`.", file=sys.stderr)
        return 1
    print(path)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code: 0 done, 1 not ready or failed, 2 wrong usage, 130 interrupted."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "ensure":
            return _ensure(options.names, None if options.way is None else Way(options.way), options.quiet)
        if options.command == "list":
            return _list(options.json)
        return _path(options.name)
    except ToolchainError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    # As an exception it also ends the compiler that runs for us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
