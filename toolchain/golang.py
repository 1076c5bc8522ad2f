"""Go: finding or fetching a toolchain, and building a recipe with it.

A build happens in a copy of the recipe's module, so the repository is never written to. It trusts only the committed
go.sum: resolving new versions is a developer's act (``GOFLAGS=-mod=mod``), never a build's.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain import cache, debian, processes, versions
from toolchain.errors import BuildError
from toolchain.progress import Reporter
from toolchain.recipes import Binary, Copy, Recipe

_CGO_PACKAGES = ("gcc", "libc6-dev")
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}

NO_DEBUG_INFORMATION = "-gcflags=all=-dwarf=false"
"""The linker is told to leave it out (-w), so the compiler need not make it: a sixth of its work."""
ROOMY_BYTES = 12 * 2**30
"""With this much memory the compiler may collect garbage less often. The largest packages then take 3.5 GB each."""
ROOMY_GOGC = "400"


def build_environment(*, cgo: bool = False, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The caller's environment (proxies, module cache) with what would change the result set to fixed values."""
    return {
        **environment,
        "CGO_ENABLED": "1" if cgo else "0",
        "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }


def compile_environment(
    *, cgo: bool = False, memory_bytes: int, environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """:func:`build_environment` with the compiler's garbage collection set by the machine's memory.

    It changes the time that a build takes (a sixth), never its result. A setting of the caller's own stands.
    """
    made = build_environment(cgo=cgo, environment=environment)
    return {"GOGC": ROOMY_GOGC, **made} if memory_bytes >= ROOMY_BYTES else made


def machine_memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def parse_version(text: str) -> tuple[int, ...] | None:
    """``(1, 26, 8)`` from the output of ``go version``; None when it holds no released version."""
    match = re.search(r"\bgo(\d+)\.(\d+)(?:\.(\d+))?\b", text)
    return None if match is None else tuple(int(part) for part in match.groups() if part is not None)


def go_version(go: Path) -> tuple[int, ...] | None:
    """The version of this ``go`` command itself, or None when it does not run."""
    try:
        result = processes.capture([str(go), "version"], environment=build_environment(), deadline_seconds=30)
    except OSError:
        return None
    return parse_version(result.stdout)


def candidates() -> list[Path]:
    """The ``go`` commands of this machine, best first: on PATH, the usual place of Go's own archive, Debian's."""
    on_path = shutil.which("go")
    debians = sorted(Path("/usr/lib").glob("go-*/bin/go"), reverse=True)
    found = [*([Path(on_path)] if on_path else []), Path("/usr/local/go/bin/go"), *debians]
    return [path for path in dict.fromkeys(found) if path.is_file()]


def find_go(report: Reporter) -> Path:
    """A ``go`` of at least :data:`toolchain.versions.GO_MINIMUM`; fetches one when the machine has none.

    Go's toolchains are modules as well, so any older ``go`` can fetch a new one through the module proxy, checked
    against Go's checksum database. That older one comes from Debian when there is none at all.
    """
    group = cache.root() / "go"
    fetched = group / f"go{versions.GO}"
    if cache.is_complete(fetched):
        return fetched / "bin" / "go"
    for go in candidates():
        version = go_version(go)
        if version is not None and version >= versions.GO_MINIMUM:
            return go
    return _fetch_go(group, report)


def _fetch_go(group: Path, report: Reporter) -> Path:
    helpers = [go for go in candidates() if go_version(go) is not None]
    if not helpers:
        debian.ensure_packages(["golang-go", "ca-certificates"], progress=report.sink)
        helpers = [go for go in candidates() if go_version(go) is not None]
    if not helpers:
        raise BuildError("No go command was found, not even after installing Debian's golang-go.")
    system, machine = os.uname().sysname.lower(), os.uname().machine
    module = f"golang.org/toolchain@v0.0.1-go{versions.GO}.{system}-{_MACHINES.get(machine, machine)}"
    fetched = group / f"go{versions.GO}"
    with cache.lock(group, on_wait=lambda holder: report("wait", f"for {holder}")):
        if cache.is_complete(fetched):
            return fetched / "bin" / "go"
        report("download", f"Go {versions.GO}")
        cache.publish(group, fetched.name, lambda target: _unpack_go(helpers[0], module, target), required=("bin/go",))
        cache.prune(group, current=fetched.name)
        report("done", f"Go {versions.GO}")
    return fetched / "bin" / "go"


def _unpack_go(helper: Path, module: str, target: Path) -> Mapping[str, object]:
    modules = target / "modules"
    environment = {
        **build_environment(),
        # A module cache is read-only by default and could not be taken apart again.
        "GOFLAGS": "-modcacherw",
        "GOMODCACHE": str(modules),
        "GOPATH": str(modules),
    }
    result = processes.capture(
        [str(helper), "mod", "download", "-json", module], environment=environment, directory=target
    )
    answer = json.loads(result.stdout or "{}")
    if result.returncode != 0 or "Error" in answer or "Dir" not in answer:
        reason = str(answer.get("Error", "")) or result.stderr.strip() or "no answer"
        raise BuildError(f"Go {versions.GO} could not be fetched as {module}: {reason}")
    for path in Path(answer["Dir"]).iterdir():
        path.rename(target / path.name)
    shutil.rmtree(modules)
    # A module's archive keeps no modes.
    for programs in (target / "bin", target / "pkg" / "tool"):
        for path in programs.rglob("*"):
            if path.is_file():
                path.chmod(0o755)
    return {"module": module, "sum": answer.get("Sum")}


@dataclass(frozen=True)
class Builder:
    """One build of one recipe: the copy of its module, the Go that builds it, and where the artifacts go."""

    recipe: Recipe
    go: Path
    module: Path
    target: Path
    report: Reporter

    def run(self) -> None:
        """Makes every file of the recipe in the target directory; raises BuildError with the end of Go's output."""
        for embed in self.recipe.embeds:
            data = json.loads((self._module_directory(embed.module) / embed.source).read_bytes())
            if embed.version is not None:
                data["version"] = embed.version
            (self.module / embed.target).write_text(json.dumps(data, separators=(",", ":")), encoding="utf-8")
        for generate in self.recipe.generate:
            with tempfile.TemporaryDirectory(dir=self.module, prefix=".generate-") as work:
                program = Binary(file="generate", package=generate.package)
                self._compile([program], Path(work))
                self.report("generate", ", ".join(generate.files))
                output = Path(work) / "output"
                code, tail = processes.stream(
                    [str(Path(work) / "generate"), *generate.arguments, str(output)],
                    environment=self._environment,
                    directory=self.module,
                )
                if code != 0:
                    raise BuildError(f"{self.recipe.name}: {generate.package} ended with code {code}:\n{tail}")
                for name in generate.files:
                    (output / name).rename(self.module / generate.target / name)
        # Programs with the same build tags share one call, so that they are linked side by side.
        for tags in dict.fromkeys(binary.tags for binary in self.recipe.binaries):
            self._compile([binary for binary in self.recipe.binaries if binary.tags == tags], self.target)
        for copy in self.recipe.copies:
            self.report("copy", copy.target)
            copy_from_module(self._module_directory(copy.module), copy, self.target)

    @property
    def _environment(self) -> dict[str, str]:
        return build_environment(cgo=self.recipe.cgo)

    def _go(self, arguments: Sequence[str]) -> str:
        command = [str(self.go), *arguments]
        result = processes.capture(command, environment=self._environment, directory=self.module)
        if result.returncode != 0:
            raise BuildError(self._explain(" ".join(arguments[:2]), result.stderr.strip()))
        return result.stdout

    def _module_directory(self, module: str) -> Path:
        # Outside of a build nothing has fetched the module yet, and `go list -m` alone would leave Dir empty.
        return Path(json.loads(self._go(["mod", "download", "-json", module]))["Dir"])

    def _compile(self, binaries: Sequence[Binary], target: Path) -> None:
        packages = [binary.package for binary in binaries]
        tags = ["-tags", ",".join(binaries[0].tags)] if binaries[0].tags else []
        total, last = self._resolve(packages, tags)
        flags = " ".join(["-s", "-w", *(f"-X '{name}={value}'" for name, value in self.recipe.variables)])
        with tempfile.TemporaryDirectory(dir=self.module, prefix=".link-") as work:
            # A directory takes many programs under the names that Go gives them; one program gets its name at once.
            output = Path(work) / (binaries[0].file if len(binaries) == 1 else "")
            completed = 0
            self.report("compile", completed=0, total=total)

            def on_line(line: str) -> bool:
                nonlocal completed
                if not line or line.startswith(("#", "go: ", "\t")) or " " in line:
                    return False
                completed += 1
                last.discard(line)
                self.report("compile" if last else "link", completed=completed, total=total)
                return True

            code, tail = processes.stream(
                [
                    *(str(self.go), "build", "-v", *tags, NO_DEBUG_INFORMATION),
                    *("-ldflags", flags, "-o", str(output), *packages),
                ],
                environment=compile_environment(cgo=self.recipe.cgo, memory_bytes=machine_memory()),
                directory=self.module,
                on_line=on_line,
            )
            if code != 0:
                raise BuildError(self._explain("build", tail))
            for binary in binaries:
                made = output if len(binaries) == 1 else Path(work) / binary.package.rsplit("/", 1)[-1]
                made.rename(target / binary.file)

    def _resolve(self, packages: Sequence[str], tags: Sequence[str]) -> tuple[int, set[str]]:
        """Fetches the modules that are missing; returns how many packages make the programs, and the programs' own."""
        self.report("resolve")
        fetched = total = 0
        programs: set[str] = set()

        def on_line(line: str) -> bool:
            nonlocal fetched, total
            if line.startswith("go: downloading "):
                fetched += 1
                self.report("resolve", completed=fetched)
            elif line.startswith("package "):
                total += 1
            elif line.startswith("program "):
                total += 1
                programs.add(line.removeprefix("program "))
            else:
                return False
            return True

        form = "{{if .DepOnly}}package{{else}}program{{end}} {{.ImportPath}}"
        code, tail = processes.stream(
            [str(self.go), "list", "-deps", *tags, "-f", form, *packages],
            environment=self._environment,
            directory=self.module,
            on_line=on_line,
        )
        if code != 0:
            raise BuildError(self._explain("list", tail))
        return total, programs

    def _explain(self, action: str, output: str) -> str:
        return f"{self.recipe.name}: `go {action}` failed in {self.recipe.module}:\n{output}"


def copy_from_module(module: Path, copy: Copy, target: Path) -> None:
    """Copies a file or a tree out of the module cache, where everything is read-only and nothing is executable."""
    source, destination = module / copy.source, target / copy.target
    destination.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, destination, copy_function=shutil.copyfile)
    else:
        shutil.copyfile(source, destination)
    for path in (destination, *destination.rglob("*")):
        path.chmod(0o755 if path.is_dir() or copy.executable else 0o644)


def build(recipe: Recipe, target: Path, *, repository: Path, report: Reporter) -> str:
    """Builds the recipe into the directory ``target``; returns the version of the Go that did it, like "1.26.8"."""
    source = recipe.directory(repository)
    if not (source / "go.mod").is_file():
        raise BuildError(f"{recipe.name}: there is no Go module in {recipe.module}; is the working copy complete?")
    go = find_go(report)
    if recipe.cgo and shutil.which("gcc") is None:
        debian.ensure_packages(_CGO_PACKAGES, progress=report.sink)
    with tempfile.TemporaryDirectory(dir=target, prefix=".build-") as work:
        module = Path(work) / "module"
        shutil.copytree(source, module)
        Builder(recipe, go, module, target, report).run()
    version = go_version(go)
    return ".".join(str(part) for part in version or ())
