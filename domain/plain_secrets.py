"""No secret stands in plain text in a setting that is free enough to hold one: values for Cilium's chart, the agent's
environment, arguments and other texts for k3s.

What a secret looks like, and what a place is called that holds one, is ``secret_texts.py``'s. No message shows
a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from domain.cilium_values import fixed_values
from domain.k3s_rules import CREDENTIALS, SECRET_SETTING
from domain.netbird import FORBIDDEN_ENVIRONMENT
from domain.node_files import k3s_argument
from domain.problems import Problem, shown
from domain.secret_texts import holds_secret, names_secret
from domain.settings.draft import StackDraft, known

_TLS_KEY: Final = re.compile(r"(^|\.)tls\.([A-Za-z]+\.)*key$", re.ASCII)
"""Private keys among the values of Cilium's chart, in base64."""
_CERTIFICATE: Final = re.compile(r"(cert|crt|ca|caBundle\.content)$", re.ASCII | re.IGNORECASE)
"""Names of values that are certificates, which anybody may read."""
_PLAIN: Final = "is a secret, and stands here in plain text"
_ANEW: Final = "make a new one, since this one has been in the file"
VALUES_LIMIT: Final = 2000
"""Texts of ``cilium.values`` that are looked at; nobody has more."""


def no_secret_for_cilium(draft: StackDraft) -> Iterator[Problem]:
    """No secret stands in the values for Cilium's chart: they are plain text in the stack file and in its release."""
    if not (values := known(draft.settings, "cilium", "values")):
        return
    fixed = {clash.path for clash in fixed_values()}  # any other value than ours is refused there already
    for path, name, value in islice(_texts(values, "", ""), VALUES_LIMIT):
        if path in fixed:
            continue
        setting = f"cilium.values.{path}"
        public = _CERTIFICATE.search(name) and "PRIVATE KEY" not in value
        if (holds_secret(value) and not public) or _TLS_KEY.search(name) or names_secret(name):
            fix = f"name a Secret of the cluster instead, and {_ANEW}"
            yield Problem(draft.stack, setting, "", _PLAIN, fix)
        elif CREDENTIALS.search(value):
            rule = "holds a user name and a password, which stand here in plain text"
            yield Problem(draft.stack, setting, "", rule, f"write the address without them, and {_ANEW}")


def _texts(value: Any, path: str, name: str) -> Iterator[tuple[str, str, str]]:
    """Every text with its path and with the path of names that it belongs to: in a list of environment variables the
    variable's.
    """
    if isinstance(value, str):
        if value:
            yield path, name, value
    elif isinstance(value, Mapping):
        variable = value.get("name")
        for key, inner in value.items():
            below = f"{path}.{shown(key)}".lstrip(".")
            of_variable = variable if key == "value" and isinstance(variable, str) else None
            yield from _texts(inner, below, of_variable or f"{name}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _texts(inner, f"{path}.{index}", name if isinstance(inner, Mapping) else "")


def no_secret_in_environment(draft: StackDraft) -> Iterator[Problem]:
    """No secret stands in the agent's environment: it is plain text in the stack file and in the router's pod."""
    for name, value in (known(draft.settings, "netbird", "agent_env") or {}).items():
        if name in FORBIDDEN_ENVIRONMENT or CREDENTIALS.search(value) or not value:
            continue
        if names_secret(name) or holds_secret(value):
            yield Problem(draft.stack, f"netbird.agent_env.{name}", "", _PLAIN, f"remove it, and {_ANEW}")


def no_secret_in_arguments(draft: StackDraft) -> Iterator[Problem]:
    """No secret stands in an argument or another text for k3s."""
    for section in ("server_config", "agent_config"):
        for name, value in (known(draft.settings, "k3s", section) or {}).items():
            if SECRET_SETTING.search(name):  # told of by its name already
                continue
            for index, entry in enumerate(value if isinstance(value, tuple) else (value,)):
                if not isinstance(entry, str) or CREDENTIALS.search(entry):
                    continue
                place = f"k3s.{section}.{name}" + (f".{index}" if isinstance(value, tuple) else "")
                of_argument = name.endswith("-arg") and "=" in entry and names_secret(k3s_argument(entry))
                if of_argument or holds_secret(entry):
                    yield Problem(draft.stack, place, "", _PLAIN, f"remove it, and {_ANEW}")


def no_secret_in_registry(draft: StackDraft) -> Iterator[Problem]:
    """No user and password stand before the registry of k3s's own images, which is the name of a host."""
    for section in ("server_config", "agent_config"):
        registry = (known(draft.settings, "k3s", section) or {}).get("system-default-registry")
        if isinstance(registry, str) and "@" in registry and "://" not in registry:
            rule = "holds a user name and a password, which stand here in plain text"
            setting = f"k3s.{section}.system-default-registry"
            yield Problem(draft.stack, setting, "", rule, f"write the registry without them, and {_ANEW}")


SECRET_RULES: Final = (
    no_secret_for_cilium,
    no_secret_in_environment,
    no_secret_in_arguments,
    no_secret_in_registry,
)
