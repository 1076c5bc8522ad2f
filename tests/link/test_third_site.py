"""A third cluster behind a NAT of its own joins the two: six directions, two of them between two NATs."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from lab import project
from lab import up as lab_up
from lab.commands import wait_until
from lab.netbird_api import NetBirdApi
from lab.project import Tools
from lab.pulumi_command import Pulumi
from lab.reporting import Silent
from lab.sites import of_lab
from lab.steps import read_timings
from lab.topology import DEFAULT, MOST_SITES, of_sites
from lab.verify.run import verify
from tests.link.assertions import ALL_BUT_THROUGHPUT, all_passed, in_health

pytestmark = [pytest.mark.link, pytest.mark.thorough]

ISTHMUS = Path(__file__).resolve().parents[2] / "isthmus"
THREE = of_sites(MOST_SITES)
HEALTHY_SECONDS = 150.0


@pytest.fixture(scope="module")
def before(pulumi: Pulumi) -> Mapping[str, Mapping[str, object]]:
    """The `link` outputs of the two clusters while they are alone."""
    return {site.name: pulumi.outputs(site.name)["link"] for site in DEFAULT.sites}


def test_lab_up_adds_the_site_from_a_file_that_new_wrote(before: Mapping[str, object], tools: Tools) -> None:
    done = subprocess.run(
        [str(ISTHMUS), "lab", "up", "--sites", str(MOST_SITES)], capture_output=True, text=True, timeout=1200, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    assert of_lab() == THREE
    steps = [step["step"] for step in read_timings()[-1]["steps"]]
    assert "./isthmus new kz --on-premise --node-cidr 192.168.8.0/24" in steps
    assert [step.rsplit(" ", 1)[-1] for step in steps if step.startswith("pulumi up ")] == ["kz", "de", "mn"]
    assert "Traceback" not in done.stderr


PATHS = {
    "de-mn": "direct",
    "mn-de": "direct",
    "de-kz": "direct",
    "kz-de": "direct",
    # Both routers hide their peers behind random ports: no hole that one punches is where the other knocks.
    "mn-kz": "relayed",
    "kz-mn": "relayed",
}


def test_all_three_are_joined_and_two_nats_meet_at_the_relay(tools: Tools) -> None:
    def paths() -> dict[str, str]:
        found = in_health(THREE, tools, within_seconds=HEALTHY_SECONDS)
        return {f"{link.source}-{link.target}": link.path for link in found.links}

    # Every link is by the relay first, and directly some seconds later.
    wait_until(
        lambda: paths() == PATHS,
        what=f"the paths are {PATHS}",
        deadline_seconds=HEALTHY_SECONDS,
        state=lambda: str(paths()),
        every_seconds=0.5,
    )


def test_adding_a_cluster_moves_nothing_of_the_others(
    before: Mapping[str, Mapping[str, object]], pulumi: Pulumi
) -> None:
    assert {name: pulumi.outputs(name)["link"] for name in before} == before


def test_every_check_of_six_directions_passes(tools: Tools) -> None:
    # Throughput takes half a minute a direction: here only from one NAT to the other, by the relay.
    only = [*ALL_BUT_THROUGHPUT, "mn-kz.throughput"]
    results = {result.id: result for result in verify(THREE, tools, Silent(), only=only)}
    directions = {"-".join(identifier.split(".")[0].split("-")[:2]) for identifier in results if "-" in identifier}
    assert {"de-mn", "mn-de", "de-kz", "kz-de", "mn-kz", "kz-mn"} <= directions
    all_passed(results)


@pytest.mark.parametrize("stack", [site.name for site in THREE.sites])
def test_a_further_preview_changes_nothing(stack: str, pulumi: Pulumi) -> None:
    done = pulumi.run("preview", "-s", stack, "--expect-no-changes", check=False)
    assert done.returncode == 0, done.stdout


def test_the_lab_is_not_made_smaller() -> None:
    done = subprocess.run([str(ISTHMUS), "lab", "up", "--sites", "2"], capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert "The lab that is up has 3 sites (de, mn, kz)" in done.stderr


def of_kz(api: NetBirdApi) -> list[str]:
    """The names of what NetBird has for kz or for a link with it."""
    kinds = ("groups", "policies", "networks", "peers", "dns/zones")
    return [name for kind in kinds for item in api.list(kind) if "kz" in (name := str(item.get("name", "")))]


def test_a_cluster_that_leaves_takes_its_links_with_it(
    before: Mapping[str, object], pulumi: Pulumi, netbird: NetBirdApi, tools: Tools
) -> None:
    assert of_kz(netbird) != []
    done = pulumi.run("destroy", "--yes", "-s", "kz", check=False, deadline_seconds=900)
    assert done.returncode == 0, done.stdout + done.stderr
    pulumi.run("stack", "rm", "--yes", "-s", "kz")
    assert not project.stack_file("kz").exists()
    for site in DEFAULT.sites:
        path = project.stack_file(site.name)
        text = yaml.safe_load(path.read_text())
        text["config"]["isthmus:peers"].remove("kz")
        path.write_text(yaml.safe_dump(text, sort_keys=False))
    with ThreadPoolExecutor() as pool:
        list(
            pool.map(
                lambda site: lab_up.up(pulumi, site.name, Silent(), log_name=f"without-kz-{site.name}"), DEFAULT.sites
            )
        )
    assert of_kz(netbird) == []
    in_health(DEFAULT, tools, within_seconds=HEALTHY_SECONDS)
    assert {name: pulumi.outputs(name)["link"] for name in before} == before
    all_passed(
        {result.id: result for result in verify(DEFAULT, tools, Silent(), only=["icmp", "service-name", "egress"])}
    )
