"""Everything secret that a cluster needs, derived from its one secret: k3s token, SSH key, host keys of its machines.

HKDF-SHA256 (RFC 5869) with a label each, so no derived value tells anything of another. The OpenSSH encoder is our
own because equal input must give equal bytes: a changed byte of user data replaces a server, and the usual encoders
put random check bytes into the file. Format: https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.key
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

_ALGORITHM: Final = b"ssh-ed25519"
_BLOCK_SIZE: Final = 8
_LINE: Final = 70


@dataclass(frozen=True)
class SshKey:
    """An ed25519 key pair in OpenSSH's formats; ``private`` ends with a newline, ``public`` is one line without."""

    private: str = field(repr=False)
    public: str


@dataclass(frozen=True)
class ClusterKeys:
    """The derived secrets of one cluster. Only public halves show in its repr."""

    stack: str
    ssh: SshKey
    k3s_token: str = field(repr=False)
    _secret: bytes = field(repr=False)

    @classmethod
    def derive(cls, secret_hex: str, stack: str) -> ClusterKeys:
        """From the stack's ``clusterSecret`` (64 hex characters); ValueError, without the value, for anything else."""
        if (reason := cluster_secret_fault(secret_hex)) is not None:
            raise ValueError(f"clusterSecret {reason}")
        secret = bytes.fromhex(secret_hex)
        return cls(
            stack=stack,
            ssh=_ssh_key(_derive(secret, stack, "ssh key"), f"isthmus@{stack}"),
            k3s_token=_derive(secret, stack, "k3s token").hex(),
            _secret=secret,
        )

    @property
    def ssh_private_key(self) -> str:
        """With which the program logs in to the machines."""
        return self.ssh.private

    @property
    def ssh_public_key(self) -> str:
        """What the machines authorise."""
        return self.ssh.public

    def host_key(self, machine: str) -> SshKey:
        """The key with which the machine proves itself, so the very first connection can be verified."""
        return _ssh_key(_derive(self._secret, self.stack, f"host key of {machine}"), f"root@{machine}")

    def node_password(self, machine: str) -> str:
        """With which the machine proves to k3s's servers that its Node is its own, also once it was installed anew."""
        return _derive(self._secret, self.stack, f"node password of {machine}").hex()


def cluster_secret_fault(value: str) -> str | None:
    """Why the text can't be a cluster secret, without showing any of it; None when it can."""
    if len(value) != 64:
        return f"has {len(value)} characters, not 64"
    if any(character not in "0123456789abcdefABCDEF" for character in value):
        return "holds characters that are not hexadecimal digits"
    if len(set(value.lower())) == 1:
        return "repeats one digit"
    return None


def ssh_private_key_fault(value: str) -> str | None:
    """Why the text can't be used to log in, without showing any of it; None when it can."""
    load = load_ssh_private_key if "BEGIN OPENSSH PRIVATE KEY" in value else load_pem_private_key
    try:
        load(value.encode(), password=None)
    except TypeError:
        return "is protected by a passphrase, and nobody is there to type it"
    except (ValueError, UnsupportedAlgorithm):
        return "is not a private key in OpenSSH's format or in PEM"
    return None


def _derive(secret: bytes, stack: str, label: str) -> bytes:
    """32 bytes for one purpose. The label is interface: another label is another key on every machine."""
    return HKDF(SHA256(), length=32, salt=None, info=f"isthmus/v1/{stack}/{label}".encode()).derive(secret)


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _ssh_key(seed: bytes, comment: str) -> SshKey:
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    public_blob = _string(_ALGORITHM) + _string(public)
    # The check number stands twice so that a wrong passphrase shows; here there is none and a hash of the seed will do.
    check = hashlib.sha256(b"check" + seed).digest()[:4]
    inner = check + check + public_blob + _string(seed + public) + _string(comment.encode())
    inner += bytes(range(1, 1 + -len(inner) % _BLOCK_SIZE))
    blob = (
        b"openssh-key-v1\x00"
        + _string(b"none")
        + _string(b"none")
        + _string(b"")
        + (1).to_bytes(4, "big")
        + _string(public_blob)
        + _string(inner)
    )
    text = base64.b64encode(blob).decode()
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    private = "\n".join(["-----BEGIN OPENSSH PRIVATE KEY-----", *lines, "-----END OPENSSH PRIVATE KEY-----", ""])
    return SshKey(private=private, public=f"{_ALGORITHM.decode()} {base64.b64encode(public_blob).decode()} {comment}")
