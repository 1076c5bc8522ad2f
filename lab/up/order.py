"""The order of the steps, from nothing to a lab that is up, and its end."""

from __future__ import annotations

import subprocess
import time
from typing import Final

from lab import cgroups, preflight, project, sites, state
from lab.commands import going_on
from lab.errors import LabError
from lab.project import REPOSITORY
from lab.reporting import Reporter
from lab.status import Status, collect, unready
from lab.steps import Steps
from lab.up.building import build
from lab.up.raising import Raising, tools_of_person
from lab.up.stacks import prepare_project, raise_stacks
from lab.up.world import start_world

SETTLE_SECONDS: Final = 600.0
"""From the last `pulumi up` to the moment at which all is up: links come up by themselves once both ends are there."""
LOOK_EVERY_SECONDS: Final = 3.0


def raise_lab(
    reporter: Reporter,
    *,
    site_count: int | None = None,
    routers: int | None = None,
    servers: int | None = None,
    colour: bool = False,
) -> Status:
    """Raises the lab with that many sites, routers and servers in each, or completes it, and returns what is up.

    Without ``site_count`` it has the sites that it has, and a new one two; without ``routers`` and ``servers``
    likewise, and a new one one of each a cluster.

    Raises a :class:`~lab.errors.LabError` or a :class:`toolchain.ToolchainError`; what was made until then stays, and
    the next call goes on from there.
    """
    preflight.check_machine()
    with state.exclusive():
        state.claim(REPOSITORY)
        # From here on everything that is started is in the lab's control group, whatever happens to this process.
        cgroups.join()
        lab = sites.choose(site_count, routers, servers)
        steps = Steps(reporter, "lab up")
        raising = Raising(lab=lab, reporter=reporter, steps=steps, colour=colour)
        build(raising)
        start_world(raising)
        prepare_project(raising)
        status = _look(raising)
        if status is not None and status.is_whole:
            reporter.note("All is up already. Changes of the program and of stack files come with `pulumi up`.")
            return status
        clusters = () if status is None else status.clusters
        raise_stacks(raising, [cluster.name for cluster in clusters if cluster.ready])
        with steps.step("Looking at the result", usual_seconds=5):
            return settled(raising)


def _look(raising: Raising) -> Status | None:
    """What is up; None when that can't be said, as of a cluster that is half made or too busy to answer."""
    try:
        return collect(raising.lab, raising.person)
    except LabError as error:
        raising.reporter.update(str(error).partition("\n")[0])
        return None


def settled(raising: Raising) -> Status:
    """Looks until all is up, or as long as that may take; then what is not is in the result."""
    end = time.monotonic() + SETTLE_SECONDS
    missing = "an answer of the clusters"
    with going_on(lambda: missing):
        while True:
            status = _look(raising)
            if status is not None:
                missing = next(iter([*unready(status), *(cause.sentence for cause, _ in status.causes)]), "")
            late = time.monotonic() >= end
            if status is not None and (status.is_whole or late):
                return status
            if late:
                # With what stands in the way of looking.
                return collect(raising.lab, raising.person)
            raising.reporter.update(missing)
            time.sleep(LOOK_EVERY_SECONDS)


def take_down(reporter: Reporter) -> list[str]:
    """Removes everything of the lab; returns what is left in spite of that, a line each."""
    preflight.require_root("Taking the lab down")
    with state.exclusive(), reporter.step("Removing the lab"):
        return state.teardown(reporter.update)


def nothing_there() -> bool:
    """True when there is no trace of a lab."""
    return not state.leftovers()


def run_at_workstation(command: list[str]) -> int:
    """Runs a command at the workstation with the person's environment; returns its exit code."""
    return subprocess.run(project.at_workstation(command), env=project.environment(tools_of_person())).returncode
