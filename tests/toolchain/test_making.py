"""Choosing, locking, making and finding again; what is made is a fake."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from toolchain import (
    BuildError,
    DownloadError,
    NotInstalledError,
    Progress,
    Recipe,
    UnknownToolError,
    Way,
    cache,
    ensure,
)
from toolchain.making import ready_path
from toolchain.progress import Reporter
from toolchain.recipes import RECIPES

PULUMI = RECIPES["pulumi"]
DEADLINE_SECONDS = 20.0


class Workshop:
    """Stands for Go, for the releases and for what is installed; remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.download_error: DownloadError | None = None
        self.build_error: BuildError | None = None
        self.installed: Path | None = None
        self.before_build: Callable[[], object] = lambda: None

    def find_installed(self, recipe: Recipe) -> Path:
        self.asked.append(f"installed {recipe.name}")
        if self.installed is None:
            raise NotInstalledError(f"{recipe.name} is not installed")
        return self.installed

    def download(self, recipe: Recipe, target: Path, *, report: Reporter) -> None:
        self.asked.append(f"download {recipe.name}")
        if self.download_error is not None:
            raise self.download_error
        self._fill(recipe, target, "official")

    def build(self, recipe: Recipe, target: Path, *, repository: Path, report: Reporter) -> str:
        self.asked.append(f"build {recipe.name}")
        self.before_build()
        if self.build_error is not None:
            (target / "half").touch()
            raise self.build_error
        self._fill(recipe, target, "built")
        return "1.26.8"

    def _fill(self, recipe: Recipe, target: Path, text: str) -> None:
        for name in recipe.files:
            (target / name).parent.mkdir(exist_ok=True, parents=True)
            (target / name).write_text(text)
        # An archive of the CLI holds its language host.
        (target / "pulumi-language-python").write_text(text)


@pytest.fixture
def workshop(monkeypatch: pytest.MonkeyPatch) -> Workshop:
    workshop = Workshop()
    monkeypatch.setattr("toolchain.official.find_installed", workshop.find_installed)
    monkeypatch.setattr("toolchain.official.download", workshop.download)
    monkeypatch.setattr("toolchain.golang.build", workshop.build)
    return workshop


def test_a_second_call_asks_for_nothing(workshop: Workshop, cache_root: Path, events: list[Progress]) -> None:
    made = ensure(["etcd", "coredns", "etcd"], progress=events.append)
    assert list(made) == ["etcd", "coredns"]
    assert made["etcd"].parent == cache_root / "tools/etcd"
    assert (made["etcd"] / "etcd").read_text() == "built"
    assert [(event.tool, event.step) for event in events] == [("etcd", "done"), ("coredns", "done")]
    assert ensure(["etcd", "coredns"]) == made
    assert workshop.asked == ["build etcd", "build coredns"]


def test_nothing_starts_when_a_name_is_unknown(workshop: Workshop) -> None:
    with pytest.raises(UnknownToolError):
        ensure(["etcd", "docker"])
    assert workshop.asked == []


def test_the_manifest_tells_where_it_comes_from(workshop: Workshop) -> None:
    built = cache.read_manifest(ensure(["etcd"])["etcd"])
    assert {name: built[name] for name in ("version", "way", "go")} == {
        "version": "3.6.5",
        "way": "build",
        "go": "1.26.8",
    }
    loaded = cache.read_manifest(ensure(["pulumi"])["pulumi"])
    assert {name: loaded.get(name) for name in ("version", "way", "go")} == {
        "version": "3.259.0",
        "way": "download",
        "go": None,
    }


def test_installed_comes_first_and_is_used_where_it_lies(workshop: Workshop, tmp_path: Path) -> None:
    workshop.installed = tmp_path
    assert ensure(["pulumi"]) == {"pulumi": tmp_path}
    assert workshop.asked == ["installed pulumi"]


def test_the_language_host_comes_with_the_download_of_the_cli(workshop: Workshop) -> None:
    made = ensure(["pulumi", "pulumi-language-python"])
    assert made["pulumi"] == made["pulumi-language-python"]
    assert workshop.asked == ["installed pulumi", "download pulumi"]


def test_without_a_network_one_line_and_one_attempt(workshop: Workshop, events: list[Progress]) -> None:
    workshop.download_error = DownloadError("https://example.org/x: no answer within 5 s", unreachable=True)
    ensure(["pulumi", "pulumi-resource-hcloud"], progress=events.append)
    assert workshop.asked == [
        "installed pulumi",
        "download pulumi",
        "build pulumi",
        "installed pulumi-resource-hcloud",
        "build pulumi-resource-hcloud",
    ]
    assert [event.message for event in events if event.step == "note"] == [
        "https://example.org/x: no answer within 5 s; it is built instead"
    ]


