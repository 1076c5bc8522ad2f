"""What no file of the repository may hold: addresses of package registries, folders of the machine where it was made,
keys and tokens.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]

FORBIDDEN = {
    "a package registry": re.compile(
        r"https?://[^\s\"'`<>)]*(?:pypi|pythonhosted|npmjs|proxy\.golang|sum\.golang|/simple\b)"
        r"|--(?:extra-)?index-url[ =]|GOPROXY=(?:http)",
        re.IGNORECASE,
    ),
    "a folder of a machine": re.compile(r"(?<![\w.~$}/-])/(?:work|root|home|Users)/[\w.-]+(?:/[\w.-]+)*"),
    "a private key": re.compile(r"BEGIN [A-Z ]*PRIVATE KEY-----(?:\\n|\s|\"|')+[A-Za-z0-9+/=]{40,}"),
    "a token": re.compile(
        r"\b(?:gh[oprsu]_[A-Za-z0-9]{30,}|github_pat_\w{20,}|glpat-[\w-]{20,}|pul-[0-9a-f]{40}|nbp_[A-Za-z0-9]{36}"
        r"|AKIA[0-9A-Z]{16}|xox[abps]-[\w-]{10,}|eyJ[\w-]{20,}\.eyJ[\w-]{10,}"
        r"|(?=[A-Za-z0-9]{0,63}[A-Z])(?=[A-Za-z0-9]{0,63}[g-z])(?=[A-Za-z0-9]{0,63}[0-9])[A-Za-z0-9]{64})\b"
    ),
}
ALLOWED = {
    # Of the machines that a lab or a user has, not of ours.
    *("/home/cilium", "/home/me", "/root/.kube/config", "/root/.ssh/authorized_keys"),
    *("/root/from-user-data", "/root/kept", "/root/ran"),
    # Of Amazon's documentation.
    "AKIAIOSFODNN7EXAMPLE",
    # Of a test, and none.
    "nbp_engineTestsNetbirdToken0123456789abcd",
    "nbp_Zq3kV8sT1xWcR6yHbN0dLmPfGjU2aE5i4o9X",
    "eyJhbGciOiJSUzI1NiIsImtpZCI6.eyJpc3MiOiJrdWJlcm5ldGVzL3NlcnZpY2VhY2NvdW50Iiw",
    "pul-0123456789abcdef0123456789abcdef01234567",
    "A2C8E62BabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123",
}


def found_in(text: str) -> list[tuple[str, str]]:
    """Every place that may not be there, with what it is."""
    return [
        (what, found[0])
        for what, pattern in FORBIDDEN.items()
        for found in pattern.finditer(text)
        if found[0] not in ALLOWED
    ]


@pytest.mark.skipif(not (TOP / ".git").exists(), reason="not a checkout, so nobody can say which files are tracked")
def test_no_tracked_file_holds_what_is_of_one_machine_or_secret() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, text=True, check=True).stdout
    names = [name for name in listed.split("\0") if name and (TOP / name).is_file()]
    assert len(names) > 300
    found = {}
    for name in names:
        text = (TOP / name).read_bytes().decode("utf-8", "replace")
        if name.endswith("go.sum"):
            text = re.sub(r" h1:\S+", "", text)
        if here := found_in(text):
            found[name] = here
    assert found == {}


@pytest.mark.parametrize(
    "parts",
    [
        ("https://py", "pi.example.net/simple"),
        ("https://mirror.example.net/", "simple"),
        ("--index", "-url https://x"),
        ("GOPROXY", "=https://goproxy.example.net"),
        ("see /wor", "k/checkout/file"),
        ("cd /ro", "ot/project"),
        ('"/hom', 'e/somebody/x"'),
        ("-----BEGIN OPENSSH PRIVATE ", "KEY-----\n" + "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ"),
        ("ghp", "_0123456789abcdefghij0123456789abcdef"),
        ("nbp", "_0123456789abcdefghij0123456789abcdef"),
        ("token: ", "aB3" * 21 + "x"),
    ],
)
def test_it_would_be_seen(parts: tuple[str, str]) -> None:
    assert len(found_in("".join(parts))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "https://www.pulumi.com/registry/packages/kubernetes/",
        "https://docs.k3s.io/installation/private-registry",
        "https://registry-1.docker.io",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJd2gTWYGdEwEzvYjHAyO3XX9Cj4Z3wbqGPcBJ1HMGx7",
        "5f" * 32,
        "~/.cache/isthmus",
        "$HOME/work/x",
    ],
)
def test_what_may_be_there(text: str) -> None:
    assert found_in(text) == []
