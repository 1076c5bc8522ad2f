"""The table of what can be away, when, and in which command: each cell is run, or says why it is not.

It is data and the few deeds that make it true. ``test_away.py`` runs it, and ``test_away_table.py`` holds that nothing
is missing. What came of it is the table of docs/evidence.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Final

from tests.engine.project import Running
from tests.engine.test_drift import ROUTER
from tests.engine.world import STACK, World

AWAY: Final = ("operator", "webhook", "NetBird", "Hetzner", "API server", "peer's stack")
MOMENTS: Final = ("start", "middle", "end")
COMMANDS: Final = {
    "up": ("up", "-s", STACK, "--yes", "--skip-preview"),
    "preview": ("preview", "-s", STACK),
    "refresh": ("refresh", "-s", STACK, "--yes", "--skip-preview"),
    "destroy": ("destroy", "-s", STACK, "--yes", "--skip-preview"),
}
Cell = tuple[str, str, str]
"""What is away, from which moment on, in which command."""
FAULTS: Final = "/api/v1/namespaces/netbird/configmaps/stand-in-faults"
OPERATORS_POD: Final = "isthmus-netbird-operator-"
GUARDS_POD: Final = "isthmus-guard-"
KEEPERS_POD: Final = "isthmus-keeper-"
RELAYS_POD: Final = "isthmus-dns-relay-"


@dataclass(frozen=True)
class Run:
    """A cell that is run. ``says`` is in the output, in any order; nothing to say is a command that ends well.

    ``work``: what `up` has to do: ``all`` from nothing, ``changes`` of a setting, or ``nothing``. The thing goes before
    the command, or ``when`` that holds; NetBird goes with its request ``goes_at``. ``held`` are pods that don't start
    meanwhile, so that the moment lasts; ``deadlines`` are shorter ones of the program.
    """

    says: tuple[str, ...] = ()
    code: int = 1
    work: str = "changes"
    when: Callable[[World, Running], object] | None = None
    goes_at: tuple[str, str] | None = None
    held: tuple[str, ...] = ()
    deadlines: Mapping[str, float | str] = field(default_factory=dict)
    slow: bool = False
    """The operator takes long to begin."""
    also: tuple[str, ...] = ()
    """What else goes with it."""
    always: bool = False
    """It runs in the first tier."""


@dataclass(frozen=True)
class With:
    """A cell that is run together with another one: the same moment and command, with this away as well."""

    what: str


@dataclass(frozen=True)
class Elsewhere:
    """A cell that another test runs: its file below tests/ and a name in it."""

    file: str
    name: str


@dataclass(frozen=True)
class Reason:
    """Why a cell is not run."""

    text: str


@dataclass(frozen=True)
class Gap:
    """A cell that nobody has run; docs/evidence.md names it."""


# --- what goes and comes back -----------------------------------------------------------------------------------------


def operator_goes(world: World) -> None:
    world.kubelet.hold(OPERATORS_POD)


GOES: Final[dict[str, Callable[[World], None]]] = {
    "operator": operator_goes,
    "NetBird": lambda world: world.netbird_away(),
    "API server": lambda world: world.api.away(),
    "peer's stack": lambda world: world.peer_away(),
}


def all_back(world: World) -> None:
    """Everything is there, and runs."""
    world.api.back()
    world.netbird_back()
    world.peer_back()
    world.kubelet.let_go()
    world.api.delete(FAULTS)


# --- moments ----------------------------------------------------------------------------------------------------------


def relay_is_waited_for(_: World, running: Running) -> bool:
    return "waiting for the DNS relay" in running.said


def router_is_changed(world: World, _: Running) -> bool:
    return bool(world.api.get(ROUTER)["metadata"]["generation"] > world.router_generation)


def router_is_gone(world: World, _: Running) -> bool:
    return world.api.is_gone(ROUTER)


def operators_release_is_gone(_: World, running: Running) -> bool:
    return any("isthmus-netbird-operator" in line and " deleted (" in line for line in running.said.splitlines())


# --- the table --------------------------------------------------------------------------------------------------------

NO_ANSWER: Final = ("NetBird API: ", "no answer: ")
REFUSED: Final = ("connect: connection refused",)
NOT_DELETED: Final = ("**deleting failed**", '"https://127.0.0.1:')
"""Of an API server that goes meanwhile: what was not deleted, and the address that gave no answer. Some connections
are reset, others refused, and Helm has words of its own.
"""
ENDS: Final = "engine/test_netbird_ends.py"
HETZNER: Final = "engine/test_hetzner_away.py"
FIRST: Final = tuple((what, "start") for what in AWAY)
READ_FIRST: Final = Reason(
    "the peer's outputs are read before anything else, and not again; what goes later is the next command's start"
)
ONE_LOOK: Final = Reason("a preview makes nothing and waits for nothing: what goes later is missed by nobody")
SIDE_BY_SIDE: Final = Reason("all objects are read side by side, and one that can't be read is as at the start")
WEBHOOK: Final = Elsewhere("engine/test_away.py", "test_the_webhook_is_away_in_all_of_this")

TABLE: Final[dict[Cell, Run | With | Elsewhere | Reason | Gap]] = {
    **{("webhook", moment, command): WEBHOOK for moment, command in product(MOMENTS, COMMANDS)},
    **{(what, moment, "preview"): ONE_LOOK for what, moment in product(AWAY, MOMENTS) if (what, moment) not in FIRST},
    **{
        (what, moment, "refresh"): SIDE_BY_SIDE
        for what, moment in product(AWAY, MOMENTS)
        if (what, moment) not in FIRST
    },
    **{("peer's stack", moment, command): READ_FIRST for moment in ("middle", "end") for command in COMMANDS},
    # Everything at once: what is said of one is said whatever else is away.
    ("API server", "start", "preview"): Run(
        ("can't be reached from here", "link pending"), code=0, also=("operator", "NetBird", "peer's stack")
    ),
    ("operator", "start", "preview"): With("API server"),
    ("NetBird", "start", "preview"): With("API server"),
    ("peer's stack", "start", "preview"): With("API server"),
    ("Hetzner", "start", "preview"): Elsewhere(
        "engine/test_hetzner_lookup.py", "test_an_api_that_is_away_costs_a_warning"
    ),
    ("API server", "start", "refresh"): Run(
        (*REFUSED, *NO_ANSWER, 'unknown stack "organization/isthmus/de"'), also=("operator", "NetBird", "peer's stack")
    ),
    ("operator", "start", "refresh"): With("API server"),
    ("NetBird", "start", "refresh"): With("API server"),
    ("peer's stack", "start", "refresh"): With("API server"),
    ("Hetzner", "start", "refresh"): Elsewhere(HETZNER, "test_away_at_the_start"),
    # up
    ("API server", "start", "up"): Run((*REFUSED, "can't be reached from here", "then run the same command again")),
    ("NetBird", "start", "up"): Run(NO_ANSWER),
    ("NetBird", "middle", "up"): Run(NO_ANSWER, work="all", goes_at=("POST", "/policies"), always=True),
    ("NetBird", "end", "up"): Reason("after its policies an `up` asks NetBird nothing more"),
    ("operator", "start", "up"): Run(
        ("in vain: 0 of 1 ready; isthmus-netbird-operator-", "ImagePullBackOff", "kubectl -n netbird describe pods"),
        deadlines={"RELEASE_TIMEOUT_SECONDS": 60, "OPERATOR_SECONDS": 15.0},
    ),
    ("operator", "middle", "up"): Run(
        ("NetBird's operator to make the router isthmus-mn", "in vain: 0 of 1 ready", "kubectl -n netbird describe"),
        when=router_is_changed,
        slow=True,
        deadlines={"MADE_WITHIN": "60s", "OPERATOR_SECONDS": 15.0},
    ),
    ("operator", "end", "up"): Reason("after the router an `up` needs the operator for nothing"),
    ("API server", "middle", "up"): Run(
        REFUSED,
        when=router_is_changed,
        slow=True,
        deadlines={"MADE_WITHIN": "60s", "OPERATOR_SECONDS": 15.0, "RELEASE_TIMEOUT_SECONDS": 60},
    ),
    ("API server", "end", "up"): Run(
        ("refused", "waited 20 s for the DNS relay, in vain", "Nothing of this stands in the way"),
        when=relay_is_waited_for,
        held=(RELAYS_POD,),
        deadlines={"RELAY_SECONDS": 20.0, "RELEASE_TIMEOUT_SECONDS": 60, "MADE_WITHIN": "60s"},
    ),
    ("peer's stack", "start", "up"): Run(
        ("link pending", "run `pulumi up -s de`, then this stack again"), code=0, work="nothing"
    ),
    ("Hetzner", "start", "up"): Elsewhere(HETZNER, "test_away_at_the_start"),
    ("Hetzner", "middle", "up"): Elsewhere("engine/test_hetzner.py", "test_an_error_of_the_api"),
    ("Hetzner", "end", "up"): Reason("after the last server is in its network an `up` asks Hetzner nothing more"),
    # destroy
    ("NetBird", "start", "destroy"): Elsewhere(ENDS, "netbird_gone"),
    ("NetBird", "middle", "destroy"): Reason(
        "until the router is gone it is as at the start: the operator asks in vain, too"
    ),
    ("NetBird", "end", "destroy"): Run(
        (*NO_ANSWER, "run the same command again when NetBird answers"), when=router_is_gone
    ),
    ("operator", "start", "destroy"): Elsewhere(ENDS, "operator_gone"),
    ("operator", "middle", "destroy"): Reason("it has its part when its objects go, and misses that as at the start"),
    ("operator", "end", "destroy"): Run(code=0, when=router_is_gone),
    ("API server", "start", "destroy"): Elsewhere(ENDS, "cluster_gone"),
    ("API server", "middle", "destroy"): Run(NOT_DELETED, when=router_is_gone),
    ("API server", "end", "destroy"): Run(NOT_DELETED, when=operators_release_is_gone),
    ("peer's stack", "start", "destroy"): Reason("a destroy does not run the program, and reads no peer"),
    ("Hetzner", "start", "destroy"): Elsewhere("engine/test_ends.py", "test_hetzners_api_is_gone"),
    ("Hetzner", "middle", "destroy"): Elsewhere(HETZNER, "test_away_in_the_middle_of_destroy"),
    ("Hetzner", "end", "destroy"): Reason("what is left then is what the middle would be tried with"),
}
