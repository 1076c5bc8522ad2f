"""What each tool is made of: data that :mod:`toolchain.golang` builds and :mod:`toolchain.official` can replace.

Each tool has a small Go module of its own, since the tools' dependencies exclude each other. The module pins versions
and checksums; the recipe says which packages become which files, and what else of the pinned modules is laid beside
them.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from toolchain import versions
from toolchain.errors import UnknownToolError

REPOSITORY: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Binary:
    """One program: the Go package it is built from and the file it becomes."""

    file: str
    package: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A file or a directory that is taken out of a Go module.

    ``module`` must be required by the recipe's go.mod. ``executable`` sets the mode 0755, which a module's archive
    can't keep.
    """

    module: str
    source: str
    target: str
    executable: bool = False


@dataclass(frozen=True, kw_only=True)
class Embed:
    """A JSON file of a Go module that the wrapper embeds under another name; ``version`` is written into it."""

    module: str
    source: str
    target: str
    version: str | None = None


@dataclass(frozen=True, kw_only=True)
class Generate:
    """A program of the wrapper that runs before the build and writes files which the wrapper embeds.

    ``arguments`` is completed by the output directory, and ``files`` of that directory go to ``target``.
    """

    package: str
    arguments: tuple[str, ...]
    files: tuple[str, ...]
    target: str


@dataclass(frozen=True, kw_only=True)
class Official:
    """The upstream's own release, for the ways "installed" and "download"."""

    version: str
    plugin: str | None = None
    """The Pulumi plugin's package name, or None for what is in the archive of the Pulumi CLI."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one tool is made. ``module`` is a directory relative to the repository's root."""

    name: str
    version: str
    binaries: tuple[Binary, ...]
    module: str
    variables: tuple[tuple[str, str], ...] = ()
    """Go string variables that the linker sets."""
    cgo: bool = False
    embeds: tuple[Embed, ...] = ()
    generate: tuple[Generate, ...] = ()
    copies: tuple[Copy, ...] = ()
    official: Official | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """What the artifact directory holds, by relative path."""
        return (*(binary.file for binary in self.binaries), *(copy.target for copy in self.copies))

    def directory(self, repository: Path = REPOSITORY) -> Path:
        """Where the recipe's Go module lies."""
        return repository / self.module


_CILIUM = "github.com/cilium/cilium"
_HCLOUD = "isthmus/toolchain/pulumi-resource-hcloud"
_KUBERNETES_PROVIDER = "github.com/pulumi/pulumi-kubernetes/provider/v4"
_NETBIRD = "github.com/netbirdio/netbird"
_PULUMI_SDK = "github.com/pulumi/pulumi/sdk/v3"

