"""The lab as the tests of the link find it: up, with both clusters joined. `./isthmus test link` raises it first.

The modules share one lab. They run from those that only look, over those that change it and put it back, to those that
take it apart: :data:`FIRST`, then any that are named nowhere, then :data:`LAST`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from lab import netbird_server, project
from lab import up as lab_up
from lab.kubernetes import Cluster
from lab.netbird_api import NetBirdApi
from lab.project import Tools
from lab.pulumi_command import Pulumi
from lab.reporting import Silent
from lab.status import Status, collect
from lab.topology import DEFAULT, SITES
from lab.verify.results import CheckResult
from lab.verify.run import verify
from tests.link.assertions import in_health
from tests.link.last_words import last_words
from tests.link.underlay import Underlay, watching

Verify = Callable[..., dict[str, CheckResult]]

FIRST: Final = (
    "test_joined",
    "test_verify_fails",
    "test_restarts",
    "test_bad_settings",
    "test_secrets",
    "test_in_place",
)
LAST: Final = (
    "test_mtu",
    "test_recovery",
    "test_killed",
    "test_third_site",
    "test_tutorial_whole",
    "test_failover",
    "test_servers",
    "test_down",
)
"""Both clusters get other MTUs, which need not be put back before stacks are destroyed and raised again; a site comes
and goes, every cluster gets a second router, the lab is raised anew with three servers a cluster, the lab ends.
"""
ANEW: Final = "test_recovery"
"""It begins with the end of both stacks, and raises them as their files say."""
HEALTHY_SECONDS: Final = 150.0


def rank(module: str) -> tuple[int, int, str]:
    """Where a module of this folder comes in the order, by its name without the ending."""
    if module in FIRST:
        return (0, FIRST.index(module), "")
    if module in LAST:
        return (2, LAST.index(module), "")
    return (1, 0, module)


def raised_anew_next(request: pytest.FixtureRequest) -> bool:
    """Whether the module that comes after this one raises both stacks from nothing."""
    modules = [item.path for item in request.session.items]
    after = modules[len(modules) - modules[::-1].index(request.path) :]
    return after != [] and after[0].stem == ANEW


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorts the tests of this folder; tests of other folders stay before them."""
    here = Path(__file__).parent
    items.sort(key=lambda item: (1, *rank(item.path.stem)) if item.path.parent == here else (0, 0, 0, ""))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What the routers said lately stands beside a failure: the lab is gone when somebody reads it."""
    report = yield
    if report.failed and call.when != "teardown" and project.passphrase_file().is_file():
        try:
            tools = lab_up.tools_of_person()
            said = last_words([Cluster(name=site.name, tools=tools) for site in DEFAULT.sites])
        except Exception as error:  # noqa: BLE001 -- an error of a hook ends all tests
            said = repr(error)
        report.sections.append(("what the routers said lately", said))
    return report


@pytest.fixture(scope="session", autouse=True)
def _lab() -> None:
    if os.geteuid() != 0:
        pytest.skip("the lab needs root")
    if not project.passphrase_file().is_file():
        pytest.skip("no lab is up: ./isthmus lab up, or ./isthmus test link, which raises one")


@pytest.fixture(scope="session", autouse=True)
def _workspace(_lab: None) -> Iterator[None]:
    """What the tests start belongs to the lab, so that it ends with the lab."""
    from lab import cgroups

    cgroups.join()
    yield
    cgroups.leave()


@pytest.fixture(scope="session")
def underlay(_lab: None) -> Iterator[Underlay]:
    """The watch on every wire of the lab, for as long as the tests run."""
    with watching(site.ranges for site in SITES) as watch:
        yield watch


@pytest.fixture(autouse=True)
def _never_in_plain(underlay: Underlay) -> Iterator[None]:
    """Whatever a test does, no packet for a pod or a service is on a wire outside of a tunnel."""
    before = len(underlay.seen)
    yield
    assert underlay.seen[before:] == []


@pytest.fixture(scope="session")
def tools(_lab: None) -> Tools:
    """The person's programs."""
    return lab_up.tools_of_person()


@pytest.fixture(scope="session")
def pulumi(tools: Tools) -> Pulumi:
    """The real `pulumi` at the workstation."""
    return Pulumi(tools=tools)


@pytest.fixture(scope="session")
def clusters(tools: Tools) -> Mapping[str, Cluster]:
    """Both clusters by name."""
    return {site.name: Cluster(name=site.name, tools=tools) for site in DEFAULT.sites}


@pytest.fixture(scope="session")
def netbird(_lab: None) -> NetBirdApi:
    """NetBird's API with the lab's token."""
    return netbird_server.api()


@pytest.fixture(scope="session")
def run_verify(tools: Tools) -> Verify:
    """`lab verify` as a function: results by id."""

    def run(*only: str) -> dict[str, CheckResult]:
        return {result.id: result for result in verify(DEFAULT, tools, Silent(), only=only)}

    return run


@pytest.fixture(scope="module", autouse=True)
def _begins_in_health(tools: Tools, request: pytest.FixtureRequest) -> None:
    """What the module before has left in motion, a router that comes back or a new pod of Cilium's, is no matter of
    this one. Those that take the lab apart look for themselves.
    """
    if rank(request.path.stem) < rank(ANEW):
        in_health(DEFAULT, tools, within_seconds=HEALTHY_SECONDS)


@pytest.fixture
def status(tools: Tools) -> Callable[[], Status]:
    """`lab status` as a function."""
    return lambda: collect(DEFAULT, tools)
