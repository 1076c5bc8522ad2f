"""`lab up` by itself: what is tried again, what is not, and when it is done; without a lab."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lab import failed_up, kubernetes, machines, state
from lab.errors import CommandFailed, DeadlinePassed, LabError, LabInUse, MachineError
from lab.inside import Answer
from lab.pulumi_command import PulumiFailed
from lab.reporting import Silent
from lab.steps import StepFailed, Steps
from lab.topology import DEFAULT
from lab.up import order, services, stacks
from lab.up.on_premise import boot
from lab.up.raising import Raising as LabRaising
from lab.up.raising import again
from toolchain import BuildError

COMMAND = "pulumi up --yes --non-interactive -s de"
LATE = ["Diagnostics:", "  x (y):", "    error: dial tcp: connect: connection refused"]
REFUSED = ["Diagnostics:", "  x (y):", "    error: 2 problems in the stack files; nothing was changed:"]


class Noting(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class FakePulumi:
    def __init__(self) -> None:
        self.released = 0

    def release_locks(self) -> None:
        self.released += 1

    def outputs(self, _stack: str, **_options: Any) -> dict[str, Any]:
        return {}


class Raising(LabRaising):
    """With a pulumi that does nothing."""

    fake: FakePulumi

    @property
    def pulumi(self) -> Any:
        return self.fake

    @property
    def person(self) -> Any:
        return None


@pytest.fixture
def raising(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Raising:
    monkeypatch.setattr(state, "STATE", tmp_path)
    monkeypatch.setattr(order, "LOOK_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(failed_up, "PAUSE_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(kubernetes, "write_kubeconfig", lambda *_: [])
    reporter = Noting()
    made = Raising(lab=DEFAULT, reporter=reporter, steps=Steps(reporter, "lab up"), colour=False)
    made.fake = FakePulumi()
    return made


def notes(raising: Raising) -> list[str]:
    return cast("Noting", raising.reporter).notes


def failing(*ways: Exception | None) -> tuple[Callable[..., None], list[object]]:
    """Work that fails in these ways, one a call, and how often it was called."""
    calls: list[object] = []

    def work(*arguments: object, **_options: object) -> None:
        calls.append(arguments)
        way = ways[len(calls) - 1]
        if way is not None:
            raise way

    return work, calls


def pulumi_failed(said: list[str], code: int = 255) -> PulumiFailed:
    return PulumiFailed("`pulumi up` ended", said=said, code=code)


class TestSteps:
    def test_what_was_late_is_tried_again(self, raising: Raising) -> None:
        work, calls = failing(DeadlinePassed("mirror answers: not within 300 s."), None)
        again(raising, "Mirror", work)
        assert len(calls) == 2
        assert notes(raising) == ["Mirror: mirror answers: not within 300 s.\nThat may pass: again (2 of 3)."]

    def test_so_is_what_was_late_in_the_toolchain(self, raising: Raising) -> None:
        work, calls = failing(BuildError("go mod download: dial tcp: i/o timeout"), None)
        again(raising, "Tools", work)
        assert len(calls) == 2

    def test_with_a_pause(self, raising: Raising, monkeypatch: pytest.MonkeyPatch) -> None:
        pauses: list[float] = []
        monkeypatch.setattr(failed_up, "PAUSE_SECONDS", (5.0, 30.0))
        monkeypatch.setattr("time.sleep", pauses.append)
        again(raising, "Mirror", failing(*[DeadlinePassed("connection refused")] * 2, None)[0])
        assert pauses == [5.0, 30.0]

    def test_not_for_ever(self, raising: Raising) -> None:
        work, calls = failing(*[DeadlinePassed("not within 300 s.")] * 9)
        with pytest.raises(StepFailed, match=r"^Mirror: not within 300 s\.$"):
            again(raising, "Mirror", work)
        assert len(calls) == failed_up.ATTEMPTS

    @pytest.mark.parametrize(
        "error", [LabInUse("A pulumi (process 7) is at work on the stack de."), CommandFailed("ip ended with code 2")]
    )
    def test_what_will_not_pass_is_not(self, raising: Raising, error: Exception) -> None:
        work, calls = failing(error, None)
        with pytest.raises(StepFailed):
            again(raising, "Networks", work)
        assert len(calls) == 1
        assert notes(raising) == []


class TestPulumiUp:
    @pytest.fixture(autouse=True)
    def worlds(self, monkeypatch: pytest.MonkeyPatch) -> list[object]:
        """How often helpers and machines were looked after."""
        started: list[object] = []
        monkeypatch.setattr(stacks, "start_world", started.append)
        return started

    def run(self, raising: Raising, monkeypatch: pytest.MonkeyPatch, *ways: Exception | None) -> list[object]:
        work, calls = failing(*ways)
        monkeypatch.setattr(stacks, "up", work)
        stacks.raise_stack(raising, "de", "log", first=True)
        return calls

    def test_late_ones_are_run_again(
        self, raising: Raising, monkeypatch: pytest.MonkeyPatch, worlds: list[object]
    ) -> None:
        calls = self.run(raising, monkeypatch, pulumi_failed(LATE), pulumi_failed([], -9), None)
        assert len(calls) == 3
        assert notes(raising) == [
            f"{COMMAND} failed: dial tcp: connect: connection refused\nThat may pass: again (2 of 3).",
            f"{COMMAND} failed: it was ended by signal 9\nThat may pass: again (3 of 3).",
        ]
        assert raising.fake.released == 2
        assert worlds == [raising, raising], "a helper that ended would refuse the connection for ever"

    def test_a_refusal_is_shown_at_once(self, raising: Raising, monkeypatch: pytest.MonkeyPatch) -> None:
        work, calls = failing(pulumi_failed(REFUSED), None)
        monkeypatch.setattr(stacks, "up", work)
        with pytest.raises(StepFailed) as caught:
            stacks.raise_stack(raising, "de", "log", first=True)
        assert str(caught.value) == (
            f"{COMMAND} failed: 2 problems in the stack files; nothing was changed:\n"
            f"All that it said is above and in {state.STATE}/logs/log.log. With the cause gone, `./isthmus lab up` "
            "goes on from there."
        )
        assert (len(calls), notes(raising), raising.fake.released) == (1, [], 0)

    def test_not_for_ever(self, raising: Raising, monkeypatch: pytest.MonkeyPatch) -> None:
        work, calls = failing(*[pulumi_failed(LATE)] * 9)
        monkeypatch.setattr(stacks, "up", work)
        with pytest.raises(StepFailed, match=r"failed, for the third time: dial tcp: connect: connection refused"):
            stacks.raise_stack(raising, "de", "log", first=True)
        assert len(calls) == failed_up.ATTEMPTS

    def test_an_interruption_ends_it(self, raising: Raising, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(*_arguments: object, **_options: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(stacks, "up", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stacks.raise_stacks(raising, [])
        assert notes(raising) == []

    def test_a_kubeconfig_that_fails_too_hides_nothing(self, raising: Raising, monkeypatch: pytest.MonkeyPatch) -> None:
        def fails(*_: object) -> None:
            raise CommandFailed("`pulumi stack output` ended with code 255")

        monkeypatch.setattr(stacks, "up", failing(pulumi_failed(REFUSED))[0])
        monkeypatch.setattr(kubernetes, "write_kubeconfig", fails)
        with pytest.raises(StepFailed, match="2 problems in the stack files"):
            stacks.raise_stacks(raising, [])


class TestResult:
    def looks(self, monkeypatch: pytest.MonkeyPatch, *found: object) -> list[object]:
        """Each look finds the next of these, the last for ever."""
        left = list(found)
        seen: list[object] = []

        def collect(*_: object) -> object:
            look = left.pop(0) if len(left) > 1 else left[0]
            seen.append(look)
            if isinstance(look, Exception):
                raise look
            return look

        monkeypatch.setattr(order, "collect", collect)
        monkeypatch.setattr(order, "unready", lambda status: [] if status.is_whole else ["The link is down."])
        return seen

    UP: Any = SimpleNamespace(is_whole=True, causes=())
    DOWN: Any = SimpleNamespace(is_whole=False, causes=())

    def test_links_may_take_a_while_and_clusters_be_too_busy(
        self, raising: Raising, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = self.looks(monkeypatch, CommandFailed("kubectl did not end in 20 s"), self.DOWN, self.DOWN, self.UP)
        assert order.settled(raising) is self.UP
        assert len(seen) == 4

    def test_what_does_not_come_up_is_in_the_result(self, raising: Raising, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looks(monkeypatch, self.DOWN)
        monkeypatch.setattr(order, "SETTLE_SECONDS", 0.0)
        assert order.settled(raising) is self.DOWN

    def test_a_look_that_never_succeeds_says_why(self, raising: Raising, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looks(monkeypatch, CommandFailed("kubectl did not end in 20 s"))
        monkeypatch.setattr(order, "SETTLE_SECONDS", 0.0)
        with pytest.raises(CommandFailed, match="kubectl did not end"):
            order.settled(raising)


class TestBoot:
    @pytest.mark.parametrize("error", [DeadlinePassed("mn-1 boots: not within 600 s."), MachineError("went off")])
    def test_a_machine_that_hangs_is_switched_off_and_on(
        self, raising: Raising, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        waiting, waits = failing(error, None)
        reboots: list[tuple[str, bool]] = []
        monkeypatch.setattr(machines, "wait_boot", waiting)
        monkeypatch.setattr(machines, "reboot", lambda name, graceful: reboots.append((name, graceful)))
        boot(raising.reporter, "mn-1")
        assert (len(waits), reboots) == (2, [("mn-1", False)])
        assert notes(raising) == [f"{error}\nIt is switched off and on again."]

    def test_once(self, raising: Raising, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(machines, "wait_boot", failing(DeadlinePassed("1"), DeadlinePassed("2"))[0])
        monkeypatch.setattr(machines, "reboot", lambda *_, **__: None)
        with pytest.raises(DeadlinePassed, match="2"):
            boot(raising.reporter, "mn-1")


class TestServersThatAreOff:
    @pytest.mark.parametrize(("status", "fails"), [(201, False), (423, False), (500, True)])
    def test_they_are_switched_on(self, monkeypatch: pytest.MonkeyPatch, status: int, fails: bool) -> None:
        asked: list[tuple[str, str]] = []

        def answer(method: str, path: str) -> Answer:
            asked.append((method, path))
            body = b'{"servers": [{"id": 7, "name": "de-agent-1", "status": "off"}]}'
            return Answer(status=200, body=body) if method == "GET" else Answer(status=status, body=b"no")

        monkeypatch.setattr(services, "ask_hetzner", answer)
        if fails:
            with pytest.raises(LabError, match=r"^the server de-agent-1 can't be switched on \(500\): no$"):
                services.power_on_servers()
        else:
            services.power_on_servers()
        assert asked == [("GET", "/v1/servers?status=off"), ("POST", "/v1/servers/7/actions/poweron")]
