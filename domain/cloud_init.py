"""User data of a Hetzner server: the node's files, its SSH host key, and one command that installs k3s.

It owns the cloud-config document. Equal input gives equal bytes, because a changed byte means another server. User
data holds secrets (k3s token, host key): the caller marks it as one, and ``metadata_policy.py`` keeps pods from
reading it.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Final

from domain.keys import SshKey
from domain.names import INSTALL_LOG, INSTALL_SCRIPT
from domain.node_files import NodeFile, as_yaml

USER_DATA_LIMIT: Final = 32 * 1024
"""Bytes of user data that Hetzner takes (https://docs.hetzner.cloud/reference/cloud#servers-create-a-server)."""


class UserDataError(ValueError):
    """User data over Hetzner's limit. The text says by how much and which files are the largest, never their
    content.
    """


def without_comments(text: str) -> str:
    """A shell script without the lines that say why, for which there is little room; any other text as it is."""
    first, *lines = text.splitlines(keepends=True) or [""]
    if not first.startswith("#!/bin/sh"):
        return text
    return first + "".join(line for line in lines if not line.lstrip().startswith("#"))


def user_data(files: Sequence[NodeFile], *, hostname: str, host_key: SshKey) -> str:
    """The cloud-config for a node.

    The install script waits for the private address by itself: Hetzner attaches the private network after the first
    boot has begun. Its output goes to a file on the server, since nobody sees a console.
    """
    document: dict[str, Any] = {
        "hostname": hostname,
        "disable_root": False,
        "ssh_pwauth": False,
        "ssh_deletekeys": True,
        "ssh_keys": {"ed25519_private": host_key.private, "ed25519_public": host_key.public},
        "write_files": [
            {
                "path": file.path,
                "permissions": f"{file.mode:04o}",
                "owner": "root:root",
                "encoding": "b64",
                "content": base64.b64encode(without_comments(file.content).encode()).decode(),
            }
            for file in sorted(files, key=lambda file: file.path)
        ],
        "runcmd": [["sh", "-c", f"umask 077; exec {INSTALL_SCRIPT} >>{INSTALL_LOG} 2>&1"]],
    }
    text = "#cloud-config\n" + as_yaml(document)
    size = len(text.encode())
    if size > USER_DATA_LIMIT:
        largest = sorted(files, key=lambda file: len(file.content), reverse=True)[:3]
        sizes = ", ".join(f"{file.path} {len(file.content.encode())}" for file in largest)
        raise UserDataError(
            f"user data of {hostname} has {size} bytes, Hetzner takes {USER_DATA_LIMIT}; "
            f"largest files, in bytes: {sizes}"
        )
    return text
