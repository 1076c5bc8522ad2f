"""Which tests run always: each has its part, the second tier leaves a case of everything in the first, and the link
tests keep their order.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cli import tiers
from cli.testing import EACH_IN_ITS_OWN, OF_THE_ENGINE, OF_THE_LINK, WITHOUT_A_LAB
from cli.tiers import Listed, collected, print_list, selection
from tests.link.conftest import ANEW, FIRST, LAST, raised_anew_next, rank

pytestmark = pytest.mark.timeout(300)
"""Collecting imports the program, the lab and the SDK: some 6 s, and as long as a busy machine takes."""

LINK = Path(__file__).resolve().parents[1] / "link"

STANDS_FOR = {
    "tests/link/test_third_site.py": "tests/lab/test_sites.py",
    "tests/link/test_clients.py": "tests/link/test_names.py",
    "tests/link/test_fallback.py": "tests/link/test_names.py",
    "tests/link/test_routers.py": "tests/link/test_restarts.py",
    "tests/link/test_without_cluster_ips.py": "tests/link/test_verify_fails.py",
    "tests/link/test_failover.py": "tests/link/test_restarts.py::test_the_agent_is_killed",
    "tests/link/test_leaving.py": "tests/lab/test_k3s_nodes.py::test_uninstalling_leaves_nothing",
    "tests/link/test_nodes_in_place.py": "tests/link/test_in_place.py",
    "tests/link/test_one_router.py": "tests/link/test_restarts.py::test_the_agent_is_killed",
    "tests/link/test_killed.py": "tests/link/test_recovery.py",
    "tests/link/test_servers.py": "tests/lab/test_k3s_servers.py::test_any_server_may_lose_its_power",
    "tests/link/test_status_tells_the_cause.py::test_the_peers_router_switched_off": (
        "tests/link/test_status_tells_the_cause.py::test_a_router_frozen"
    ),
    "tests/link/test_status_tells_the_cause.py::test_forwarding_switched_off": (
        "tests/link/test_status_tells_the_cause.py::test_the_packet_filter_flushed"
    ),
    "tests/link/test_status_tells_the_cause.py::test_a_resource_disabled_in_netbird": (
        "tests/link/test_status_tells_the_cause.py::test_a_policy_disabled_in_netbird"
    ),
    "tests/link/test_status_tells_the_cause.py::test_the_interface_taken_down": (
        "tests/link/test_status_tells_the_cause.py::test_the_ip_rules_deleted"
    ),
    "tests/lab/test_k3s_servers.py::test_what_was_rendered_before_made_a_second_cluster": (
        "tests/lab/test_k3s_servers.py::test_a_server_made_anew_reaches_nobody_and_begins_no_cluster"
    ),
    "tests/link/test_status_tells_the_cause.py::test_a_new_interface_that_cilium_has_not_seen": (
        "tests/link/test_status_tells_the_cause.py::test_the_ip_rules_deleted"
    ),
    "tests/lab/test_k3s_servers.py::test_an_agent_that_was_installed_anew_comes_back_and_another_machine_does_not": (
        "tests/lab/test_k3s_servers.py::test_a_server_made_anew_reaches_nobody_and_begins_no_cluster"
    ),
    "tests/link/test_status_tells_the_cause.py::test_a_kubelet_away_takes_no_packet_down": (
        "tests/link/test_status_tells_the_cause.py::test_a_dns_relay_frozen_costs_names_and_no_packet"
    ),
    "tests/link/test_status_tells_the_cause.py::test_a_rule_that_drops_netbirds_addresses_costs_names_and_no_packet": (
        "tests/link/test_status_tells_the_cause.py::test_a_dns_relay_frozen_costs_names_and_no_packet"
    ),
    "tests/link/test_recovery.py::test_mn_is_killed_as_well": (
        "tests/link/test_recovery.py::test_the_next_up_comes_to_the_moment_of_the_next_kill"
    ),
    "tests/link/test_mtu.py": (
        "tests/link/test_verify_fails.py::test_a_smaller_tunnel_loses_packets_of_the_planned_size"
    ),
    "tests/link/test_status_tells_the_cause.py::test_the_egress_policy_deleted": (
        "tests/link/test_verify_fails.py::test_without_the_egress_policy_pods_of_other_nodes_do_not_reach_the_peer"
    ),
    "tests/link/test_tutorial.py": (
        "tests/link/test_in_place.py::TestApplied::test_the_firewall_lets_the_new_source_in_and_the_workstation_still"
    ),
    "tests/link/test_tutorial_whole.py": (
        "tests/link/test_joined.py::test_the_real_pulumi_raised_every_stack_in_its_order"
    ),
    "tests/link/test_never_in_plain.py::test_a_reboot": ("tests/link/test_restarts.py::test_the_machine_is_rebooted"),
}
"""What runs only with --thorough and has no case of its own before: the file or test of its kind that always runs.
Of three sites that is everything but the machines; of two routers, the kill of a single one's agent, and of routers
that come and go, their restarts (tests/engine/test_routers.py has the rest); of other lines, the planned size at the
line of the lab, and tests/domain/test_mtu.py; of programs' resolvers, the lab's own; of one name in both clusters,
the names of each (tests/domain/test_names_across.py has the rest); of ClusterIPs that are switched off, the checks
that miss them; of servers that lose their power, one on machines without a link; of kills at random moments, kills
at chosen ones; of a router's machine that is off, a router that is as silent while its machine runs, and
tests/lab/status/test_judging.py for what is then said, as of every cause. Forwarding and the packet filter are the
node's own, policy and resource NetBird's, rules and interface the tunnel's; a kubelet that is away costs no packet,
as a relay that is frozen; of a worker that leaves, what its machine keeps (the rest is in tests/engine). The
tutorial up to its previews is in tests/engine/test_tutorial.py; what it does to a server's firewall, in a change of
the same setting. The wires are watched in every reboot. That no server is told to begin a cluster by its settings is
in tests/domain/test_node_files.py; how a node that was made anew comes back, in the test that stands for it, and
which password each has, in tests/domain/test_keys.py.
"""


@pytest.fixture(scope="module")
def link() -> list[Listed]:
    """The tests of the lab and the link, as pytest collects them."""
    return collected("tests/lab", "tests/link")


def test_the_tiers_are_told_apart_by_the_marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert selection("unit", thorough=True) == "not engine and not link"
    assert selection("unit", thorough=False) == "(not engine and not link) and not thorough"
    file = tmp_path / "test_two.py"
    file.write_text(
        "import pytest\n"
        "@pytest.mark.engine\n@pytest.mark.parametrize('n', [1, pytest.param(2, marks=pytest.mark.thorough)])\n"
        "def test_one(n): pass\n"
        "def test_other(): pass\n"
    )
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    found = [(test.test.rpartition("/")[2], test.part, test.thorough) for test in collected(str(file))]
    assert list((tmp_path / "__pycache__").glob("*.pyc")), "what was compiled is kept for the next list"
    assert found == [
        ("test_two.py::test_one[1]", "engine", False),
        ("test_two.py::test_one[2]", "engine", True),
        ("test_two.py::test_other", "unit", False),
    ]


def test_a_file_that_breaks_is_no_empty_list(tmp_path: Path) -> None:
    file = tmp_path / "test_broken.py"
    file.write_text("import nothing_of_that_name\n")
    with pytest.raises(RuntimeError, match="nothing_of_that_name"):
        collected(str(file))


def test_what_is_only_thorough_has_a_case_that_always_runs(link: list[Listed]) -> None:
    always = {re.sub(r"\[.*", "", test.test) for test in link if not test.thorough}
    rare = {re.sub(r"\[.*", "", test.test) for test in link if test.thorough}
    assert rare
    alone = {test for test in rare - always if not names(test) & STANDS_FOR.keys()}
    assert alone == set()
    known = {name for test in always for name in names(test)}
    assert set(STANDS_FOR.values()) <= known
    assert STANDS_FOR.keys() <= {name for test in rare - always for name in names(test)}


def names(test: str) -> set[str]:
    """A test's own name and that of its file."""
    return {test, test.partition("::")[0]}


