"""Every wait of the program stands in docs/architecture.md with its deadline, and has a test in which the thing comes
too late and the next `up` goes through (or, of a look that fails nothing, goes on).

A deadline is a constant of a component. A new one has to be put into one of the two tables here.
"""

from __future__ import annotations

import ast
import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.parsing import parsed

TESTS: Final = Path(__file__).parents[1]
FOLDERS: Final = (TESTS.parent / "components", TESTS.parent / "domain" / "objects")
PAGE: Final = (TESTS.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
TOO_LATE: Final = "test_pods_that_come_too_late"


@dataclass(frozen=True)
class Waited:
    """``what`` begins its row of the page. ``tests`` are (file below tests/, name)."""

    what: str
    tests: tuple[tuple[str, str], ...]


AWAY: Final = "engine/test_away.py"
OPERATOR: Final = Waited("NetBird's operator, beside Helm", (("engine/test_away.py", "test_away"),))
SSH: Final = Waited(
    "SSH at a machine",
    (
        (
            "components/test_ssh_reachable.py",
            "test_the_deadline_names_the_machine_the_reason_and_the_fix_and_the_next_time_it_goes_through",
        ),
    ),
)

WAITS: Final = {
    ("waits", "CILIUM_SECONDS"): Waited("Cilium's agents", ((AWAY, TOO_LATE),)),
    ("waits", "GUARD_SECONDS"): Waited("the guard", ((AWAY, TOO_LATE),)),
    ("waits", "RELAY_SECONDS"): Waited("the DNS relay", ((AWAY, TOO_LATE),)),
    ("waits", "KEEPER_SECONDS"): Waited("the keeper on every router", ((AWAY, TOO_LATE),)),
    ("waits", "OPERATOR_SECONDS"): OPERATOR,
    ("chart", "RELEASE_TIMEOUT_SECONDS"): OPERATOR,
    ("netbird_router", "MADE_WITHIN"): OPERATOR,
    ("router_moves", "MOVE_SECONDS"): Waited(
        "the routers to take their places",
        (
            (
                "engine/test_routers.py",
                "test_an_agent_that_finds_no_way_takes_nothing_from_the_router_that_goes",
            ),
        ),
    ),
    ("route_waits", "ROUTE_SECONDS"): Waited(
        "NetBird's route on every router", ((AWAY, "test_a_router_and_its_route_that_come_too_late"),)
    ),
    ("route_waits", "ALL_ROUTES_SECONDS"): Waited(
        "NetBird's route on every router",
        (("components/test_route_waits.py", "test_of_two_routers_both_are_waited_for_and_then_one_is_enough"),),
    ),
    ("keeper_words", "LINK_SECONDS"): Waited(
        "the keepers' word",
        (("engine/test_keeper.py", "test_a_link_that_does_not_carry_is_told_in_the_keepers_words_and_fails_nothing"),),
    ),
    ("netbird_peers", "PEER_DEADLINE_SECONDS"): Waited(
        "routers as peers in NetBird", ((AWAY, "test_a_router_and_its_route_that_come_too_late"),)
    ),
    ("netbird_networks", "ROUTER_DEADLINE_SECONDS"): Waited(
        "a routing peer in the operator's network",
        (("components/test_netbird_networks.py", "test_network_without_routing_peers"),),
    ),
    ("node_watch", "JOIN_SECONDS"): Waited(
        "machines as nodes",
        (("components/test_node_watch.py", "test_one_that_does_not_join_is_named_and_the_next_time_it_goes_through"),),
    ),
    ("hetzner", "SSH_SECONDS"): SSH,
    ("on_premise", "SSH_SECONDS"): SSH,
    ("k3s_install", "INSTALL_SECONDS"): Waited(
        "k3s on a machine",
        (
            ("domain/test_install_script.py", "test_the_whole_has_an_end"),
            ("domain/test_install_script.py", "test_earlier_run_that_was_cut_off"),
        ),
    ),
    ("cluster", "READY_DEADLINE_SECONDS"): Waited(
        "the kubeconfig",
        (
            ("components/test_scripts.py", "test_deadline_with_the_last_state"),
            ("components/test_scripts.py", "test_it_says_what_it_waits_for_and_goes_on_when_it_comes"),
        ),
    ),
    ("hetzner_client", "DEADLINE_SECONDS"): Waited(
        "what a killed `up` left at Hetzner",
        (("components/test_hetzner_client.py", "test_what_takes_too_long_is_named_and_the_next_time_it_goes_through"),),
    ),
    ("former_node", "GONE_SECONDS"): Waited(
        "the former Node of a server", (("components/test_former_node.py", "test_in_vain"),)
    ),
    ("node_leaving", "GONE_SECONDS"): Waited(
        "the Node of a machine that leaves",
        (("components/test_node_leaving.py", "test_a_member_that_etcd_does_not_let_go"),),
    ),
    ("k3s_install", "STAGE_SECONDS"): Waited(
        "the binary of another k3s on all machines",
        (("components/test_node_upgrade.py", "test_a_binary_that_is_not_everywhere_touches_no_node"),),
    ),
    ("node_upgrade", "BACK_SECONDS"): Waited(
        "a node with another k3s or other settings of it, to be ready",
        (("components/test_node_upgrade.py", "test_one_that_does_not_come_back"),),
    ),
    ("node_generation", "BACK_SECONDS"): Waited(
        "a node that is made anew, to be back",
        (("components/test_node_generation.py", "test_one_that_does_not_come_back_ends_it"),),
    ),
    ("node_generation", "SETTLE_SECONDS"): Waited(
        "the other servers, before a node on a machine",
        (("components/test_node_generation.py", "test_servers_that_were_brought_up_to_date_get_a_moment"),),
    ),
    ("k3s_install", "UNINSTALL_SECONDS"): Waited(
        "k3s to be taken off a machine", (("components/test_machine_shell.py", "test_it_has_an_end"),)
    ),
    ("hetzner_rebuild", "REBUILD_SECONDS"): Waited(
        "Hetzner, to switch a server off and give it",
        (("components/test_hetzner_client.py", "test_what_takes_too_long_is_named_and_the_next_time_it_goes_through"),),
    ),
    ("type_changes", "AGAIN_SECONDS"): Waited(
        "the servers of a group that got another type",
        (("components/test_type_changes.py", "test_a_router_is_back_when_its_keeper_says_so"),),
    ),
    ("dns_relay", "INTERFACE_DEADLINE_SECONDS"): Waited(
        "wt0, by the pod of the DNS relay",
        (
            ("components/test_scripts.py", "test_deadline_with_the_last_state"),
            ("components/test_scripts.py", "test_goes_on_when_it_appears"),
        ),
    ),
}
NONE: Final = frozenset(
    {
        *("LOOK_SECONDS", "TELL_SECONDS", "_TELL_SECONDS", "_POLL_SECONDS", "_PEER_POLL_SECONDS"),
        *("ANSWER_SECONDS", "NETBIRD_ANSWER_SECONDS", "CONNECT_SECONDS", "TIMEOUT_SECONDS", "REQUEST_TIMEOUT_SECONDS"),
        *("RETRY_PAUSES_SECONDS", "_PAUSES_SECONDS"),
    }
)
"""Between two looks or two tries, and for one answer."""


@functools.cache
def deadlines() -> dict[tuple[str, str], float]:
    """Every constant of a component, or of what one registers, that is a time, by module and name, in seconds."""
    found = {}
    for path in [path for folder in FOLDERS for path in folder.glob("*.py")]:
        for statement in parsed(path.read_text(encoding="utf-8")).body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    pass
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    pass
                case _:
                    continue
            if name in NONE or not re.search(r"SECONDS$|WITHIN$", name):
                continue
            written = ast.literal_eval(value)
            found[path.stem, name] = 60.0 * int(written.removesuffix("m")) if isinstance(written, str) else written
    return found


def row(what: str) -> str:
    """The row of the page's table."""
    (found,) = [line for line in PAGE.splitlines() if line.startswith(f"| {what}")]
    return found


def test_every_deadline_is_in_the_table() -> None:
    assert deadlines().keys() == WAITS.keys()


@pytest.mark.parametrize("wait", WAITS, ids=".".join)
def test_a_wait_is_in_the_page_with_its_deadline_and_has_a_test(wait: tuple[str, str]) -> None:
    seconds = deadlines()[wait]
    text = row(WAITS[wait].what)
    assert any(
        spelling in text
        for spelling in (f"{seconds:.0f} s", f"{seconds / 60:.0f} minutes", "a minute" * (seconds == 60))
    )
    for file, name in WAITS[wait].tests:
        assert f"def {name}(" in (TESTS / file).read_text(encoding="utf-8")
