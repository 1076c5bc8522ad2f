"""A kubeconfig as k3s writes it, made usable from elsewhere, and what one of somebody else's has in it. Owns the
reading and rewriting, not where the file comes from.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any, Final

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
    try:
        document = yaml.safe_load(kubeconfig)
    except (yaml.YAMLError, RecursionError, ValueError):
        raise KubeconfigError("the machine's kubeconfig is not YAML") from None
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
    try:
        document = yaml.safe_load(kubeconfig)
    except (yaml.YAMLError, RecursionError, ValueError):
        raise KubeconfigError("is not YAML") from None
    entries = document.get("contexts") if isinstance(document, dict) else None
    found = [entry.get("name") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    names = [name for name in found if isinstance(name, str)]
    if not names:
        raise KubeconfigError("is not a kubeconfig: it has no contexts")
    return names


def _only(document: Any, plural: str, singular: str) -> dict[str, Any]:
    entries = document.get(plural) if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) != 1 or not isinstance(entries[0], dict):
        raise KubeconfigError(f"the machine's kubeconfig has not exactly one entry in {plural}")
    entry = entries[0].get(singular)
    if not isinstance(entry, dict):
        raise KubeconfigError(f"the machine's kubeconfig has no {singular} in {plural}")
    return entry
