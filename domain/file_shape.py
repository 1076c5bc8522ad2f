"""Where in a stack file the settings stand, and where people put them instead. Owns the hints for the latter.

Settings in a wrong place are read as they were meant, so that their file has one mistake and not a dozen missing ones.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from domain.names import PROJECT
from domain.places.registry import namespaces, secrets, sections
from domain.problems import Problem, shown
from domain.project_file import in_our_namespace
from domain.secret_texts import has_secret_form, holds_secret, names_secret
from domain.settings.draft import Encrypted
from domain.settings.secrets import Secret

CONFIG: Final = "config"


def is_config(key: str) -> bool:
    """Whether this key at the top is meant to be ``config``."""
    if key.lower() in (CONFIG, "configs", "configuration"):
        return True
    return 4 <= len(key) <= 8 and bool(difflib.get_close_matches(key.lower(), [CONFIG], n=1, cutoff=0.8))


def is_setting(key: str) -> bool:
    """Whether this key, without ``config``, names settings of ours, with the namespace or without."""
    namespace, colon, _ = key.partition(":")
    if colon:
        return namespace == PROJECT or namespace in namespaces()
    return key in sections() or f"{PROJECT}:{key}" in secrets()


def config_of(
    document: Mapping[str, Any], namespace: str = PROJECT
) -> tuple[dict[str, Any], list[tuple[str, str, str]]]:
    """All settings of the document by their whole keys, and the hints: key, rule and fix. ``namespace`` is the
    project's; its settings get ours.
    """
    config: dict[str, Any] = {}
    hints: list[tuple[str, str, str]] = []
    for written, content in document.items():
        key, value = in_our_namespace(written, namespace), content
        if isinstance(value, Mapping) and (key == CONFIG or is_config(key)):
            value = {in_our_namespace(name, namespace): part for name, part in content.items()}
        if key == CONFIG:
            _take(value, config, hints)
            _of_other_projects(config, hints, namespace)
        elif is_config(key) and isinstance(value, Mapping) and CONFIG not in document:
            hints.append((key, "is unknown to Pulumi, which reads settings below config alone", "write config"))
            _take(value, config, hints)
        elif key == PROJECT and isinstance(value, Mapping):
            _nested(value, config, hints)
        elif is_setting(key):
            whole = key if ":" in key else f"{PROJECT}:{key}"
            rule = "stands at the top of the file, where Pulumi reads no settings"
            hints.append((key, rule, f"move it below config:, indented, as {shown(whole)}"))
            config.setdefault(whole, value)
    return config, hints


def _take(values: Any, config: dict[str, Any], hints: list[tuple[str, str, str]]) -> None:
    for key, value in (values or {}).items():
        if key == PROJECT and isinstance(value, Mapping):
            _nested(value, config, hints)
        elif ":" in key:
            config[key] = value
        else:
            rule = f"has no namespace; settings of this program start with {PROJECT}:"
            hints.append((key, rule, f"write {PROJECT}:{shown(key)}"))
            if is_setting(key):
                config.setdefault(f"{PROJECT}:{key}", value)


def _of_other_projects(config: dict[str, Any], hints: list[tuple[str, str, str]], namespace: str) -> None:
    """Settings of ours under the name of a project that this one is not."""
    if any(is_setting(key) and key.startswith(f"{PROJECT}:") for key in config):
        return
    others = {key.partition(":")[0] for key in config if key.endswith(":network")} - {PROJECT}
    for other in sorted(others):
        rule = f"is of a project {shown(other)}, and this one is called {shown(namespace)}"
        fix = f"write {namespace}: before each, or write name: {shown(other)} in Pulumi.yaml"
        hints.append((f"{other}:network", rule, fix))
        for key in [key for key in config if key.startswith(f"{other}:")]:
            config.setdefault(in_our_namespace(key, other), config.pop(key))


def _nested(values: Mapping[str, Any], config: dict[str, Any], hints: list[tuple[str, str, str]]) -> None:
    example = shown(next(iter(values), "network"))
    rule = f"holds settings as one object; to Pulumi {PROJECT} is a namespace, which stands before the name of each"
    hints.append((PROJECT, rule, f"write them one by one, like {PROJECT}:{example}"))
    for name, value in values.items():
        config.setdefault(f"{PROJECT}:{name}", value)


# --- what is encrypted -----------------------------------------------------------------------------------------------


def is_encrypted(value: object) -> bool:
    """Whether the value has the form that Pulumi gives an encrypted one."""
    return isinstance(value, Mapping) and set(value) == {"secure"}


def secret_faults(stack: str, secret: Secret, value: object) -> Iterator[tuple[str, str]]:
    """Rule and fix where a secret is not there as Pulumi encrypts it."""
    command = secret.command.format(stack=stack)
    if not is_encrypted(value):
        yield "stands in plain text", f"make a new one and set it: `{command}`"
        return
    text = value["secure"] if isinstance(value, Mapping) else ""
    if isinstance(text, str) and has_secret_form(text):
        yield "stands in plain text behind secure:", f"make a new one and set it: `{command}`"
    elif not isinstance(text, str) or not text or not text.isascii() or any(sign in text for sign in " \t\n<>"):
        yield "is marked as encrypted (secure:), and what stands there is not of Pulumi", f"set it: `{command}`"


def without_encrypted(key: str, value: Any) -> tuple[Any, list[str]]:
    """The value of a plain section with every field that is encrypted, or has such a part, marked; and the places."""
    if is_encrypted(value):
        return Encrypted(), [key]
    if not isinstance(value, Mapping):
        places = list(_encrypted_in(value, key))
        return (Encrypted() if places else value), places
    found: list[str] = []
    result = {}
    for name, inner in value.items():
        places = list(_encrypted_in(inner, f"{key}.{name}"))
        found += places
        result[name] = Encrypted() if places else inner
    return (result if found else value), found


def _encrypted_in(value: Any, place: str) -> Iterator[str]:
    if is_encrypted(value):
        yield place
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _encrypted_in(inner, f"{place}.{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _encrypted_in(inner, f"{place}.{index}")


_HANDED_ON: Final = {
    "cilium": "name a Secret of the cluster instead",
    "k3s": "remove it; what k3s needs for S3 goes into a Secret of the cluster, which etcd-s3-config-secret names",
    "netbird": "remove it",
}
"""Sections with settings that may hold anything, and what to do about a secret there: they become files of the nodes,
a release of Helm, and the environment of a pod."""


def encrypted_setting(stack: str, place: str, line: int | None) -> Problem:
    """That a plain setting is encrypted. Where a secret stands, its user is not told to write it in plain."""
    section, _, name = place.partition(".")
    if section in _HANDED_ON and (names_secret(name) or name.endswith(".value")):
        rule = "is encrypted (secure:), and would be plain text where it is used"
        return Problem(stack, shown(place), "", rule, _HANDED_ON[section], line)
    rule = "is encrypted (secure:) and is no secret; every check of the fleet has to read it"
    path = re.sub(r"\.([0-9]+)(?=\.|$)", r"[\1]", f"{PROJECT}:{place}")
    fix = f"set it in plain: `pulumi config set --path '{path}' VALUE -s {stack}`"
    return Problem(stack, shown(place), "", rule, "set it in plain" if holds_secret(path) else fix, line)
