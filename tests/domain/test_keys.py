from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key
from hypothesis import given
from hypothesis import strategies as st

from domain.keys import ClusterKeys, SshKey, cluster_secret_fault, ssh_private_key_fault
from domain.secret_rules import secret_value_problems
from tests.domain.samples import CLUSTER_SECRET

MACHINES = ("de-server-1", "de-agent-1", "a" * 63)


def every_key(keys: ClusterKeys) -> list[SshKey]:
    return [keys.ssh, *(keys.host_key(machine) for machine in MACHINES)]


def test_what_is_derived_stays_the_same() -> None:
    """These values are on machines that run: another derivation would replace them all."""
    keys = ClusterKeys.derive(CLUSTER_SECRET, "de")
    assert keys.ssh_public_key == (
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL2dyP0S3ReuYpnNyWCoEHSTqAHQfe7iSJmCB8CSS9nr isthmus@de"
    )
    assert keys.host_key("de-server-1").public == (
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMtuAZ8tRmOtDcYZkl6wDC1L7NQZsGT+a9j3t0ykiRY+ root@de-server-1"
    )
    assert keys.k3s_token == "c0aa43f94f470414a83ec798864ef4cb1e0b1622a5baa36e1408a487e647fc5f"
    assert keys.node_password("de-agent-1") == "41ca1c2d9219bf0075dfe8678d4d80eeec9f6dd408ad5f033bee609e020a85d7"
    assert keys.ssh_private_key.splitlines()[-3:] == [
        "AAAECYl9ULOEcMbHQ20BqTiWtUkTWEYR3gO4cRir5t/LcLgL2dyP0S3ReuYpnNyWCoEHST",
        "qAHQfe7iSJmCB8CSS9nrAAAACmlzdGhtdXNAZGUBAgM=",
        "-----END OPENSSH PRIVATE KEY-----",
    ]


@given(st.binary(min_size=32, max_size=32), st.sampled_from(["de", "mn", "a" * 30]))
def test_cryptography_reads_the_keys(secret: bytes, stack: str) -> None:
    if len(set(secret.hex())) == 1:
        return
    keys = ClusterKeys.derive(secret.hex(), stack)
    assert keys == ClusterKeys.derive(secret.hex().upper(), stack)
    assert ssh_private_key_fault(keys.ssh_private_key) is None
    for key in every_key(keys):
        private = load_ssh_private_key(key.private.encode(), password=None)
        public = load_ssh_public_key(key.public.encode())
        assert isinstance(private, Ed25519PrivateKey)
        assert isinstance(public, Ed25519PublicKey)
        assert private.public_key().public_bytes_raw() == public.public_bytes_raw()


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen on this machine")
@pytest.mark.parametrize("machine", MACHINES)
def test_openssh_reads_the_keys(machine: str, tmp_path: Path) -> None:
    key = ClusterKeys.derive(CLUSTER_SECRET, "de").host_key(machine)
    (tmp_path / "key").write_text(key.private, encoding="utf-8")
    (tmp_path / "key").chmod(0o600)
    said = subprocess.run(["ssh-keygen", "-y", "-f", tmp_path / "key"], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == key.public


def test_all_differ() -> None:
    de, mn = ClusterKeys.derive(CLUSTER_SECRET, "de"), ClusterKeys.derive(CLUSTER_SECRET, "mn")
    keys = [key.private for keys in (de, mn) for key in every_key(keys)]
    assert len(set(keys)) == len(keys)
    assert de.k3s_token != mn.k3s_token
    passwords = [keys.node_password(machine) for keys in (de, mn) for machine in MACHINES]
    assert len({*passwords, de.k3s_token, mn.k3s_token}) == len(passwords) + 2


def test_no_secret_shows() -> None:
    keys = ClusterKeys.derive(CLUSTER_SECRET, "de")
    for text in (repr(keys), str(keys), repr(keys.host_key("de-server-1"))):
        assert keys.k3s_token not in text
        assert "PRIVATE KEY" not in text
        assert CLUSTER_SECRET not in text


@pytest.mark.parametrize(
    ("secret", "fault"),
    [
        ("", "has 0 characters, not 64"),
        ("ab" * 31, "has 62 characters, not 64"),
        (CLUSTER_SECRET + "\n", "has 65 characters, not 64"),
        ("g" * 64, "holds characters that are not hexadecimal digits"),
        ("\u0660" * 64, "holds characters that are not hexadecimal digits"),
        ("0" * 64, "repeats one digit"),
    ],
)
def test_bad_secret(secret: str, fault: str) -> None:
    assert cluster_secret_fault(secret) == fault
    with pytest.raises(ValueError, match=f"^clusterSecret {fault}$"):
        ClusterKeys.derive(secret, "de")


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("", "is not a private key in OpenSSH's format or in PEM"),
        ("ssh-ed25519 AAAA", "is not a private key in OpenSSH's format or in PEM"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
         "is not a private key in OpenSSH's format or in PEM"),
    ],
)  # fmt: skip
def test_bad_private_key(key: str, fault: str) -> None:
    assert ssh_private_key_fault(key) == fault


