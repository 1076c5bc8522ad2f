"""`./isthmus k3s-checksum` against a server that has a release, and against none."""

from __future__ import annotations

import http.server
import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest
import yaml

from domain.k3s_release import CHECKSUMS
from domain.starter_text import K3S_VERSION
from tests.cli.test_plan import called
from tests.domain.test_k3s_release import LISTED

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def checksum(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command without a proxy, unless ``variables`` name one."""
    return called("k3s-checksum", *arguments, variables={**dict.fromkeys(PROXIES, ""), **variables})


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A mirror over HTTP: two releases, one whose list is something else, one whose list is far too long."""
    root = tmp_path_factory.mktemp("mirror")
    for version, listed in (
        (K3S_VERSION, LISTED),
        ("v1.35.0+k3s1", LISTED.replace("c" * 64, "1e3" + "c" * 61)),
        ("v1.35.1+k3s1", "<html>sign in</html>"),
        ("v1.35.2+k3s1", "x" * 100_000),
    ):
        (root / version).mkdir()
        (root / version / CHECKSUMS).write_text(listed)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(root))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            """Not into the tests' output."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("version", "lines"),
    [
        ((), f"    version: {K3S_VERSION}\n    sha256: {'c' * 64}\n"),
        ((K3S_VERSION,), f"    version: {K3S_VERSION}\n    sha256: {'c' * 64}\n"),
        (("v1.35.0+k3s1",), f'    version: v1.35.0+k3s1\n    sha256: "1e3{"c" * 61}"\n'),
    ],
)
def test_the_two_lines(mirror: str, version: tuple[str, ...], lines: str) -> None:
    done = checksum(*version, "--mirror", f"{mirror}/")
    assert (done.returncode, done.stdout, done.stderr) == (0, lines, "")
    values = yaml.safe_load(lines)
    assert all(isinstance(value, str) for value in values.values())


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("v1.36.0+k3s1",), 3, "there is no {mirror}/v1.36.0+k3s1/sha256sum-amd64.txt: no release v1.36.0+"),
        (("v1.35.1+k3s1",), 3, "sha256sum-amd64.txt has no line with the checksum of the file k3s"),
        (("v1.35.2+k3s1",), 3, "is no list of checksums: it has more than 65536 bytes."),
        (("1.34.9",), 2, f"error: 1.34.9 is not the tag of a k3s release; write it like {K3S_VERSION}."),
        (("v1.29.0+k3s1",), 2, "error: v1.29.0+k3s1 is older than v1.34, whose CoreDNS"),
        (("--mirror", "ftp://m"), 2, "error: --mirror ftp://m is not an http or https address; write it like"),
        (("--mirror", "https://me:hunter2@m"), 2, "error: --mirror holds a user name or password, which would show"),
    ],
)
def test_refused(mirror: str, arguments: tuple[str, ...], code: int, says: str) -> None:
    where = () if "--mirror" in arguments else ("--mirror", mirror)
    done = checksum(*arguments, *where)
    assert (done.returncode, done.stdout) == (code, "")
    assert says.format(mirror=mirror) in " ".join(done.stderr.split())
    assert "hunter2" not in done.stderr


def test_offline_it_says_so_in_a_sentence() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        mirror = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        done = checksum("--mirror", mirror)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        f"error: {mirror}/{K3S_VERSION}/{CHECKSUMS} can't be reached (Connection refused). Name a mirror with "
        "--mirror, or read that file where there is a network: the checksum is in its line `k3s`.\n"
    )


def test_the_releases_are_where_it_looks_by_default() -> None:
    done = checksum(https_proxy="http://127.0.0.1:9", HTTPS_PROXY="http://127.0.0.1:9")
    assert done.returncode == 3
    assert done.stderr.startswith("error: https://github.com/k3s-io/k3s/releases/download/v1.34.9%2Bk3s1/sha256sum")
