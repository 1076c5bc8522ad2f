"""What has the form of a secret is told from what has not, and no message shows a character of it."""

from __future__ import annotations

import base64
import secrets
import string
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from domain.problems import HIDDEN, shown
from domain.secret_texts import holds_secret
from tests.domain.samples import CLUSTER_SECRET, HOST_KEYS, SSH_PRIVATE_KEY

PKCS8: Final = (
    ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
)
PKCS1: Final = (
    rsa.generate_private_key(65537, 2048)
    .private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    .decode()
)
WIREGUARD: Final = base64.b64encode(
    ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(7, 39))).private_bytes_raw()
).decode()
HETZNER: Final = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(60)) + "aB3d"
NETBIRD: Final = "nbp_" + "Ab3dEf6hIj9lMn2pQr5tUv8xYz1bCd4fGh7j"
K3S: Final = "K10" + "ab" * 32 + "::server:" + "0c" * 16

SECRETS: Final = {
    "OpenSSH": SSH_PRIVATE_KEY,
    "OpenSSH in one line": SSH_PRIVATE_KEY.replace("\n", " "),
    "OpenSSH indented": SSH_PRIVATE_KEY.replace("\n", "\n      "),
    "OpenSSH with CRLF": SSH_PRIVATE_KEY.replace("\n", "\r\n"),
    "OpenSSH with its line ends as text": SSH_PRIVATE_KEY.replace("\n", "\\n"),
    "OpenSSH in base64": base64.b64encode(SSH_PRIVATE_KEY.encode()).decode(),
    "OpenSSH in base64, later byte": base64.b64encode(b"\n" + SSH_PRIVATE_KEY.encode()).decode(),
    "OpenSSH, first line of its body": SSH_PRIVATE_KEY.splitlines()[1],
    "OpenSSH, a later line of its body": SSH_PRIVATE_KEY.splitlines()[3],
    "OpenSSH, only its head": "-----BEGIN OPENSSH PRIVATE KEY-----",
    "OpenSSH, a short last line": "Zk3vQ9sT7uWx1Yz2AbCdEf==",
    "PKCS#8": PKCS8,
    "PKCS#8, its body": "".join(PKCS8.splitlines()[1:-1]),
    "PKCS#1 of RSA": PKCS1,
    "PKCS#1 of RSA, a line": PKCS1.splitlines()[5],
    "PuTTY": "PuTTY-User-Key-File-3: ssh-ed25519",
    "WireGuard": WIREGUARD,
    "clusterSecret": CLUSTER_SECRET,
    "Hetzner": HETZNER,
    "Hetzner behind a name": f"HCLOUD_TOKEN={HETZNER}",
    "NetBird": NETBIRD,
    "NetBird in a header": f"Token {NETBIRD}",
    "NetBird setup key": "A2C8E62B-38F5-4553-B31E-DD66C696CEBB",
    "k3s": K3S,
    "k3s without its end": K3S.partition("::")[0],
    "kubeconfig": "users: [{name: a, user: {client-key-data: AAAA}}]",
    "service account": "eyJhbGciOiJSUzI1NiIsImtpZCI6.eyJpc3MiOiJrdWJlcm5ldGVzL3NlcnZpY2VhY2NvdW50Iiw.x",
    "Pulumi": "pul-0123456789abcdef0123456789abcdef01234567",
}

PLAIN: Final = (
    "",
    "feature-gates=Aa1Bb2Cc3Dd4Ee5=true",
    "an-argument-without-a-value=",
    "10.42.0.0/16",
    "astring-de.internal",
    "netbirdio/netbird:0.77.1",
    "netbirdio/netbird:0.77.1@sha256:" + "0a" * 32,
    "registry.example.net:5000/a-very-long-name/of-an-image/with-many-parts/that-nobody-would-write/netbird:0.77.1",
    "https://artifacts.Example.net/repository/kubernetes-mirror/v1.34.9",
    *HOST_KEYS,
    HOST_KEYS[0].split()[1],
    f"192.168.7.11 {HOST_KEYS[0]}",
    "256 SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU (ED25519)",
    "sshPrivateKey",
    "x" * 200,
    "mn-1.a-very-long-subdomain-of-the-company.department.example.org",
    "NB_A_VERY_LONG_NAME_OF_AN_ENVIRONMENT_VARIABLE_THAT_GOES_ON",
    "5F" * 32,
)


@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS)
def test_nothing_of_a_secret_shows(text: str) -> None:
    assert holds_secret(text)
    assert shown(text) == HIDDEN


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_no_secret_shows(text: str) -> None:
    assert not holds_secret(text)
    assert shown(text) != HIDDEN