def test_one_bad_release_does_not_stop_the_next_download(workshop: Workshop) -> None:
    workshop.download_error = DownloadError("does not match")
    ensure(["pulumi", "pulumi-resource-hcloud"])
    assert [asked for asked in workshop.asked if asked.startswith("download")] == [
        "download pulumi",
        "download pulumi-resource-hcloud",
    ]


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("ISTHMUS_TOOLCHAIN", "build")])
def test_a_forced_build_ignores_installed_and_downloaded(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    downloaded = ensure(["pulumi"])["pulumi"]
    workshop.asked.clear()
    monkeypatch.setenv(name, value)
    assert ensure(["pulumi"])["pulumi"] != downloaded
    assert workshop.asked == ["build pulumi"]


def test_a_forced_way_that_fails_says_so(workshop: Workshop) -> None:
    workshop.download_error = DownloadError("no answer", unreachable=True)
    with pytest.raises(DownloadError, match=r"^no answer; ISTHMUS_TOOLCHAIN=build builds it from Go modules\.$"):
        ensure(["pulumi"], way=Way.DOWNLOAD)
    with pytest.raises(NotInstalledError, match=r"^pulumi is not installed; ISTHMUS_TOOLCHAIN=build builds it"):
        ensure(["pulumi"], way=Way.INSTALLED)
    assert not [asked for asked in workshop.asked if asked.startswith("build")]


def test_the_argument_wins_over_the_environment(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISTHMUS_TOOLCHAIN", "download")
    ensure(["pulumi"], way=Way.BUILD)
    assert workshop.asked == ["build pulumi"]


def test_a_failed_build_leaves_nothing_and_is_tried_again(workshop: Workshop, cache_root: Path) -> None:
    workshop.build_error = BuildError("etcd: `go build` failed")
    with pytest.raises(BuildError, match=r"^etcd: `go build` failed$"):
        ensure(["etcd"])
    assert [path.name for path in (cache_root / "tools/etcd").iterdir()] == [".lock"]
    workshop.build_error = None
    assert (ensure(["etcd"])["etcd"] / "etcd").is_file()


def test_an_artifact_that_lost_a_file_is_made_again(workshop: Workshop) -> None:
    made = ensure(["kubernetes"])["kubernetes"]
    (made / "kubelet").unlink()
    assert ready_path(RECIPES["kubernetes"]) is None
    assert (ensure(["kubernetes"])["kubernetes"] / "kubelet").is_file()
    assert workshop.asked == ["build kubernetes", "build kubernetes"]


def test_old_keys_go_only_when_a_new_one_was_made(
    workshop: Workshop, cache_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = iter(["one", "one", "two", "two", "three", "three"])
    monkeypatch.setattr("toolchain.recipes.build_key", lambda recipe: next(keys))
    kept = []
    for seconds in range(3):
        artifact = ensure(["etcd"])["etcd"]
        os.utime(artifact / cache.MANIFEST, (seconds, seconds))
        kept.append(sorted(path.name for path in (cache_root / "tools/etcd").iterdir() if path.name != ".lock"))
    assert kept == [["one"], ["one", "two"], ["three", "two"]]


def test_two_at_once_make_it_once(workshop: Workshop) -> None:
    heard: list[Progress] = []
    made: list[Path] = []
    waits_for_it = threading.Event()
    # It is not made before somebody waits for it, however late that one comes to its turn.
    workshop.before_build = lambda: waits_for_it.wait(DEADLINE_SECONDS)

    def hear(event: Progress) -> None:
        heard.append(event)
        if event.step == "wait":
            waits_for_it.set()

    threads = [threading.Thread(target=lambda: made.append(ensure(["etcd"], progress=hear)["etcd"])) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made[0] == made[1]
    assert workshop.asked == ["build etcd"]
    waits = [event.message for event in heard if event.step == "wait"]
    assert len(waits) == 1
    assert waits[0].startswith("for process ")


def test_ready_tools_are_found_at_once(workshop: Workshop) -> None:
    names = list(RECIPES)
    ensure(names, way=Way.BUILD)
    seconds = []
    for _ in range(3):
        start = time.monotonic()
        ensure(names, way=Way.BUILD)
        seconds.append(time.monotonic() - start)
    # The quickest of three: the machine may be busy with other things.
    assert min(seconds) < 0.1