def test_modules_run_from_those_that_look_to_those_that_take_apart(link: list[Listed]) -> None:
    modules = list(dict.fromkeys(Path(test.file).stem for test in link if Path(test.file).parent.name == LINK.name))
    assert modules[: len(FIRST)] == list(FIRST)
    assert modules[-len(LAST) :] == list(LAST)
    assert {path.stem for path in LINK.glob("test_*.py")} == set(modules)


def test_no_other_part_has_a_test_in_the_folder_of_the_link(link: list[Listed]) -> None:
    """Nor is it looked for there."""
    assert {test.part for test in link if test.file.startswith(f"{OF_THE_LINK}/")} == {"link"}


@pytest.mark.parametrize(
    ("part", "paths"),
    [("link", (EACH_IN_ITS_OWN, *WITHOUT_A_LAB, OF_THE_LINK)), ("engine", OF_THE_ENGINE)],
)
def test_a_part_runs_every_test_that_is_marked_for_it(part: str, paths: tuple[str, ...]) -> None:
    """It names folders and files, since reading all others takes it seconds."""
    tests = LINK.parent
    marked = {path for path in tests.rglob("test_*.py") if f"pytest.mark.{part}" in path.read_text(encoding="utf-8")}
    marked -= {Path(__file__)}
    assert len(marked) > 20
    run = [tests.parent / path for path in paths]
    assert [path for path in marked if not any(path.is_relative_to(directory) for directory in run)] == []
    assert [path for path in run if not path.exists()] == []


