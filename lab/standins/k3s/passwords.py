"""Node passwords: which machine a Node's name belongs to (https://docs.k3s.io/architecture#how-agent-node-registration-works).

A node brings the password of its file, and makes one up where there is none. The cluster keeps a hash in the Secret
NAME.node-password.k3s of kube-system, and refuses a node that brings another until the Node is deleted.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from pathlib import Path

from lab.standins.k3s.api import Api, ApiError
from lab.standins.k3s.errors import StandInError
from lab.standins.k3s.files import write_file
from lab.standins.k3s.layout import NODE_PASSWORD_FILE

SECRETS = "/api/v1/namespaces/kube-system/secrets"
REJECTED = (
    "Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password' may not match server "
    "node-passwd entry, try enabling a unique node name with the --with-node-id flag"
)


class PasswordRejectedError(OSError):
    """The cluster knows another machine of this name. k3s asks again until the Node is deleted."""


def node_password(file: Path = NODE_PASSWORD_FILE) -> str:
    """The node's own, made up where there is none."""
    if not file.exists():
        write_file(file, f"{secrets.token_hex(16)}\n")
    return file.read_text().strip()


def hash_of(password: str, salt: bytes) -> str:
    """As k3s keeps it: version, salt and scrypt's result (its pkg/authenticator/hash)."""
    digest = hashlib.scrypt(password.encode(), salt=salt, n=2**15, r=8, p=1, dklen=64, maxmem=2**26)
    return f"$1:{salt.hex()}:{base64.b64encode(digest).decode()}"


def matches(password: str, kept: str) -> bool:
    """Whether this password gave the hash."""
    try:
        salt = bytes.fromhex(kept.split(":")[1])
    except (IndexError, ValueError):
        raise StandInError("the hash of a node's password has another form") from None
    return hmac.compare_digest(hash_of(password, salt), kept)


def secret_name(node_name: str) -> str:
    """As in k3s."""
    return f"{node_name}.node-password.k3s"


def prove(api: Api, node_name: str, password: str) -> None:
    """Show the cluster this node's password, which it notes the first time. Raises PasswordRejectedError."""
    try:
        found = api.request("GET", f"{SECRETS}/{secret_name(node_name)}")
    except ApiError as error:
        if error.status != 404:
            raise
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": secret_name(node_name), "namespace": "kube-system"},
            "immutable": True,
            "stringData": {"hash": hash_of(password, secrets.token_bytes(8))},
        }
        api.request("POST", SECRETS, secret)
        return
    if not matches(password, base64.b64decode(found["data"]["hash"]).decode()):
        raise PasswordRejectedError(REJECTED)


def forget(api: Api, node_names: Iterable[str]) -> None:
    """The passwords of Nodes that were deleted."""
    for name in node_names:
        try:
            api.request("DELETE", f"{SECRETS}/{secret_name(name)}")
        except ApiError as error:
            if error.status != 404:
                raise