RSA = ("-t", "rsa", "-b", "2048")  # a small one: to find primes for 3072 bits takes seconds


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen on this machine")
@pytest.mark.parametrize("kind", [("-t", "ed25519"), ("-t", "ecdsa"), RSA, (*RSA, "-m", "PEM")])
@pytest.mark.parametrize("passphrase", ["", "hunter2"])
def test_keys_of_ssh_keygen(tmp_path: Path, kind: tuple[str, ...], passphrase: str) -> None:
    command = ["ssh-keygen", "-q", *kind, "-N", passphrase, "-f", str(tmp_path / "key")]
    subprocess.run(command, check=True, capture_output=True)
    text = (tmp_path / "key").read_text(encoding="utf-8")
    expected = "is protected by a passphrase, and nobody is there to type it" if passphrase else None
    assert ssh_private_key_fault(text) == ssh_private_key_fault(text.rstrip()) == expected


def test_values_of_secrets() -> None:
    values = {"isthmus:clusterSecret": "hunter2", "hcloud:token": "x" * 63, "isthmus:sshPrivateKey": "hunter2"}
    assert [str(problem) for problem in secret_value_problems("de", values)] == [
        (
            "de: clusterSecret has 7 characters, not 64; "
            "set it anew: `openssl rand -hex 32 | pulumi config set --secret clusterSecret -s de`."
        ),
        (
            "de: hcloud:token has 63 characters; Hetzner's tokens have 64; "
            "set it anew: `pulumi config set --secret hcloud:token -s de`."
        ),
        (
            "de: sshPrivateKey is not a private key in OpenSSH's format or in PEM; "
            "set it anew: `pulumi config set --secret sshPrivateKey -s de < KEYFILE`."
        ),
    ]
    good = {
        "isthmus:clusterSecret": CLUSTER_SECRET,
        "hcloud:token": "x" * 64,
        "isthmus:sshPrivateKey": ClusterKeys.derive(CLUSTER_SECRET, "de").ssh_private_key,
    }
    assert secret_value_problems("de", good) == []


CONTEXTS = "contexts: [{name: mn}, {name: other}]\n"


@pytest.mark.parametrize(
    ("kubeconfig", "context", "said"),
    [
        (CONTEXTS, "mn", []),
        (CONTEXTS, None, []),
        (
            CONTEXTS,
            "de",
            [
                (
                    "mn: on_premise.kubeconfig.context de is no context of the secret kubeconfig; its contexts are: "
                    "mn, other."
                )
            ],
        ),
        (
            f"contexts: [{', '.join(f'{{name: c{number}}}' for number in range(12))}]",
            "c12",
            [
                (
                    "mn: on_premise.kubeconfig.context c12 is no context of the secret kubeconfig; its contexts are: "
                    "c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, ...."
                )
            ],
        ),
        (
            "hunter2",
            "mn",
            [
                (
                    "mn: kubeconfig is not a kubeconfig: it has no contexts; "
                    "set it anew: `pulumi config set --secret kubeconfig -s mn < KUBECONFIG`."
                )
            ],
        ),
        (
            "a: [",
            "mn",
            [("mn: kubeconfig is not YAML; set it anew: `pulumi config set --secret kubeconfig -s mn < KUBECONFIG`.")],
        ),
        ("contexts: [1, {name: [hunter2]}, {}]", "mn", ["mn: kubeconfig is not a kubeconfig: it has no contexts; set"]),
    ],
)
def test_context_of_the_kubeconfig(kubeconfig: str, context: str | None, said: list[str]) -> None:
    found = [str(problem) for problem in secret_value_problems("mn", {"isthmus:kubeconfig": kubeconfig}, context)]
    assert len(found) == len(said)
    assert all(sentence.startswith(expected) for sentence, expected in zip(found, said, strict=True))
