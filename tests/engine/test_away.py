"""NetBird is away, from the start of a command or from a moment on: what is said, and that the next plain command of
the kind goes through by itself, without a refresh or a hand.

The table of docs/evidence.md has a line for each case. At ``destroy`` it is in ``test_netbird_ends.py``, and Hetzner's
API in ``test_hetzner.py`` and ``test_ends.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.engine.project import SECRETS
from tests.engine.world import STACK, World

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

Moment = Callable[[World], object]

COMMANDS = {
    "up": ("up", "-s", STACK, "--yes", "--skip-preview"),
    "preview": ("preview", "-s", STACK),
    "refresh": ("refresh", "-s", STACK, "--yes", "--skip-preview"),
}


def start(world: World) -> object:
    """Before the command."""
    return True


def policy(world: World) -> object:
    return world.netbird.all("/policies")


SAYS = ("NetBird API: ", "no answer: ")
ALWAYS = ("up", policy)
ROWS: list[tuple[str, Moment, tuple[str, ...]]] = [
    ("up", policy, SAYS),
    # It asks nobody.
    ("preview", start, ()),
    ("refresh", start, SAYS),
    ("up", start, SAYS),
]


def case(command: str, moment: Moment, says: tuple[str, ...]) -> object:
    marks = () if (command, moment) == ALWAYS else (pytest.mark.thorough,)
    return pytest.param(command, moment, says, id=f"{command} from {moment.__name__}", marks=marks)


@pytest.mark.parametrize(("command", "moment", "says"), [case(*row) for row in ROWS])
def test_netbird_is_away(world: World, command: str, moment: Moment, says: tuple[str, ...]) -> None:
    there = bool(world.project.resources(STACK))
    if command == "up" and there:
        world.destroy()
    elif command != "up" and not there:
        world.up()

    if moment is start:
        world.netbird_away()
        result = world.project.run(*COMMANDS[command])
    else:
        running = world.project.start(*COMMANDS[command])
        running.wait_for(lambda: moment(world), moment.__name__, 120)
        world.netbird_away()
        result = running.end(600)
    world.netbird_back()

    assert (result.code != 0) is bool(says), result.output
    for text in says:
        result.says(text)
    assert "Traceback" not in result.output
    assert SECRETS["isthmus:netbirdApiToken"] not in result.output
    world.project.run(*COMMANDS[command]).expect(0)
    if command == "up":
        world.project.run("preview", "-s", STACK, "--expect-no-changes").expect(0)
