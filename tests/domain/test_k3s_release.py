"""Where a release's files are, and the checksum of one of them."""

from __future__ import annotations

import pytest

from domain.k3s_release import BINARIES, CHECKSUMS, checksum_in, release_url

LISTED = f"""\
{"a" * 64}  k3s-airgap-images-amd64.tar
{"b" * 64}  k3s-airgap-images-amd64.tar.zst
{"c" * 64}  k3s
{"d" * 64}  k3s.sha256
"""
"""As a release of k3s has it: the file is not the first, and others begin with its name."""


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (LISTED, "c" * 64),
        (LISTED.replace("\n", "\r\n"), "c" * 64),
        (f"{'c' * 64} *k3s", "c" * 64),
        (LISTED.replace("  k3s\n", "  k3s-arm64\n"), None),
        (f"{'c' * 63}  k3s\n", None),
        (f"{'C' * 64}  k3s\n", None),
        ("<html>Not Found</html>", None),
        ("", None),
    ],
)
def test_checksum(listed: str, expected: str | None) -> None:
    assert checksum_in(listed, "k3s") == expected


def test_urls() -> None:
    of_release = "https://github.com/k3s-io/k3s/releases/download/v1.34.9%2Bk3s1"
    assert [release_url("v1.34.9+k3s1", file) for file in (*CHECKSUMS.values(), *BINARIES.values())] == [
        f"{of_release}/sha256sum-amd64.txt",
        f"{of_release}/sha256sum-arm64.txt",
        f"{of_release}/k3s",
        f"{of_release}/k3s-arm64",
    ]
    assert release_url("v1.34.9+k3s1", "k3s", "http://m/k3s") == "http://m/k3s/v1.34.9+k3s1/k3s"
