"""A kubeconfig as k3s writes it, made usable from elsewhere, and what one of somebody else's has in it. The one place
that reads kubeconfigs; it owns the reading and rewriting, not where the file comes from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from domain.names import API_PORT

TLS_SERVER_NAME: Final = "kubernetes.default.svc"
"""A name that every API server's certificate holds, so no public address has to be in it."""


class KubeconfigError(ValueError):
    """Text that is no kubeconfig, or none of k3s. The message never shows any of it: a kubeconfig is a secret."""


def rewrite(kubeconfig: str, address: IPv4Address | str, context: str) -> str:
    """The kubeconfig with one cluster, user and context, all called ``context``, and the server at ``address``.

    Equal input gives equal bytes. Raises :class:`KubeconfigError`.
    """
    document = _read(kubeconfig, "the machine's kubeconfig is not YAML")
    cluster = _only(document, "clusters", "cluster")
    user = _only(document, "users", "user")
    for name in ("server", "certificate-authority-data"):
        if not isinstance(cluster.get(name), str):
            raise KubeconfigError(f"the machine's kubeconfig has no {name}")
    cluster = {
        "certificate-authority-data": cluster["certificate-authority-data"],
        "server": f"https://{address}:{API_PORT}",
        "tls-server-name": TLS_SERVER_NAME,
    }
    result = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": cluster}],
        "users": [{"name": context, "user": user}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
        "preferences": {},
    }
    text: str = yaml.safe_dump(result, default_flow_style=False, sort_keys=True, width=10**6)
    return text


def context_names(kubeconfig: str) -> list[str]:
    """The names of its contexts, at least one. Raises :class:`KubeconfigError`, whose text reads on from the setting's
    name.
    """
    found = [entry.get("name") for entry in _entries(_read(kubeconfig, "is not YAML"), "contexts")]
    names = [name for name in found if isinstance(name, str)]
    if not names:
        raise KubeconfigError("is not a kubeconfig: it has no contexts")
    return names


@dataclass(frozen=True)
class Access:
    """What a context of a kubeconfig leads to: the entries of its cluster and its user, as they stand there."""

    cluster: Mapping[str, Any] = field(repr=False)
    user: Mapping[str, Any] = field(repr=False)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the API server. Raises :class:`KubeconfigError` where none is named."""
        try:
            url = urlsplit(str(self.cluster.get("server") or ""))
            host, port = url.hostname, url.port or 443
        except ValueError:
            host, port = None, 443
        if not host:
            raise KubeconfigError("the kubeconfig names no server")
        return host, port


def access(kubeconfig: str, context: str | None = None) -> Access:
    """What the context leads to; without one the kubeconfig's current context. Raises :class:`KubeconfigError`."""
    document = _read(kubeconfig, "the kubeconfig is not YAML")
    name = context or (document.get("current-context") if isinstance(document, dict) else None)
    chosen = _named(document, "contexts", name)
    if chosen is None:
        which = f"{context} among its contexts" if context else "current context"
        raise KubeconfigError(f"the kubeconfig has no {which}")
    cluster, user = _named(document, "clusters", chosen.get("cluster")), _named(document, "users", chosen.get("user"))
    if cluster is None or user is None:
        raise KubeconfigError(f"the kubeconfig's context leads to no {'cluster' if cluster is None else 'user'}")
    return Access(cluster, user)


def _read(kubeconfig: str, otherwise: str) -> Any:
    """The document; a parser's own error would show a piece of the text."""
    try:
        return yaml.safe_load(kubeconfig)
    except (yaml.YAMLError, RecursionError, ValueError):
        raise KubeconfigError(otherwise) from None


def _entries(document: Any, plural: str) -> list[dict[str, Any]]:
    entries = document.get(plural) if isinstance(document, dict) else None
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _named(document: Any, plural: str, name: object) -> dict[str, Any] | None:
    """The content of the entry of that name, which lies below the kind's singular."""
    for entry in _entries(document, plural):
        content = entry.get(plural.removesuffix("s"))
        if isinstance(name, str) and entry.get("name") == name and isinstance(content, dict):
            return dict(content)
    return None


def _only(document: Any, plural: str, singular: str) -> dict[str, Any]:
    entries = document.get(plural) if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) != 1 or not isinstance(entries[0], dict):
        raise KubeconfigError(f"the machine's kubeconfig has not exactly one entry in {plural}")
    entry = entries[0].get(singular)
    if not isinstance(entry, dict):
        raise KubeconfigError(f"the machine's kubeconfig has no {singular} in {plural}")
    return entry
