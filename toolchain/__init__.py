"""The tools that Isthmus and its lab run: Pulumi's programs, and the lab's Kubernetes, Cilium, NetBird, etcd and
CoreDNS.

    >>> from toolchain import Printer, ensure, pulumi_environment
    >>> ensure(["etcd", "kubernetes"], progress=Printer())["etcd"] / "etcd"
    >>> subprocess.run(["pulumi", "version"], env={**os.environ, **pulumi_environment()})

It owns versions, building, downloading and the cache. It knows nothing of clusters or of the Pulumi program, and needs
nothing but Python's standard library, since it runs before there is a virtual environment.
"""

from __future__ import annotations

from toolchain.errors import (
    BuildError,
    DownloadError,
    NotInstalledError,
    PackageError,
    SettingError,
    ToolchainError,
    UnknownToolError,
)
from toolchain.making import ensure
from toolchain.progress import Printer, Progress
from toolchain.pulumi import pulumi_bin, pulumi_environment, pulumi_home
from toolchain.recipes import RECIPES, Recipe
from toolchain.ways import Way

__all__ = [
    "RECIPES",
    "BuildError",
    "DownloadError",
    "NotInstalledError",
    "PackageError",
    "Printer",
    "Progress",
    "Recipe",
    "SettingError",
    "ToolchainError",
    "UnknownToolError",
    "Way",
    "ensure",
    "pulumi_bin",
    "pulumi_environment",
    "pulumi_home",
]
