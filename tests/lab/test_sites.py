"""A lab remembers its sites: they can be added, and are not taken away."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.app import app
from lab import sites, state
from lab.errors import LabError
from lab.topology import DEFAULT, LEAST_SITES, MOST_ROUTERS, MOST_SITES, of_sites


@pytest.fixture(autouse=True)
def _state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "STATE", tmp_path)


def test_a_new_lab_has_two_sites_unless_more_are_asked_for() -> None:
    assert sites.of_lab() == DEFAULT
    assert sites.choose(None) == DEFAULT
    assert sites.of_lab() == DEFAULT


def test_a_site_can_be_added_and_is_remembered() -> None:
    sites.choose(None)
    assert sites.choose(MOST_SITES) == of_sites(MOST_SITES)
    assert sites.choose(None) == sites.of_lab() == of_sites(MOST_SITES)


def test_a_site_is_not_taken_out_of_a_lab() -> None:
    sites.choose(MOST_SITES)
    with pytest.raises(LabError) as refused:
        sites.choose(LEAST_SITES)
    assert str(refused.value) == (
        "The lab that is up has 3 sites (de, mn, kz), and sites are not taken out of a lab one by one. Leave out "
        "--sites, or `./isthmus lab down` first."
    )
    assert sites.of_lab() == of_sites(MOST_SITES)


def test_routers_can_be_added_and_are_remembered() -> None:
    sites.choose(None)
    assert sites.choose(None, 2) == of_sites(LEAST_SITES, 2)
    assert sites.choose(MOST_SITES) == sites.of_lab() == of_sites(MOST_SITES, 2)


def test_a_router_is_not_taken_out_of_a_lab() -> None:
    sites.choose(None, 2)
    with pytest.raises(LabError) as refused:
        sites.choose(None, 1)
    assert str(refused.value) == (
        "The lab that is up has 2 routers a cluster (de, mn), and `lab up` takes no router away. Leave out --routers, "
        "change the stack files, or `./isthmus lab down` first."
    )
    assert sites.of_lab() == of_sites(LEAST_SITES, 2)


def test_a_lab_of_before_routers_were_counted_has_one_each() -> None:
    state.write_json(state.STATE / "sites.json", {"sites": MOST_SITES})
    assert sites.of_lab() == of_sites(MOST_SITES, 1)


def test_servers_are_remembered_and_stay_as_many() -> None:
    assert sites.choose(None, None, 3) == sites.of_lab() == of_sites(LEAST_SITES, 1, 3)
    assert sites.choose(None) == of_sites(LEAST_SITES, 1, 3)
    with pytest.raises(LabError) as refused:
        sites.choose(None, None, 1)
    assert str(refused.value) == (
        "The lab that is up has 3 servers a cluster (de, mn), and a cluster of the lab keeps the number that it was "
        "made with. Leave out --servers, or `./isthmus lab down` first."
    )


@pytest.mark.parametrize("servers", ["0", "2", "5"])
def test_the_command_line_offers_one_server_or_three(servers: str) -> None:
    refused = CliRunner().invoke(app, ["lab", "up", "--servers", servers])
    assert refused.exit_code == 2
    assert f"{servers} is neither 1 nor 3" in " ".join(refused.output.split())


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (LEAST_SITES - 1, f"greater than or equal to {LEAST_SITES}"),
        (MOST_SITES + 1, f"less than or equal to {MOST_SITES}"),
    ],
)
def test_the_command_line_offers_what_the_map_has(count: int, said: str) -> None:
    refused = CliRunner().invoke(app, ["lab", "up", "--sites", str(count)])
    assert refused.exit_code == 2
    assert said in " ".join(refused.output.split())


@pytest.mark.parametrize(
    ("routers", "said"),
    [(0, "greater than or equal to 1"), (MOST_ROUTERS + 1, f"less than or equal to {MOST_ROUTERS}")],
)
def test_the_command_line_offers_as_many_routers_as_the_map_has(routers: int, said: str) -> None:
    refused = CliRunner().invoke(app, ["lab", "up", "--routers", str(routers)])
    assert refused.exit_code == 2
    assert said in " ".join(refused.output.split())
