"""Waiting in each `up`: that it looks anew, says what it sees, ends with the reason, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pulumi
import pytest

from components.kubernetes_client import KubernetesError
from components.waiting import Seen, TooLateError, Wait, Waiting, wait_until, watch_until
from tests.components.recording import run


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


def waited(
    looks: Callable[[float], Seen], *, deadline: float = 60.0, why: Callable[[Seen], str] = lambda _: "look at its logs"
) -> tuple[list[str], list[str], str]:
    """What was said, what was warned of, and the error, of one wait; ``looks`` by the seconds that passed."""
    clock, said, warned, error = Clock(), list[str](), list[str](), ""
    wait = Wait("the thing", lambda: looks(clock.time), why, deadline)
    try:
        asyncio.run(wait_until("mn", wait, said.append, warned.append, now=clock.now, sleep=clock.sleep))
    except TooLateError as late:
        error = str(late)
    return said, warned, error


def test_what_is_there_is_not_spoken_of() -> None:
    assert waited(lambda _: Seen(True, "all")) == ([], [], "")


def test_says_what_it_waits_for_when_that_changes_and_every_ten_seconds() -> None:
    said, _, error = waited(lambda passed: Seen(passed >= 26, "none" if passed < 14 else "one of two"))
    assert said == [
        "mn: waiting for the thing (0 of 60 s): none",
        "mn: waiting for the thing (10 of 60 s): none",
        "mn: waiting for the thing (14 of 60 s): one of two",
        "mn: waiting for the thing (24 of 60 s): one of two",
        "mn: the thing: there after 26 s",
    ]
    assert error == ""


def test_in_vain_ends_with_state_reason_and_fix() -> None:
    _, _, error = waited(lambda _: Seen(False, "one of two"))
    assert error == (
        "mn: waited 60 s for the thing, in vain: one of two. look at its logs. Nothing of this stands in the way of "
        "the next `pulumi up`, which looks anew"
    )


def test_too_late_once_and_the_next_up_goes_through() -> None:
    late = Clock()

    def look(_passed: float) -> Seen:
        late.time += 2
        return Seen(late.time > 100, "not yet")

    assert waited(look)[2] != ""
    assert waited(look)[2] == ""


def test_an_api_that_is_away_is_a_state_like_any_other() -> None:
    def look(passed: float) -> Seen:
        if passed < 20:
            raise KubernetesError("Kubernetes API at 192.168.7.11:6443: GET /x: Connection refused")
        return Seen(True, "all")

    said, _, error = waited(look)
    assert said[0].endswith("Connection refused")
    assert error == ""

    def went(passed: float) -> Seen:
        return Seen(False, "none") if passed < 2 else look(0)

    assert "Connection refused" in waited(went)[2]


def test_an_api_that_never_answers_is_not_waited_for() -> None:
    """What needs it fails by itself; an update of something else alone does not need it."""

    def look(_: float) -> Seen:
        raise KubernetesError("Kubernetes API: timed out")

    said, warned, error = waited(look)
    assert warned == ["mn: the thing can't be looked at, and is not waited for: Kubernetes API: timed out"]
    assert (len(said), error) == (3, "")


def test_a_reason_that_cannot_be_had_hides_nothing() -> None:
    def why(_: Seen) -> str:
        raise KubernetesError("no answer")

    assert "in vain: none. no answer." in waited(lambda _: Seen(False, "none"), why=why)[2]


def test_notes_are_told_at_either_end() -> None:
    note = ("node mn-1 is away",)
    assert waited(lambda _: Seen(True, "all", note))[1] == ["mn: node mn-1 is away"]
    assert waited(lambda _: Seen(False, "none", note))[1] == ["mn: node mn-1 is away"]


def watched(ends_after: float | None) -> tuple[list[str], str]:
    """What was said, and the error, of a wait of 60 s for nothing beside something that ends."""
    clock, said, error = Clock(), list[str](), ""

    async def watch() -> None:
        ended = asyncio.get_running_loop().create_future()

        async def sleep(seconds: float) -> None:
            clock.time += seconds
            if ends_after is not None and clock.time >= ends_after:
                ended.set_result(None)
                await asyncio.Event().wait()

        wait = Wait("the thing", lambda: Seen(False, "none"), lambda _: "look at its logs", 60.0)
        await watch_until(ended, wait_until("mn", wait, said.append, said.append, now=clock.now, sleep=sleep))

    try:
        asyncio.run(watch())
    except TooLateError as late:
        error = str(late)
    return said, error


def test_beside_a_wait_of_the_engine_it_is_told_what_is_there_and_not_how_that_ended() -> None:
    assert watched(12) == (
        ["mn: waiting for the thing (0 of 60 s): none", "mn: waiting for the thing (10 of 60 s): none"], ""
    )  # fmt: skip


def test_beside_a_wait_of_the_engine_in_vain_ends_with_reason_and_fix() -> None:
    said, error = watched(None)
    assert len(said) == 6
    assert error.startswith("mn: waited 60 s for the thing, in vain: none. look at its logs. Nothing of this")


KUBECONFIG = """
current-context: mn
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1", certificate-authority-data: LS0tLS1CRUdJTg==}}]
users: [{name: u, user: {exec: {command: login}}}]
contexts: [{name: mn, context: {cluster: c, user: u}}]
"""


class Thing(pulumi.CustomResource):
    """Some resource."""

    def __init__(self, name: str, after: Sequence[pulumi.Input[pulumi.Resource]] = ()) -> None:
        super().__init__("test:index:Thing", name, {}, pulumi.ResourceOptions(depends_on=list(after)))


@pytest.mark.parametrize("preview", [True, False])
def test_what_comes_next_depends_on_what_was_waited_for(preview: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """A kubeconfig that this program does not speak waits for nothing, and says so."""

    def look() -> Seen:
        raise AssertionError("nothing can be looked at")

    async def program() -> None:
        waiting = Waiting("mn", pulumi.Output.from_input(KUBECONFIG), None, active=True)
        first, beside = Thing("first"), Thing("beside")
        waiting.beside(lambda _client: Wait("x", look, str, 1), made=beside, after=first)
        waited = waiting.until(
            lambda _client, _value: Wait("x", look, str, 1),
            after=first,
            beside=[beside],
            values=pulumi.Output.secret(1),
        )
        Thing("second", [waited])

    found = run(program, stack="mn", config={}, preview=preview, stacks={})
    assert found.one(":Thing", "second").depends_on == ({"first"} if preview else {"first", "beside"})
