"""A Pulumi that is ready to run: the CLI with what must lie beside it, and a home with the plugins.

The engine finds a plugin in ``$PULUMI_HOME/plugins/resource-NAME-vVERSION/``, in exactly the version that the Python
package asks for, and prints no warning about it, which it does for plugins on PATH.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from toolchain import cache, official, recipes, versions
from toolchain.making import ensure
from toolchain.progress import Report, Reporter
from toolchain.ways import Way

CLI: Final = ("pulumi", "pulumi-language-python")
PLUGINS: Final = tuple(versions.PULUMI_PLUGINS)


def pulumi_bin(*, way: Way | None = None, progress: Report | None = None) -> Path:
    """A directory with ``pulumi``, its Python language host and the host's two scripts; put it first on PATH.

    An installed or downloaded Pulumi is used where it lies. A built one consists of two tools, and the CLI finds the
    host only in its own directory, so both are linked into ``<cache>/pulumi-bin/<key>/``.
    """
    made = ensure(CLI, way=way, progress=progress)
    directories = set(made.values())
    if len(directories) == 1:
        return directories.pop()
    files = {name: made[tool] / name for tool in CLI for name in recipes.RECIPES[tool].files}
    return _assemble("pulumi-bin", files, progress)


def pulumi_home(
    *,
    plugins: Sequence[str] = PLUGINS,
    directory: Path | None = None,
    way: Way | None = None,
    progress: Report | None = None,
) -> Path:
    """A ``PULUMI_HOME`` with the resource plugins of these packages, all of :data:`toolchain.versions.PULUMI_PLUGINS`.

    Without ``directory`` it is ``<cache>/pulumi-home/<key>/``, shared by all who ask for the same plugins, or the
    user's own home when all plugins are installed there, so that a login there stays valid. With ``directory`` the
    plugins are put there, beside what it holds; that gives a test a home of its own for the price of some hard links.
    """
    programs = {f"pulumi-resource-{package}": package for package in plugins}
    files: dict[str, Path] = {}
    for program, made in ensure(list(programs), way=way, progress=progress).items():
        package = programs[program]
        version = versions.PULUMI_PLUGINS[package]
        files[f"plugins/{official.plugin_directory(package, version)}/{program}"] = made / program
    if directory is not None:
        for name, source in files.items():
            target = directory / name
            if not (target.exists() and target.samefile(source)):
                target.unlink(missing_ok=True)
                cache.place(source, target, mode=0o755)
        return directory
    homes = {source.parent.parent.parent for source in files.values()}
    if len(homes) == 1 and all((home / name).is_file() for home in homes for name in files):
        return homes.pop()
    return _assemble("pulumi-home", files, progress)


def pulumi_environment(
    *, way: Way | None = None, progress: Report | None = None, environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """What to add to a process's environment so that it runs this Pulumi, and looks nothing up on the network."""
    directory = pulumi_bin(way=way, progress=progress)
    return {
        "PATH": os.pathsep.join([str(directory), environment.get("PATH", os.defpath)]),
        "PULUMI_HOME": str(pulumi_home(way=way, progress=progress)),
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }


def _assemble(group_name: str, files: Mapping[str, Path], progress: Report | None) -> Path:
    """One directory out of files from several artifacts, under a key made of where they come from."""
    group = cache.root() / group_name
    origin = "\n".join(f"{name} {source.parent}" for name, source in sorted(files.items()))
    key = hashlib.sha256(origin.encode()).hexdigest()[:16]
    result = group / key
    if _complete(result, files):
        cache.touch(result)
        return result
    report = Reporter(group_name, progress)

    def work(target: Path) -> Mapping[str, object]:
        for name, source in files.items():
            cache.place(source, target / name, mode=0o755)
        return {"from": {name: str(source) for name, source in files.items()}}

    with cache.lock(group, on_wait=lambda holder: report("wait", f"for {holder}")):
        if not _complete(result, files):
            cache.publish(group, key, work)
            cache.prune(group, current=key)
            report("done", str(result))
    return result


def _complete(directory: Path, files: Mapping[str, Path]) -> bool:
    return cache.is_complete(directory) and all((directory / name).is_file() for name in files)