def test_what_is_raised_anew_next_is_not_put_back_before() -> None:
    def after(*modules: str) -> bool:
        items = [SimpleNamespace(path=LINK / f"{name}.py") for name in modules]
        return raised_anew_next(
            cast("Any", SimpleNamespace(path=LINK / "test_mtu.py", session=SimpleNamespace(items=items)))
        )

    assert LAST[LAST.index("test_mtu") + 1] == ANEW
    assert after("test_joined", "test_mtu", "test_mtu", ANEW, "test_down")
    assert not after("test_mtu", "test_mtu", "test_down", ANEW)
    assert not after(ANEW, "test_mtu")


def test_a_module_that_is_named_nowhere_comes_in_between() -> None:
    modules = ["test_down", "test_zebra", "test_mtu", "test_ant", "test_joined", "test_recovery"]
    assert sorted(modules, key=rank) == [
        "test_joined",
        "test_ant",
        "test_zebra",
        "test_mtu",
        "test_recovery",
        "test_down",
    ]


def test_the_list_counts_by_file_and_names_what_is_only_thorough(capsys: pytest.CaptureFixture[str]) -> None:
    print_list(
        [
            Listed(test="tests/a.py::test_1", part="unit", thorough=False),
            Listed(test="tests/link/b.py::test_2[x]", part="link", thorough=False),
            Listed(test="tests/link/b.py::test_2[y]", part="link", thorough=True),
        ]
    )
    assert capsys.readouterr().out.splitlines() == [
        "",
        "unit: 1 tests in `./isthmus test`, 0 more with --thorough",
        "      1  tests/a.py",
        "",
        "engine: 0 tests in `./isthmus test`, 0 more with --thorough",
        "",
        "link: 1 tests in `./isthmus test`, 1 more with --thorough",
        "      1  tests/link/b.py  + 1",
        "",
        "only with --thorough",
        "  tests/link/b.py::test_2[y]",
    ]
    assert set(tiers.MARKERS) == {"unit", "engine", "link"}


def test_the_list_fits_a_narrow_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    name = "tests/components/test_plan_and_preview.py"
    print_list(
        [
            Listed(test=f"{name}::test_1", part="unit", thorough=False),
            Listed(test=f"{name}::test_right_files[a case of two words]", part="unit", thorough=True),
        ]
    )
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 40
    at = lines.index("      1  tests/components/test_plan_and_")
    assert lines[at + 1] == "         preview.py  + 1"
    listed = lines[lines.index("only with --thorough") + 1 :]
    assert all(line.startswith("  ") for line in listed)
    assert "".join(line[2:] for line in listed) == f"{name}::test_right_files[a case oftwo words]"
