"""Making the checks: probe pods, sessions, the checks, everything removed again."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from domain.fleet import check_fleet, parse_fleet
from domain.mtu import MtuChain
from domain.places.registry import StackSettings
from domain.plan import address_plan
from domain.stack_directory import read_stack_files
from lab import netbird_server, project, state
from lab.errors import LabError
from lab.kubernetes import Cluster
from lab.project import Tools
from lab.reporting import Reporter
from lab.status import collect
from lab.topology import VERIFY_NAMESPACE, Topology
from lab.verify import throughput, workload
from lab.verify.causes import told, with_causes
from lab.verify.checks import Check, World, all_checks
from lab.verify.results import CheckResult, Verdict, result
from lab.verify.sessions import Session
from lab.verify.settling import settle
from lab.verify.workload import PLACEMENTS, Placement

AT_ONCE: Final = 16
"""So many checks are made at the same time: most of them wait, for a packet that must not come above all."""


def verify(
    lab: Topology, tools: Tools, reporter: Reporter, *, only: Sequence[str] = (), keep: bool = False
) -> list[CheckResult]:
    """Makes the checks (those whose id contains one of ``only``) and returns a result for each.

    Raises :class:`~lab.errors.LabError` when there is nothing to check with: no cluster, no router, no probe pods.
    """
    checks = [check for check in all_checks(lab) if not only or any(text in check.id for text in only)]
    if not checks:
        raise LabError(
            f"No check has {' or '.join(only)} in its id. The ids: {', '.join(c.id for c in all_checks(lab))}"
        )
    with world_of(lab, tools, reporter, keep=keep) as world:
        results = make(checks, world, reporter)
        if all(check.status == "pass" for check in results):
            return results
        # Before the probe pods go: whoever reads what failed wants to know why.
        with reporter.step("Looking for the cause"):
            return with_causes(list(zip(checks, results, strict=True)), collect(lab, tools))


def make(checks: Sequence[Check], world: World, reporter: Reporter) -> list[CheckResult]:
    """Makes the checks, several at the same time, and tells the results in the checks' order.

    One that bears no other beside it has to come after all that do, as :func:`~lab.verify.checks.all_checks` has them.
    """
    results = []
    pool = ThreadPoolExecutor(max_workers=AT_ONCE)
    try:
        begun = {check.id: pool.submit(_made, check, world) for check in checks if not check.alone}
        for number, check in enumerate(checks, 1):
            reporter.update(f"{number} of {len(checks)}: {check.title}")
            made = _made(check, world) if check.alone else begun[check.id].result()
            mark = {"pass": "ok  ", "fail": "FAIL", "skip": "skip"}[made.status]
            reporter.note(f"{mark} {made.title}: {made.observed} ({made.seconds:.1f} s)")
            results.append(made)
    finally:
        # After Ctrl-C only those that have begun are waited for.
        pool.shutdown(cancel_futures=True)
    return results


def _made(check: Check, world: World) -> CheckResult:
    start = time.monotonic()
    try:
        verdict = check.run(world)
    except LabError as error:
        context = f"--context {check.ends[0]} " if check.ends else ""
        fix = f"kubectl {context}-n {VERIFY_NAMESPACE} get pods -o wide"
        verdict = Verdict(status="fail", observed=str(error), expected="an answer", fix=fix)
    return result(check.id, check.title, verdict, time.monotonic() - start)


@contextlib.contextmanager
def world_of(lab: Topology, tools: Tools, reporter: Reporter, *, keep: bool = False) -> Iterator[World]:
    """Probe pods in every cluster with an open session to each; removed at the end unless they are to be kept."""
    with _alone(), _world(lab, tools, reporter, keep=keep) as world:
        yield world


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Two runs at once would remove each other's pods and share the bandwidth."""
    with (state.STATE / "verify.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError("Another `lab verify` is running; wait for its end.") from None
        yield


@contextlib.contextmanager
def _world(lab: Topology, tools: Tools, reporter: Reporter, *, keep: bool) -> Iterator[World]:
    api = netbird_server.api()
    settings = {site.name: settings_of(site.name) for site in lab.sites}
    pod_mtu = {name: address_plan(site_settings).mtu.pod for name, site_settings in settings.items()}
    cluster_ips = {name: site_settings.link.cluster_ips for name, site_settings in settings.items()}
    with contextlib.ExitStack() as stack:
        stack.callback(throughput.close_port, api)
        if not keep:
            stack.callback(_remove, lab, tools, reporter)
        try:
            with reporter.step("Starting probe pods"), ThreadPoolExecutor() as pool:
                started = list(pool.map(lambda site: workload.start(site, tools), lab.sites))
        except LabError as error:
            raise LabError("\n".join(filter(None, [str(error), told(collect(lab, tools))]))) from error
        probes = {probe_set.site.name: probe_set for probe_set in started}
        sessions: dict[tuple[str, Placement], Session] = {}
        for cluster_probes in started:
            for placement in PLACEMENTS:
                session = Session(cluster_probes.cluster, VERIFY_NAMESPACE, cluster_probes.pod(placement).name)
                sessions[cluster_probes.site.name, placement] = stack.enter_context(session)
        world = World(lab=lab, probes=probes, sessions=sessions, pod_mtu=pod_mtu, api=api, cluster_ips=cluster_ips)
        with reporter.step("Waiting until the probes are known everywhere"):
            settle(world)
        with reporter.step("Checking"):
            yield world


def planned_chain(stack: str) -> MtuChain:
    """The sizes of the stack's settings by the program's own plan, with those of its peers in mind."""
    return address_plan(settings_of(stack)).mtu


def settings_of(stack: str) -> StackSettings:
    """The stack's settings, with those of its peers in mind."""
    fleet = parse_fleet(read_stack_files(project.directory()))
    if problems := check_fleet(fleet):
        raise LabError("\n".join(str(problem) for problem in problems))
    return fleet.stacks[stack]


def _remove(lab: Topology, tools: Tools, reporter: Reporter) -> None:
    with reporter.step("Removing probe pods"), ThreadPoolExecutor() as pool:
        list(pool.map(lambda site: workload.remove(Cluster(name=site.name, tools=tools), wait=False), lab.sites))
