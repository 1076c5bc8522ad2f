"""Making tools ready: the quick look into the cache, the choice of the way, the lock, the work, the publication."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from toolchain import cache, golang, official, recipes, ways
from toolchain.errors import DownloadError, NotInstalledError
from toolchain.progress import Report, Reporter
from toolchain.recipes import Recipe
from toolchain.ways import Way

PULUMI_ARCHIVE: Final = "pulumi"
"""The group under which the CLI's release is kept; the language host comes with it."""


@dataclass(frozen=True)
class Shelf:
    """Where the artifact of one recipe, made one way, lies or would lie."""

    group: Path
    key: str
    required: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The artifact's directory."""
        return self.group / self.key

    @property
    def ready(self) -> bool:
        """True when the artifact is there with every file that it must hold."""
        return cache.is_complete(self.path) and all((self.path / name).exists() for name in self.required)

    def lock(self, report: Reporter) -> AbstractContextManager[None]:
        """Holds this shelf's group; tells the reporter when someone else does."""
        return cache.lock(self.group, on_wait=lambda holder: report("wait", f"for {holder}"))


def ensure(names: Sequence[str], *, way: Way | None = None, progress: Report | None = None) -> dict[str, Path]:
    """Makes the tools ready and returns for each name the directory that holds its files.

    Names and files are those of :data:`toolchain.RECIPES`. Tools come one after the other, in the given order, and
    each is usable by others as soon as it is there. Cheap when nothing is to be done: a few file look-ups for each
    tool.

    ``way`` forces how Pulumi's own programs come; without it the environment may (``ISTHMUS_TOOLCHAIN``, ``CI``), and
    otherwise what the cache holds is used, then what is installed, then a download, then a build. All other tools are
    always built. Raises a :class:`toolchain.ToolchainError`; whatever fails, nothing half-made is left.
    """
    wanted = [recipes.find(name) for name in dict.fromkeys(names)]
    forced = way or ways.from_environment()
    unreachable: set[Way] = set()
    return {recipe.name: _ensure_one(recipe, forced, unreachable, progress) for recipe in wanted}


def ensure_recipe(recipe: Recipe, *, progress: Report | None = None) -> Path:
    """The same for a tool that is not among :data:`toolchain.RECIPES`, such as one that a single test needs."""
    return _ensure_one(recipe, ways.from_environment(), set(), progress)


def shelf(recipe: Recipe, way: Way) -> Shelf:
    """The place of the recipe's artifact; "installed" has none, its files stay where they are."""
    tools = cache.root() / "tools"
    if way is Way.BUILD:
        return Shelf(tools / recipe.name, recipes.build_key(recipe), recipe.files)
    if way is Way.DOWNLOAD:
        group = PULUMI_ARCHIVE if recipe.official is not None and recipe.official.plugin is None else recipe.name
        return Shelf(tools / group, recipes.official_key(recipe), recipe.files)
    raise AssertionError(f"{way} has no place in the cache")


def ready_path(recipe: Recipe, way: Way | None = None) -> Path | None:
    """The artifact directory if the tool is in the cache, or installed where that is forced; does no work."""
    forced = way or ways.from_environment()
    if ways.order(recipe, forced) == (Way.INSTALLED,):
        try:
            return official.find_installed(recipe)
        except NotInstalledError:
            return None
    for choice in ways.order(recipe, forced):
        if choice is not Way.INSTALLED and (place := shelf(recipe, choice)).ready:
            return place.path
    return None


def _ensure_one(recipe: Recipe, forced: Way | None, unreachable: set[Way], progress: Report | None) -> Path:
    ready = ready_path(recipe, forced)
    if ready is not None:
        cache.touch(ready)
        return ready
    report = Reporter(recipe.name, progress)
    *earlier, last = ways.order(recipe, forced)
    for way in earlier:
        if way in unreachable:
            continue
        try:
            return _by(way, recipe, report)
        except NotInstalledError:
            # Not worth a line: on most machines nothing is installed.
            continue
        except DownloadError as error:
            report("note", f"{error}; it is built instead")
            if error.unreachable:
                unreachable.add(way)
    try:
        return _by(last, recipe, report)
    except (NotInstalledError, DownloadError) as error:
        hint = f"{ways.SETTING}={Way.BUILD.value} builds it from Go modules"
        raise type(error)(f"{str(error).rstrip('.')}; {hint}.") from error


def _by(way: Way, recipe: Recipe, report: Reporter) -> Path:
    if way is Way.INSTALLED:
        return official.find_installed(recipe)
    place = shelf(recipe, way)

    def work(target: Path) -> Mapping[str, object]:
        manifest: dict[str, object] = {"version": recipe.version, "way": way.value}
        if way is Way.BUILD:
            manifest["go"] = golang.build(recipe, target, repository=recipes.REPOSITORY, report=report)
        else:
            official.download(recipe, target, report=report)
        return {**manifest, "seconds": round(report.seconds, 1)}

    with place.lock(report):
        if not place.ready:
            cache.publish(place.group, place.key, work, required=place.required)
            cache.prune(place.group, current=place.key)
            report("done", str(place.path))
    return place.path
