"""How long a build will take: what is said before it and while it lasts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from toolchain import RECIPES, Progress, estimates
from toolchain.estimates import COLD_BUILD_SECONDS, Remaining, counted, foretold
from toolchain.progress import Step, describe, in_words

EVIDENCE = Path(__file__).parents[2] / "docs" / "evidence.md"


def event(tool: str, step: Step, *, seconds: float = 0.0, completed: int = 0, total: int = 0) -> Progress:
    return Progress(tool=tool, step=step, seconds=seconds, completed=completed, total=total)


def test_the_table_is_the_measured_one_of_every_tool_in_order() -> None:
    rows = re.findall(r"^\| `([a-z-]+)`[^|]*\| (\d+):(\d\d) \|$", EVIDENCE.read_text(), flags=re.MULTILINE)
    measured = {name: 60.0 * int(minutes) + int(seconds) for name, minutes, seconds in rows}
    assert list(measured.items()) == list(COLD_BUILD_SECONDS.items())
    assert list(COLD_BUILD_SECONDS) == list(RECIPES)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "less than a minute"), (59.9, "less than a minute"), (60, "about 1 min"), (61, "about 2 min")],
)
def test_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.mark.parametrize(
    ("names", "cores", "text"),
    [
        (
            list(RECIPES),
            2,
            (
                "12 tools are not here yet. To build all of them from source takes about 33 min on 2 cores "
                "(measured 2026-11-26), once"
            ),
        ),
        (
            ["etcd"],
            16,
            (
                "1 tool is not here yet. To build it from source takes less than a minute on 2 cores "
                "(measured 2026-11-26; this machine has 16), once"
            ),
        ),
    ],
)
def test_what_is_said_before(names: list[str], cores: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert foretold(names) == f"{text}; what can be downloaded, or is compiled already, takes less."


class TestRemaining:
    def test_at_first_the_table_counts(self) -> None:
        assert Remaining(["pulumi", "kubernetes"]).seconds == 375 + 227

    def test_compiled_packages_count_as_they_come(self) -> None:
        remaining = Remaining(["kubernetes", "etcd"])
        remaining.hear(event("kubernetes", "resolve", seconds=20))
        assert remaining.seconds == 227 + 20
        remaining.hear(event("kubernetes", "compile", seconds=22.7, completed=10, total=100))
        assert remaining.seconds == pytest.approx(227 * 0.9 + 20)

    def test_a_slow_machine_is_found_out_by_and_by(self) -> None:
        remaining = Remaining(["pulumi", "kubernetes"])
        remaining.hear(event("pulumi", "compile", seconds=375, completed=50, total=100))
        assert remaining.seconds == pytest.approx((375 / 2 + 227) * (375 + 600) / (375 / 2 + 600))
        remaining.hear(event("pulumi", "link", seconds=700))
        remaining.hear(event("pulumi", "done", seconds=750))
        assert remaining.seconds == pytest.approx(227 * (750 + 600) / (375 + 600))

    def test_a_downloaded_tool_says_nothing_of_the_pace(self) -> None:
        remaining = Remaining(["pulumi", "kubernetes"])
        remaining.hear(event("pulumi", "download", seconds=3))
        remaining.hear(event("pulumi", "done", seconds=4))
        assert remaining.seconds == 227

    def test_a_second_attempt_at_a_tool_does_not_run_backwards(self) -> None:
        remaining = Remaining(["kubernetes"])
        remaining.hear(event("kubernetes", "compile", seconds=45.4, completed=20, total=100))
        remaining.hear(event("kubernetes", "compile", seconds=45.4, completed=1, total=400))
        assert remaining.seconds == pytest.approx(227 * 0.8)

    def test_other_work_is_none_of_it(self) -> None:
        remaining = Remaining(["etcd"])
        remaining.hear(event("apt", "compile", seconds=500, completed=1, total=2))
        assert remaining.seconds == 20


@pytest.fixture
def nothing_ready(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path))
    monkeypatch.setenv("ISTHMUS_TOOLCHAIN", "build")


def test_every_event_says_how_much_of_all_is_left(nothing_ready: None) -> None:
    heard: list[Progress] = []
    report = counted(["kubernetes", "etcd"], heard.append)
    report(event("go 1.26", "download"))
    report(event("kubernetes", "compile", seconds=113.5, completed=50, total=100))
    report(event("kubernetes", "done", seconds=227))
    report(event("etcd", "compile", seconds=10, completed=50, total=100))
    report(event("etcd", "done", seconds=20))
    assert [describe(progress) for progress in heard] == [
        "go 1.26: download (0 s)",
        "kubernetes (1 of 2): compile 50 of 100 packages (114 s, about 3 min left in all)",
        "kubernetes (1 of 2): done (227 s, less than a minute left in all)",
        "etcd (2 of 2): compile 50 of 100 packages (10 s, less than a minute left in all)",
        "etcd (2 of 2): done (20 s)",
    ]


def test_what_is_ready_is_not_counted(nothing_ready: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "ready_path", lambda recipe: Path("/x") if recipe.name == "etcd" else None)
    heard: list[Progress] = []
    report = counted(["etcd", "coredns"], heard.append)
    report(event("coredns", "resolve"))
    assert [(progress.tool, progress.left_seconds) for progress in heard] == [("coredns (1 of 1)", 120.0)]
