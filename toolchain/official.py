"""The upstream's own Pulumi programs: those installed on this machine, and its releases.

Only Pulumi's parts come this way. Both ways accept the pinned version and nothing else: the engine takes plugins in
exactly the version that the Python packages ask for, and the Automation API compares its version with the CLI's.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tarfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

from toolchain import cache, processes
from toolchain.errors import DownloadError, NotInstalledError
from toolchain.progress import Reporter
from toolchain.recipes import Official, Recipe

_NOT_FOUND: Final = 404

CONNECT_DEADLINE_SECONDS: Final = 5.0
"""Until the first answer of a server. Without a network the build should begin at once, not after minutes."""

_READ_DEADLINE_SECONDS = 60.0
_CHUNK_BYTES = 1 << 20
_RELEASES = "https://github.com/pulumi"
_ARCHITECTURES = {"x86_64": "x64", "aarch64": "arm64", "arm64": "arm64"}
_PLUGIN_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def find_installed(recipe: Recipe, *, environment: Mapping[str, str] = os.environ) -> Path:
    """The directory of the installed program in the pinned version; NotInstalledError tells what was found instead."""
    official = _official(recipe)
    if official.plugin is not None:
        home = Path(environment.get("PULUMI_HOME") or Path("~/.pulumi").expanduser())
        directory = home / "plugins" / plugin_directory(official.plugin, official.version)
        unfinished = directory.with_name(f"{directory.name}.partial").exists()
        if (directory / recipe.binaries[0].file).is_file() and not unfinished:
            return directory
        raise NotInstalledError(
            f"{recipe.name} {official.version} is not in {directory}; "
            f"`pulumi plugin install resource {official.plugin} v{official.version}` puts it there."
        )
    command = shutil.which("pulumi", path=environment.get("PATH"))
    if command is None:
        raise NotInstalledError(
            f"{recipe.name}: there is no pulumi on PATH; exactly version {official.version} is needed."
        )
    # The CLI looks for its language host beside the file that a link leads to.
    program = Path(command).resolve()
    version = _cli_version(program)
    if version != official.version:
        raise NotInstalledError(f"{recipe.name}: {command} is version {version}; exactly {official.version} is needed.")
    absent = [name for name in recipe.files if not (program.parent / name).is_file()]
    if absent:
        raise NotInstalledError(f"{recipe.name}: {program.parent} lacks {', '.join(absent)}.")
    return program.parent


def plugin_directory(package: str, version: str) -> str:
    """The name under ``$PULUMI_HOME/plugins`` where the engine looks for a resource plugin."""
    return f"resource-{package}-v{version}"


def _official(recipe: Recipe) -> Official:
    if recipe.official is None:
        raise NotInstalledError(f"{recipe.name} has no official release to take; it is always built.")
    return recipe.official


def _cli_version(program: Path) -> str:
    """What the CLI says of itself; remembered by path, size and time of the file, since asking takes 0.2 s."""
    status = program.stat()
    identity = [str(program), status.st_size, status.st_mtime_ns]
    memory = cache.root() / "installed-pulumi.json"
    try:
        remembered = json.loads(memory.read_text(encoding="utf-8"))
        if remembered["program"] == identity:
            return str(remembered["version"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    environment = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    answer = processes.capture([str(program), "version"], environment=environment, deadline_seconds=30)
    version = answer.stdout.strip().removeprefix("v") or "unknown"
    memory.parent.mkdir(parents=True, exist_ok=True)
    fresh = memory.with_name(f"{memory.name}.{os.getpid()}")
    fresh.write_text(json.dumps({"program": identity, "version": version}), encoding="utf-8")
    fresh.rename(memory)
    return version


def release_urls(official: Official) -> tuple[str, str]:
    """The archive of a release for this machine, and the list of its checksums."""
    system, machine = platform.system().lower(), platform.machine()
    version = official.version
    if official.plugin is None:
        base = f"{_RELEASES}/pulumi/releases/download/v{version}"
        name = f"pulumi-v{version}-{system}-{_ARCHITECTURES.get(machine, machine)}.tar.gz"
        return f"{base}/{name}", f"{base}/pulumi-{version}-checksums.txt"
    package = f"pulumi-{official.plugin}"
    base = f"{_RELEASES}/{package}/releases/download/v{version}"
    architecture = _PLUGIN_ARCHITECTURES.get(machine, machine)
    name = f"pulumi-resource-{official.plugin}-v{version}-{system}-{architecture}.tar.gz"
    return f"{base}/{name}", f"{base}/{package}_{version}_checksums.txt"


def download(recipe: Recipe, target: Path, *, report: Reporter) -> None:
    """Fetches the official release into the directory ``target``, all of its programs side by side.

    Raises DownloadError within seconds when no server answers, and when the archive does not match its checksum. A
    release without a list of checksums is taken as TLS delivers it, with a note.
    """
    archive_url, checksums_url = release_urls(_official(recipe))
    name = archive_url.rsplit("/", 1)[-1]
    expected = _published_checksum(checksums_url, name, report)
    archive = target / ".release.tar.gz"
    digest = hashlib.sha256()
    with _open(archive_url) as answer, archive.open("wb") as file:
        total = int(getattr(answer, "headers", {}).get("Content-Length") or 0)
        received = 0
        try:
            while chunk := answer.read(_CHUNK_BYTES):
                file.write(chunk)
                digest.update(chunk)
                received += len(chunk)
                report("download", completed=received, total=total)
        except OSError as error:
            raise DownloadError(f"{archive_url} broke off after {received} bytes: {error}") from error
    if expected is not None and digest.hexdigest() != expected:
        raise DownloadError(f"{archive_url} has SHA-256 {digest.hexdigest()}, its release says {expected}; not used.")
    unpack(archive, target)
    archive.unlink()


def unpack(archive: Path, target: Path) -> None:
    """Takes the regular files out of a release's archive, without its directories, executable."""
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            if content is None:
                continue
            path = target / Path(member.name).name
            with content, path.open("wb") as file:
                shutil.copyfileobj(content, file)
            path.chmod(0o755 if member.mode & 0o100 else 0o644)