_ALL: Final = (
    Recipe(
        name="pulumi",
        version=versions.PULUMI,
        module="toolchain/go/pulumi",
        binaries=(
            Binary(
                file="pulumi", package="github.com/pulumi/pulumi/pkg/v3/cmd/pulumi", tags=("osusergo", "grpcnotrace")
            ),
        ),
        # Without it `pulumi version` prints an empty line, and the Automation API refuses the CLI.
        variables=((f"{_PULUMI_SDK}/go/common/version.Version", f"v{versions.PULUMI}"),),
        # Both scripts belong to the SDK's version, not to that of the language host, which is older.
        copies=(
            Copy(
                module=_PULUMI_SDK,
                source="python/cmd/pulumi-language-python-exec",
                target="pulumi-language-python-exec",
                executable=True,
            ),
            Copy(
                module=_PULUMI_SDK,
                source="python/dist/pulumi-resource-pulumi-python",
                target="pulumi-resource-pulumi-python",
                executable=True,
            ),
        ),
        official=Official(version=versions.PULUMI),
    ),
    Recipe(
        name="pulumi-language-python",
        version=versions.PULUMI,
        module="toolchain/go/pulumi-language-python",
        binaries=(
            Binary(
                file="pulumi-language-python",
                package="github.com/pulumi/pulumi/sdk/python/cmd/pulumi-language-python/v3",
            ),
        ),
        official=Official(version=versions.PULUMI),
    ),
    Recipe(
        name="pulumi-resource-kubernetes",
        version=versions.PULUMI_PLUGINS["kubernetes"],
        module="toolchain/go/pulumi-resource-kubernetes",
        binaries=(Binary(file="pulumi-resource-kubernetes", package="isthmus/toolchain/pulumi-resource-kubernetes"),),
        variables=((f"{_KUBERNETES_PROVIDER}/pkg/version.Version", versions.PULUMI_PLUGINS["kubernetes"]),),
        embeds=(
            Embed(
                module=_KUBERNETES_PROVIDER,
                source="cmd/pulumi-resource-kubernetes/schema.json",
                target="schema-embed.json",
                version=versions.PULUMI_PLUGINS["kubernetes"],
            ),
            Embed(
                module=_KUBERNETES_PROVIDER,
                source="cmd/pulumi-resource-kubernetes/terraform-mapping.json",
                target="terraform-mapping-embed.json",
            ),
        ),
        official=Official(version=versions.PULUMI_PLUGINS["kubernetes"], plugin="kubernetes"),
    ),
    Recipe(
        name="pulumi-resource-hcloud",
        version=versions.PULUMI_PLUGINS["hcloud"],
        module="toolchain/go/pulumi-resource-hcloud",
        binaries=(Binary(file="pulumi-resource-hcloud", package=f"{_HCLOUD}/cmd/pulumi-resource-hcloud"),),
        variables=((f"{_HCLOUD}.Version", versions.PULUMI_PLUGINS["hcloud"]),),
        generate=(
            Generate(
                package=f"{_HCLOUD}/cmd/pulumi-tfgen-hcloud",
                arguments=("schema", "--skip-docs", "--skip-examples", "--out"),
                files=("schema.json", "bridge-metadata.json"),
                target="cmd/pulumi-resource-hcloud",
            ),
        ),
        official=Official(version=versions.PULUMI_PLUGINS["hcloud"], plugin="hcloud"),
    ),
    Recipe(
        name="pulumi-resource-command",
        version=versions.PULUMI_PLUGINS["command"],
        module="lab/standins/pulumi_resource_command",
        binaries=(Binary(file="pulumi-resource-command", package="."),),
        official=Official(version=versions.PULUMI_PLUGINS["command"], plugin="command"),
    ),
    Recipe(
        name="netbird-operator",
        version=versions.NETBIRD_OPERATOR,
        module="lab/standins/netbird_operator",
        binaries=(Binary(file="netbird-operator", package="."),),
    ),
    Recipe(
        name="kubernetes",
        version=versions.KUBERNETES,
        module="toolchain/go/kubernetes",
        binaries=tuple(
            Binary(file=name, package=f"k8s.io/kubernetes/cmd/{name}")
            for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl")
        ),
        variables=(
            ("k8s.io/component-base/version.gitVersion", f"v{versions.KUBERNETES}"),
            ("k8s.io/component-base/version.gitMajor", versions.KUBERNETES.split(".")[0]),
            ("k8s.io/component-base/version.gitMinor", versions.KUBERNETES.split(".")[1]),
        ),
    ),
    Recipe(
        name="etcd",
        version=versions.ETCD,
        module="toolchain/go/etcd",
        binaries=(Binary(file="etcd", package="go.etcd.io/etcd/server/v3"),),
    ),
    Recipe(
        name="coredns",
        version=versions.COREDNS,
        module="toolchain/go/coredns",
        binaries=(Binary(file="coredns", package="github.com/coredns/coredns"),),
    ),
    Recipe(
        name="netbird",
        version=versions.NETBIRD,
        module="toolchain/go/netbird",
        binaries=(Binary(file="netbird", package=f"{_NETBIRD}/client"),),
        variables=((f"{_NETBIRD}/version.version", versions.NETBIRD),),
    ),
    Recipe(
        name="netbird-server",
        version=versions.NETBIRD,
        module="toolchain/go/netbird-server",
        binaries=(Binary(file="netbird-server", package=f"{_NETBIRD}/combined"),),
        variables=((f"{_NETBIRD}/version.version", versions.NETBIRD),),
        # Its SQLite store is C.
        cgo=True,
    ),
    Recipe(
        name="cilium",
        version=versions.CILIUM,
        module="toolchain/go/cilium",
        binaries=(
            Binary(file="cilium-agent", package=f"{_CILIUM}/daemon"),
            Binary(file="cilium-operator-generic", package=f"{_CILIUM}/operator", tags=("ipam_provider_operator",)),
            Binary(file="cilium-dbg", package=f"{_CILIUM}/cilium-dbg"),
            Binary(file="cilium-cni", package=f"{_CILIUM}/plugins/cilium-cni"),
            Binary(file="cilium-mount", package=f"{_CILIUM}/tools/mount"),
            Binary(file="cilium-sysctlfix", package=f"{_CILIUM}/tools/sysctlfix"),
        ),
        # Three words as in a release (version, revision, date): Cilium's own parser counts them.
        variables=((f"{_CILIUM}/pkg/version.ciliumVersion", f"{versions.CILIUM} gomodule 1970-01-01T00:00:00+00:00"),),
        copies=(
            Copy(module=_CILIUM, source="install/kubernetes/cilium", target="chart"),
            Copy(module=_CILIUM, source="bpf", target="bpf"),
            *(
                Copy(module=_CILIUM, source=source, target=f"scripts/{Path(source).name}", executable=True)
                for source in (
                    "images/cilium/init-container.sh",
                    "plugins/cilium-cni/install-plugin.sh",
                    "plugins/cilium-cni/cni-uninstall.sh",
                )
            ),
        ),
    ),
)

RECIPES: Final[Mapping[str, Recipe]] = MappingProxyType({recipe.name: recipe for recipe in _ALL})
"""Every tool by name, in the order in which a user needs them first."""


def find(name: str) -> Recipe:
    """The recipe of that name; raises :class:`UnknownToolError` with all names otherwise."""
    try:
        return RECIPES[name]
    except KeyError:
        raise UnknownToolError(f"There is no tool {name!r}; the tools are {', '.join(RECIPES)}.") from None


def inputs(directory: Path) -> Iterator[Path]:
    """The files of a Go module that decide what it builds: all but tests and hidden files, sorted."""
    for path in sorted(directory.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(directory).parts)
        if path.is_file() and not hidden and not path.name.endswith("_test.go"):
            yield path


def build_key(recipe: Recipe, *, repository: Path = REPOSITORY) -> str:
    """Names what a build of the recipe gives: a short hash over the module's files, the recipe and the Go version.

    It holds the Go version that the table asks for, not the one at hand: the key must be known on a machine without Go.
    The artifact's manifest says which Go built it.
    """
    digest = hashlib.sha256()
    directory = recipe.directory(repository)
    settings = {"recipe": asdict(recipe), "go": versions.GO, "machine": [platform.system(), platform.machine()]}
    digest.update(json.dumps(settings, sort_keys=True).encode())
    for path in inputs(directory):
        content = path.read_bytes()
        digest.update(f"\n{path.relative_to(directory).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def official_key(recipe: Recipe) -> str:
    """Names the official release of the recipe: readable, since nothing but the version goes into it."""
    if recipe.official is None:
        raise AssertionError(f"{recipe.name} has no official release")
    return f"official-{recipe.official.version}-{platform.system().lower()}-{platform.machine()}"
