"""The SSH host key of a machine, in every form in which people have one at hand.

It owns which of the keys in a text is the machine's. Texts are the line of ``/etc/ssh/ssh_host_*_key.pub``, a line of
``known_hosts`` or of ssh-keyscan with the host before the key, or all that ssh-keyscan prints
(https://man.openbsd.org/ssh-keyscan.1).
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Final

from pydantic import AfterValidator, StrictStr, WithJsonSchema

from domain.values.rule_error import RuleError

KINDS: Final = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")
"""Kinds of keys that are taken; of several the first in this order, as ssh itself prefers them."""
EXAMPLE: Final = "copy the line of /etc/ssh/ssh_host_ed25519_key.pub on the machine"
_KIND: Final = re.compile(r"(ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+", re.ASCII)
_FINGERPRINT: Final = re.compile(r"(^|\s)(SHA256:[A-Za-z0-9+/]{43}|MD5:([0-9a-f]{2}:){15}[0-9a-f]{2})", re.ASCII)


def ssh_public_key(value: str) -> str:
    """A public key, as a line of /etc/ssh/ssh_host_*_key.pub or as ssh-keyscan prints it: the host, type, base64,
    perhaps a comment. Of several keys of one machine ed25519 counts, else ECDSA.
    """
    keys: dict[str, str] = {}
    refused: RuleError | None = None
    for line in value.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            kind, key = _key_of(line)
        except RuleError as error:
            refused = refused or error
            continue
        if keys.setdefault(kind, key) != key:
            rule = f"holds two keys of the kind {kind}; a machine has one"
            raise RuleError(rule, "leave only the lines of this machine", hide_value=True)
    for kind in KINDS:
        if kind in keys:
            return f"{kind} {keys[kind]}"
    raise refused or _no_key()


def _no_key() -> RuleError:
    return RuleError("is not a public key of the form 'ssh-ed25519 AAAA...'", EXAMPLE)


def _key_of(line: str) -> tuple[str, str]:
    """Kind and base64 of the key in a line, which may have the host before it."""
    words = line.split()
    if words[0].startswith("@"):
        raise RuleError("is a line for a certificate authority or a revoked key, not of a machine's key", EXAMPLE)
    if _FINGERPRINT.search(line):
        raise RuleError("is the fingerprint of a key; the key itself is needed", EXAMPLE)
    if not _KIND.fullmatch(words[0]) and len(words) > 1 and _KIND.fullmatch(words[1]):
        del words[0]
    if len(words) < 2:
        raise _no_key()
    if words[0] == "ssh-rsa":
        # The provider pins the key's type as the algorithm (ssh.ClientConfig.HostKeyAlgorithms of Go), and for RSA that
        # name means a signature by SHA-1. OpenSSH gives none since 8.8.
        rule = "is an RSA key; Pulumi's command provider asks for its old signature, which no SSH server gives any more"
        raise RuleError(rule, EXAMPLE)
    if words[0] not in KINDS:
        raise RuleError(f"is not a public key of a kind that SSH offers ({', '.join(KINDS)})", EXAMPLE)
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        raise RuleError("is not a public key: its second word is not base64", EXAMPLE) from None
    kind = words[0].encode()
    if blob[: 4 + len(kind)] != len(kind).to_bytes(4, "big") + kind or (words[0] == "ssh-ed25519" and len(blob) != 51):
        raise RuleError(f"is not a whole {words[0]} public key", EXAMPLE)
    return words[0], words[1]


SshPublicKey = Annotated[
    StrictStr,
    AfterValidator(ssh_public_key),
    WithJsonSchema({"type": "string", "pattern": r"(^|\s)(ssh|ecdsa)-[a-z0-9-]+ [A-Za-z0-9+/=]+"}),
]