def _published_checksum(url: str, name: str, report: Reporter) -> str | None:
    import urllib.error

    try:
        with _open(url) as answer:
            lines = answer.read().decode().splitlines()
    except DownloadError as error:
        if isinstance(error.__cause__, urllib.error.HTTPError) and error.__cause__.code == _NOT_FOUND:
            error.__cause__.close()
            report("note", f"no checksum is published for {name}")
            return None
        raise
    for line in lines:
        digest, _, file = line.partition(" ")
        if file.strip().removeprefix("*").removeprefix("./") == name:
            return digest
    raise DownloadError(f"{url} does not list {name}.")


def _open(url: str) -> IO[bytes]:
    """Opens the URL, or fails within the deadline. A name server that never answers has no deadline of its own."""
    # Here, because commands that download nothing start a tenth of a second sooner without them.
    import http.client
    import urllib.error
    import urllib.request

    answers: list[IO[bytes]] = []
    errors: list[Exception] = []

    def attempt() -> None:
        try:
            answers.append(urllib.request.urlopen(url, timeout=_READ_DEADLINE_SECONDS))
        except (OSError, http.client.HTTPException, ValueError) as error:
            errors.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(CONNECT_DEADLINE_SECONDS)
    if answers:
        return answers[0]
    if not errors:
        raise DownloadError(f"{url}: no answer within {CONNECT_DEADLINE_SECONDS:.0f} s", unreachable=True)
    cause = errors[0]
    unreachable = not isinstance(cause, urllib.error.HTTPError)
    raise DownloadError(f"{url}: {getattr(cause, 'reason', cause)}", unreachable=unreachable) from cause
