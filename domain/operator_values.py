"""Values for the chart of NetBird's operator (charts/netbird-operator in netbirdio/kubernetes-operator, 0.8.0).

Nothing of a user's goes in (docs/decisions.md). What is set here keeps the operator from standing in the way of a
cluster: its webhook, its certificates, its token.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from domain.namespace_owner import OWNER, OWNER_LABEL
from domain.netbird import API_KEY_ENTRY, API_KEY_SECRET, NAMESPACE

SIDECARS_LABEL: Final = "isthmus.dev/netbird-sidecars"
"""On a namespace, with any value: the operator's pod webhook is asked for its pods, and so SidecarProfiles work."""
TOKEN_ANNOTATION: Final = "isthmus.dev/netbird-token"
"""On the operator's pods, which read the token once, at their start: another value lets them start anew."""


def namespace_object(*, theirs: bool) -> dict[str, Any]:
    """The operator's namespace; without our mark where it is that of somebody else."""
    owner = {} if theirs else {"labels": {OWNER_LABEL: OWNER}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, **owner}}


def token_secret(token: object) -> dict[str, Any]:
    """The access token, which may be known later."""
    metadata = {"name": API_KEY_SECRET, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {API_KEY_ENTRY: token}}


def operator_values(management_url: object, agent_image: object, token: object) -> dict[str, Any]:
    """The values, each of which may be known later. ``token`` is what :func:`token_mark` makes of the access token.

    Without cert-manager the chart makes a certificate authority for its webhook. ``keepTLSSecret``, which it reads at
    the root (templates/_helpers.tpl:95), keeps that over upgrades; with a new one the API server trusts a certificate
    that the running operator does not have. Below ``webhook``, next to its siblings, it would have no effect.

    The webhook looks at every new pod of the cluster and by default no pod is made without its word, those of CoreDNS,
    Cilium and the router included. ``Ignore`` alone does not help where it does answer: it refuses pods when the kind
    SidecarProfile is missing, and holds each up for 10 s while the operator's node is dead. So it is asked in
    namespaces alone that ask for it.
    """
    return {
        "managementURL": management_url,
        "routingClientImage": agent_image,
        "netbirdAPI": {"keyFromSecret": {"name": API_KEY_SECRET, "key": API_KEY_ENTRY}},
        "keepTLSSecret": True,
        "webhook": {
            "enableCertManager": False,
            "failurePolicy": "Ignore",
            "namespaceSelectors": [{"key": SIDECARS_LABEL, "operator": "Exists"}],
        },
        "operator": {"podAnnotations": {TOKEN_ANNOTATION: token}},
    }


def token_mark(token: str, stack: str) -> str:
    """Another text for another token, of which it tells nothing: 12 hexadecimal digits.

    It stands in plain text in the state and in the cluster. So the stack is the salt (two stacks with one token don't
    show it), guessing costs scrypt's time, and the digits that are left fit any number of guesses.
    """
    salt = f"isthmus/v1/{stack}/netbird token".encode()
    return hashlib.scrypt(token.encode(), salt=salt, n=2**14, r=8, p=1, dklen=6).hex()
