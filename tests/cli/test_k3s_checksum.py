"""`./isthmus k3s-checksum` against a server that has a release, and against none."""

from __future__ import annotations

import http.server
import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest
import yaml

from domain.fleet import check_files
from domain.k3s_release import CHECKSUMS
from domain.starter_text import K3S_VERSION
from tests.cli.test_plan import called
from tests.domain.samples import DE, changed, said, text
from tests.domain.test_k3s_release import LISTED

LISTED_ARM = LISTED.replace("  k3s\n", "  k3s-arm64\n").replace("c" * 64, "a6" * 32)
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def checksum(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command without a proxy, unless ``variables`` name one."""
    return called("k3s-checksum", *arguments, variables={**dict.fromkeys(PROXIES, ""), **variables})


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A mirror over HTTP: two releases, one whose list is something else, one whose list is far too long, and one that
    has the other list for Arm.
    """
    root = tmp_path_factory.mktemp("mirror")
    for version, listed in (
        (K3S_VERSION, LISTED),
        ("v1.35.0+k3s1", LISTED.replace("c" * 64, "1e3" + "c" * 61)),
        ("v1.35.1+k3s1", "<html>sign in</html>"),
        ("v1.35.2+k3s1", "x" * 100_000),
        ("v1.35.3+k3s1", LISTED),
    ):
        (root / version).mkdir()
        (root / version / CHECKSUMS["amd64"]).write_text(listed)
    for version, listed in ((K3S_VERSION, LISTED_ARM), ("v1.35.3+k3s1", LISTED)):
        (root / version / CHECKSUMS["arm64"]).write_text(listed)

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


def test_arm_servers_as_well(mirror: str) -> None:
    done = checksum("--arm64", "--mirror", mirror)
    lines = f"    version: {K3S_VERSION}\n    sha256: {'c' * 64}\n    sha256_arm64: {'a6' * 32}\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, lines, "")
    # They are what a stack file with Arm servers takes.
    k3s = {f"k3s.{name}": value for name, value in yaml.safe_load(lines).items()}
    arm = changed(DE, {**k3s, "hetzner.workers.server_type": "cax11", "peers": []})
    assert said(check_files({"de": text(arm)})) == []


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("v1.36.0+k3s1",), 3, "there is no {mirror}/v1.36.0+k3s1/sha256sum-amd64.txt: no release v1.36.0+"),
        (("v1.35.1+k3s1",), 3, "sha256sum-amd64.txt has no line with the checksum of the file k3s"),
        (("v1.35.2+k3s1",), 3, "is no list of checksums: it has more than 65536 bytes."),
        (("v1.35.0+k3s1", "--arm64"), 3, "sha256sum-arm64.txt: no release v1.35.0+k3s1, or none of it for Arm there."),
        (("v1.35.3+k3s1", "--arm64"), 3, "sha256sum-arm64.txt has no line with the checksum of the file k3s-arm64; is"),
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
        f"error: {mirror}/{K3S_VERSION}/{CHECKSUMS['amd64']} can't be reached (Connection refused). Name a mirror with "
        "--mirror, or read that file where there is a network: the checksum is in its line `k3s`.\n"
    )


def test_the_releases_are_where_it_looks_by_default() -> None:
    done = checksum(https_proxy="http://127.0.0.1:9", HTTPS_PROXY="http://127.0.0.1:9")
    assert done.returncode == 3
    assert done.stderr.startswith("error: https://github.com/k3s-io/k3s/releases/download/v1.34.9%2Bk3s1/sha256sum")
