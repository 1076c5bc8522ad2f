"""What is installed, and what a release's server answers; the server is one of our own on the loopback."""

from __future__ import annotations

import hashlib
import http.server
import io
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolchain import RECIPES, DownloadError, NotInstalledError, Progress, official
from toolchain.progress import Reporter

PULUMI = RECIPES["pulumi"]
HCLOUD = RECIPES["pulumi-resource-hcloud"]


class Server:
    """Answers with the files it was given, 404 otherwise."""

    def __init__(self, url: str, files: dict[str, bytes]) -> None:
        self.url = url
        self.files = files


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    files: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = files.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the base class's
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{httpd.server_port}"
        monkeypatch.setattr(official, "release_urls", lambda _: (f"{url}/tool.tar.gz", f"{url}/checksums.txt"))
        yield Server(url, files)
        httpd.shutdown()
        thread.join()


def archive(**files: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"pulumi/../{name.replace('__', '.')}")
            member.size = len(text)
            member.mode = 0o755
            tar.addfile(member, io.BytesIO(text.encode()))
        link = tarfile.TarInfo("pulumi/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return out.getvalue()


def install_cli(directory: Path, version: str, *, without: str = "") -> dict[str, str]:
    """A directory that looks like an unpacked release; returns an environment whose PATH leads there over a symlink."""
    directory.mkdir()
    for name in PULUMI.files:
        if name != without:
            (directory / name).write_text(f"#!/bin/sh\necho asked >>{directory}/log\necho v{version}\n")
            (directory / name).chmod(0o755)
    on_path = directory.parent / "on-path"
    on_path.mkdir()
    (on_path / "pulumi").symlink_to(directory / "pulumi")
    return {"PATH": str(on_path)}


def test_an_installed_cli_of_the_pinned_version_is_taken(tmp_path: Path) -> None:
    environment = install_cli(tmp_path / "real", PULUMI.version)
    for _ in range(3):
        assert official.find_installed(PULUMI, environment=environment) == tmp_path / "real"
    assert (tmp_path / "real/log").read_text() == "asked\n", "the version is asked once for the same file"


def test_another_version_is_refused(tmp_path: Path) -> None:
    environment = install_cli(tmp_path / "real", "3.258.0")
    with pytest.raises(NotInstalledError) as raised:
        official.find_installed(PULUMI, environment=environment)
    assert str(raised.value) == (f"pulumi: {tmp_path}/on-path/pulumi is version 3.258.0; exactly 3.259.0 is needed.")


def test_a_cli_without_its_language_host_is_refused(tmp_path: Path) -> None:
    environment = install_cli(tmp_path / "real", PULUMI.version)
    with pytest.raises(NotInstalledError) as raised:
        official.find_installed(RECIPES["pulumi-language-python"], environment=environment)
    assert str(raised.value) == f"pulumi-language-python: {tmp_path}/real lacks pulumi-language-python."


def test_no_cli_at_all(tmp_path: Path) -> None:
    with pytest.raises(NotInstalledError) as raised:
        official.find_installed(PULUMI, environment={"PATH": str(tmp_path)})
    assert str(raised.value) == "pulumi: there is no pulumi on PATH; exactly version 3.259.0 is needed."


def test_a_plugin_counts_when_it_is_complete(tmp_path: Path) -> None:
    environment = {"PULUMI_HOME": str(tmp_path)}
    directory = tmp_path / "plugins/resource-hcloud-v1.32.2"
    expected = (
        f"pulumi-resource-hcloud 1.32.2 is not in {directory}; "
        "`pulumi plugin install resource hcloud v1.32.2` puts it there."
    )
    with pytest.raises(NotInstalledError) as raised:
        official.find_installed(HCLOUD, environment=environment)
    assert str(raised.value) == expected
    directory.mkdir(parents=True)
    (directory / "pulumi-resource-hcloud").touch()
    assert official.find_installed(HCLOUD, environment=environment) == directory
    directory.with_name("resource-hcloud-v1.32.2.partial").touch()
    with pytest.raises(NotInstalledError):
        official.find_installed(HCLOUD, environment=environment)


def test_a_tool_without_releases_says_so() -> None:
    with pytest.raises(NotInstalledError) as raised:
        official.find_installed(RECIPES["etcd"])
    assert str(raised.value) == "etcd has no official release to take; it is always built."


@pytest.mark.parametrize(
    ("tool", "archive_name", "checksums_name"),
    [
        (
            "pulumi",
            "pulumi/releases/download/v3.259.0/pulumi-v3.259.0-linux-x64.tar.gz",
            "pulumi-3.259.0-checksums.txt",
        ),
        (
            "pulumi-resource-command",
            "pulumi-command/releases/download/v1.2.1/pulumi-resource-command-v1.2.1-linux-amd64.tar.gz",
            "pulumi-command_1.2.1_checksums.txt",
        ),
    ],
)
def test_release_urls(monkeypatch: pytest.MonkeyPatch, tool: str, archive_name: str, checksums_name: str) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    release = RECIPES[tool].official
    assert release is not None
    found, checksums = official.release_urls(release)
    assert found == f"https://github.com/pulumi/{archive_name}"
    assert checksums == f"{found.rsplit('/', 1)[0]}/{checksums_name}"


def test_a_release_is_checked_and_laid_flat(server: Server, tmp_path: Path, reporter: Reporter) -> None:
    content = archive(pulumi="cli", LICENSE="text")
    server.files["/tool.tar.gz"] = content
    server.files["/checksums.txt"] = (
        f"{'0' * 64}  other.tar.gz\n{hashlib.sha256(content).hexdigest()}  ./tool.tar.gz\n".encode()
    )
    official.download(PULUMI, tmp_path, report=reporter)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["LICENSE", "pulumi"]
    assert (tmp_path / "pulumi").read_text() == "cli"
    assert (tmp_path / "pulumi").stat().st_mode & 0o777 == 0o755


def test_a_changed_release_is_refused(server: Server, tmp_path: Path, reporter: Reporter) -> None:
    content = archive(pulumi="cli")
    server.files["/tool.tar.gz"] = content
    server.files["/checksums.txt"] = f"{'0' * 64}  tool.tar.gz\n".encode()
    with pytest.raises(DownloadError) as raised:
        official.download(PULUMI, tmp_path, report=reporter)
    assert str(raised.value) == (
        f"{server.url}/tool.tar.gz has SHA-256 {hashlib.sha256(content).hexdigest()}, "
        f"its release says {'0' * 64}; not used."
    )
    assert not raised.value.unreachable
    assert not (tmp_path / "pulumi").exists()


def test_a_checksum_list_without_the_archive_is_refused(server: Server, tmp_path: Path, reporter: Reporter) -> None:
    server.files["/checksums.txt"] = f"{'0' * 64}  other.tar.gz\n".encode()
    with pytest.raises(DownloadError) as raised:
        official.download(PULUMI, tmp_path, report=reporter)
    assert str(raised.value) == f"{server.url}/checksums.txt does not list tool.tar.gz."


def test_a_release_without_checksums_is_taken_with_a_note(
    server: Server, tmp_path: Path, reporter: Reporter, events: list[Progress]
) -> None:
    server.files["/tool.tar.gz"] = archive(pulumi="cli")
    official.download(PULUMI, tmp_path, report=reporter)
    assert (tmp_path / "pulumi").exists()
    assert [event.message for event in events if event.step == "note"] == ["no checksum is published for tool.tar.gz"]


def test_a_missing_release_is_reachable(server: Server, tmp_path: Path, reporter: Reporter) -> None:
    with pytest.raises(DownloadError) as raised:
        official.download(PULUMI, tmp_path, report=reporter)
    assert str(raised.value) == f"{server.url}/tool.tar.gz: Not Found"
    assert not raised.value.unreachable


def test_a_silent_server_costs_the_deadline_and_no_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reporter: Reporter
) -> None:
    release = threading.Event()
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: release.wait(20))
    monkeypatch.setattr(official, "CONNECT_DEADLINE_SECONDS", 0.2)
    start = time.monotonic()
    with pytest.raises(DownloadError) as raised:
        official.download(HCLOUD, tmp_path, report=reporter)
    seconds = time.monotonic() - start
    release.set()
    assert seconds < 10, "half of what the server would take"
    assert raised.value.unreachable
    assert str(raised.value).endswith("/pulumi-hcloud_1.32.2_checksums.txt: no answer within 0 s")
