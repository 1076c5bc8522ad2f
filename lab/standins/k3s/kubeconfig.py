"""Kubeconfigs, for the components and for the administrator."""

from __future__ import annotations

import base64
from pathlib import Path

import yaml

from lab.standins.k3s.certificates import KeyPair


def kubeconfig(server: str, authority: Path, pair: KeyPair, *, embed: bool) -> str:
    """A kubeconfig in k3s's shape; with embed the certificates are in it instead of their paths."""

    def reference(name: str, path: Path) -> dict[str, str]:
        if embed:
            return {f"{name}-data": base64.b64encode(path.read_bytes()).decode()}
        return {name: str(path)}

    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "default", "cluster": {**reference("certificate-authority", authority), "server": server}}
        ],
        "users": [
            {
                "name": "default",
                "user": {
                    **reference("client-certificate", pair.certificate),
                    **reference("client-key", pair.key),
                },
            }
        ],
        "contexts": [{"name": "default", "context": {"cluster": "default", "user": "default"}}],
        "current-context": "default",
        "preferences": {},
    }
    return str(yaml.safe_dump(document))
