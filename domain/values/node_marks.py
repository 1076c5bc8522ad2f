"""Rules for labels and taints of Nodes, in the words of Kubernetes
(https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set,
https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/).
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, StrictStr

from domain.values.patterns import pattern
from domain.values.rule_error import RuleError

_NAME: Final = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_DOMAIN: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_KEY: Final = rf"({_DOMAIN}(\.{_DOMAIN})*/)?{_NAME}"
_VALUE: Final = rf"({_NAME})?"
DOMAIN_LIMIT: Final = 253
EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")
OWN_DOMAIN: Final = "isthmus.dev"
KUBERNETES_DOMAINS: Final = ("kubernetes.io", "k8s.io", "k3s.io", "cilium.io")
"""What is below these is set by Kubernetes, k3s and Cilium themselves."""
ROLE_PREFIX: Final = "node-role.kubernetes.io/"
"""What ``kubectl get nodes`` shows as the role of a node, and the kubelet may not set: for people to set."""
_ROLES_OF_K3S: Final = ("control-plane", "etcd", "master")


def _mark_key(key: str) -> str:
    """The name of a label or a taint."""
    if not re.fullmatch(_KEY, key, re.ASCII) or len(key.rpartition("/")[0]) > DOMAIN_LIMIT:
        raise RuleError("has not the form of a name in Kubernetes", "write it like workload or example.com/workload")
    domain = key.rpartition("/")[0]
    if domain == OWN_DOMAIN or domain.endswith(f".{OWN_DOMAIN}"):
        raise RuleError("is a name of this program", "take another one")
    return key


def label_key(key: str) -> str:
    """The name of a label that nobody else sets: not of this program, nor of Kubernetes, k3s or Cilium, but a role."""
    _mark_key(key)
    domain, _, name = key.rpartition("/")
    role = key.startswith(ROLE_PREFIX) and name not in _ROLES_OF_K3S
    if not role and any(domain == reserved or domain.endswith(f".{reserved}") for reserved in KUBERNETES_DOMAINS):
        raise RuleError(
            "is a label that Kubernetes sets itself", f"take another one, like example.com/workload or {ROLE_PREFIX}db"
        )
    return key


def label_value(value: str) -> str:
    """The value of a label: at most 63 letters, digits, dots, hyphens and underscores, or nothing."""
    if not re.fullmatch(_VALUE, value, re.ASCII):
        raise RuleError("is not a value that a label of Kubernetes may have", "write it like database")
    return value


def taint(value: str) -> str:
    """A taint as ``kubectl taint`` takes it, KEY=VALUE:EFFECT or KEY:EFFECT, that nobody else sets."""
    found = re.fullmatch(rf"(?P<key>{_KEY})(=(?P<value>{_VALUE}))?:(?P<effect>[A-Za-z]+)", value, re.ASCII)
    if found is None or found["effect"] not in EFFECTS:
        raise RuleError(
            f"is not a taint of the form KEY=VALUE:EFFECT with one of the effects {', '.join(EFFECTS)}",
            "write it like workload=database:NoSchedule",
        )
    domain = _mark_key(found["key"]).rpartition("/")[0]
    if any(domain == reserved or domain.endswith(f".{reserved}") for reserved in KUBERNETES_DOMAINS):
        raise RuleError("is a taint that Kubernetes sets itself", "take another one, like example.com/workload=db")
    return value


LabelKey = Annotated[StrictStr, AfterValidator(label_key), pattern(_KEY)]
LabelValue = Annotated[StrictStr, AfterValidator(label_value), pattern(_VALUE)]
Taint = Annotated[StrictStr, AfterValidator(taint), pattern(rf"{_KEY}(={_VALUE})?:({'|'.join(EFFECTS)})")]
