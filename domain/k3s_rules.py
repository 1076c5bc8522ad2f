"""Rules for the further settings of k3s (``k3s.server_config``, ``k3s.agent_config``), beyond their form.

It owns what may stand there. The lists of what the program sets itself are ``node_files.py``'s, which writes the file.
Values are not shown, but for names that we know: somebody may have put a token there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from domain.node_files import (
    FORBIDDEN_K3S_ARGUMENTS,
    FORBIDDEN_K3S_SETTINGS,
    NEEDED_ADDONS,
    fixed_k3s_setting,
    k3s_argument,
)
from domain.problems import Problem
from domain.settings.draft import StackDraft, known
from domain.values.services import switched_on

NODE_PODS: Final = 252
"""Pods that a node's /24 has addresses for: 256 without the first and the last one, the node's own in the network of
the pods, and that of Cilium's health check."""
SECRET_SETTING: Final = re.compile(r"(^|-)(password|passphrase|secret-key|access-key|session-token|api-key|auth-key)$")
"""How the name of a setting of k3s ends whose value is a secret."""
CREDENTIALS: Final = re.compile(r"://[^/\s@]*:[^/\s@]*@")
"""A user name and a password in an address."""

Value = object
"""Of one setting: a text, a number, a truth value, or a tuple of texts."""


def k3s_settings_allowed(draft: StackDraft) -> Iterator[Problem]:
    """No further setting of k3s is one that the program sets, or that would break the link."""
    for section, name, value in _settings(draft):
        setting = f"k3s.{section}.{name}"
        if name == "disable":
            yield from _addons(draft.stack, setting, value)
        elif (reason := FORBIDDEN_K3S_SETTINGS.get(name)) is not None:
            yield Problem(draft.stack, setting, "", f"is not for you to set: {reason}", "remove it")
        elif fixed_k3s_setting(name):
            yield Problem(draft.stack, setting, "", "is not for you to set: the program sets it", "remove it")
        elif (arguments := FORBIDDEN_K3S_ARGUMENTS.get(name)) is not None:
            for place, argument, _ in _arguments(setting, value):
                if (reason := arguments.get(argument)) is not None:
                    yield Problem(draft.stack, place, argument, f"is not for you to set: {reason}", "remove it")


def no_cloud_controller(draft: StackDraft) -> Iterator[Problem]:
    """k3s's own cloud controller stays: without one every Node keeps the taint with which it waits for it."""
    for section, name, value in _settings(draft):
        if name == "disable-cloud-controller" and switched_on(value):
            setting = f"k3s.{section}.{name}"
            rule = (
                "switches off what takes the taint off new Nodes, and nothing else here does; no pod would ever start"
            )
            yield Problem(draft.stack, setting, "", rule, "remove it")


def pods_for_the_range(draft: StackDraft) -> Iterator[Problem]:
    """No node takes more pods than its /24 has addresses."""
    for section, name, value in _settings(draft):
        if name != "kubelet-arg":
            continue
        for place, argument, number in _arguments(f"k3s.{section}.{name}", value):
            if argument == "max-pods" and re.fullmatch(r"[0-9]{1,9}", number) and int(number) > NODE_PODS:
                rule = f"is more than {NODE_PODS}, the pods that a node's /24 of network.pod_cidr has addresses for"
                yield Problem(draft.stack, place, f"max-pods={int(number)}", rule, f"take at most {NODE_PODS}")


def no_secret_for_k3s(draft: StackDraft) -> Iterator[Problem]:
    """No secret stands in the settings of k3s: they are plain text in the stack file."""
    for section, name, value in _settings(draft):
        setting = f"k3s.{section}.{name}"
        if name in FORBIDDEN_K3S_SETTINGS or fixed_k3s_setting(name):
            continue
        if SECRET_SETTING.search(name):
            fix = "remove it, and make a new one, since this one has been in the file"
            if name.startswith("etcd-s3-"):
                fix = "put a new one into a Secret of the cluster, and name that by etcd-s3-config-secret"
            yield Problem(draft.stack, setting, "", "is a secret, and stands here in plain text", fix)
        elif any(CREDENTIALS.search(str(text)) for text in (value if isinstance(value, tuple) else (value,))):
            rule = "holds a user name and a password, which stand here in plain text"
            yield Problem(draft.stack, setting, "", rule, "write the address without them")


K3S_RULES: Final = (k3s_settings_allowed, no_cloud_controller, pods_for_the_range, no_secret_for_k3s)


def _settings(draft: StackDraft) -> Iterator[tuple[str, str, Value]]:
    """Section, name and value of each."""
    for section in ("server_config", "agent_config"):
        for name, value in (known(draft.settings, "k3s", section) or {}).items():
            yield section, name, value


def _addons(stack: str, setting: str, value: Value) -> Iterator[Problem]:
    """k3s splits every entry at its commas (https://docs.k3s.io/installation/packaged-components)."""
    entries = value if isinstance(value, tuple) else (str(value),)
    for addon in dict.fromkeys(word.strip() for entry in entries for word in entry.split(",")):
        if addon in NEEDED_ADDONS:
            yield Problem(stack, setting, addon, f"is needed: {NEEDED_ADDONS[addon]}", "remove it")


def _arguments(setting: str, value: Value) -> Iterator[tuple[str, str, str]]:
    """The place, the name and the value of each argument in a list ``...-arg``. What stands behind a comma counts as
    one too: whether Kubernetes splits there or not, it was meant so.
    """
    for index, entry in enumerate(value if isinstance(value, tuple) else (str(value),)):
        place = f"{setting}.{index}" if isinstance(value, tuple) else setting
        for part in entry.split(","):
            yield place, k3s_argument(part), part.partition("=")[2].strip()
