"""Texts that are a secret by their form, whatever setting they stand in: somebody has pasted one into the wrong place;
and names of places that hold a secret, whatever its form is.

It owns the forms and the names. Nothing that is one shows in a message, not even a part of it.
"""

from __future__ import annotations

import re
from typing import Final

_FORMS: Final = (
    # PEM, OpenSSH, PGP and PuTTY, in one line or many, whole or cut; and the beginning of such a file in base64, at any
    # of the three places that a byte can have in it.
    r"BEGIN [A-Z0-9 ]*PRIVATE KEY|PRIVATE KEY-{2,}|PuTTY-User-Key-File|openssh-key-v1",
    r"LS0tLS1CRUdJTi|tLS0tQkVHSU4g|0tLS0tQkVHSU|b3BlbnNzaC1rZXktdjE",
    # NetBird's tokens and setup keys (UUIDs in capitals), k3s's tokens.
    r"(?<![A-Za-z0-9])nbp_[A-Za-z0-9]{12}|(?<![A-Za-z0-9])K10[0-9a-f]{32}|::(server|node):",
    r"(?<![A-Za-z0-9-])[0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}(?![A-Za-z0-9-])",
    # Tokens of Kubernetes and others (JWT), kubeconfigs.
    r"(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{10,}\.|client-key-data|client-certificate-data",
    # Tokens of Pulumi, GitHub, GitLab and AWS.
    r"(?<![A-Za-z0-9])(pul-[0-9a-f]{20}|gh[pousr]_[A-Za-z0-9]{20}|github_pat_|glpat-|AKIA[0-9A-Z]{16})",
)
_FORM: Final = re.compile("|".join(_FORMS), re.ASCII)
_WORD: Final = re.compile(r"[A-Za-z0-9+/_=-]{40,}", re.ASCII)
"""Words so long that no setting has a readable one: Hetzner's tokens have 64 letters and digits, WireGuard's keys 44 of
base64, clusterSecret 64 hexadecimal digits, and the lines of any key's base64 are longer than that."""
_END: Final = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{14,38}={1,2}(?![A-Za-z0-9+/=])", re.ASCII)
"""The last line of a key's base64 may be short, and is known by what fills it up."""
_PUBLIC: Final = re.compile(
    r"AAAA(B3NzaC1|C3NzaC1|E2VjZHNh)[A-Za-z0-9+/]+={0,3}|sha256:[0-9a-f]{64}|SHA256:[A-Za-z0-9+/]{43}", re.ASCII
)
_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_NAME: Final = re.compile(
    r"(^|[a-z0-9_.-])(password|passwd|passphrase|[_.-]secret|client[_-]?secret|secret[_-]?key|access[_-]?key|access[_-]?key[_-]?id|"
    r"api[_-]?key|auth[_-]?key|private[_-]?key|preshared[_-]?key|token|credentials)$",
    re.ASCII | re.IGNORECASE,
)
LIMIT: Final = 64 * 1024
"""Characters of a text that are looked at; a longer one counts as a secret."""


def has_secret_form(text: str) -> bool:
    """Whether a part of the text can be nothing but a secret: what is random alone may be a ciphertext, too."""
    return _FORM.search(text[:LIMIT]) is not None


def holds_secret(text: str) -> bool:
    """Whether a part of the text has the form of a private key, of a token, or of the base64 of a key. Public SSH keys
    and digests of images have not.
    """
    if len(text) < 16:
        return False
    if len(text) > LIMIT or _FORM.search(text):
        return True
    text = _PUBLIC.sub(" ", text)
    return any(_is_random(word) for form in (_WORD, _END) for word in form.findall(text))


def _is_random(word: str) -> bool:
    """Letters of both kinds and digits mixed, or 64 hexadecimal digits in lower case: no name and no path looks so."""
    if _HEX.fullmatch(word):
        return True
    return any(map(str.islower, word)) and any(map(str.isupper, word)) and any(map(str.isdigit, word))


def names_secret(name: str) -> bool:
    """Whether a setting, variable, value or argument of this name holds a secret, by how the name ends."""
    return _NAME.search(name) is not None
