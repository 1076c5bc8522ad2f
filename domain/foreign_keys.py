"""The ConfigMap ``coredns-custom`` is shared: some keys are ours, all others belong to whoever runs the cluster.

It tells which of the others' keys stand in the way of ours, and never what should become of them. CoreDNS imports all
``*.server`` keys into one Corefile and starts with no zone twice, so a key stands in the way by its name or by a zone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from domain.corefile import CUSTOM_CONFIG_MAP
from domain.names import FIELD_MANAGER

NAMESPACE: Final = "kube-system"
_IMPORTED: Final = ".server"
_PORT: Final = "53"
_SELECTS: Final = "view"
"""CoreDNS's plugin by which several blocks may serve one zone, each for other clients."""


@dataclass(frozen=True)
class Block:
    """A server block: what it serves, as ``zone:port``, and the names of the plugins in it."""

    serves: tuple[str, ...]
    plugins: frozenset[str]


def blocks(corefile: str) -> list[Block]:
    """The server blocks of a Corefile (https://coredns.io/manual/toc/#configuration). What is no Corefile has none."""
    found: list[Block] = []
    addresses: list[str] = []
    plugins: set[str] = set()
    depth = 0
    for line in _lines(corefile):
        if depth == 0 and line[0] == "import":
            continue
        if depth == 1 and line[0] not in ("{", "}"):
            plugins.add(line[0])
        for token in line:
            if token == "{":
                depth += 1
            elif token == "}":
                depth -= 1
                if depth == 0:
                    found.append(Block(tuple(_served(addresses)), frozenset(plugins)))
                    addresses, plugins = [], set()
            elif depth == 0:
                addresses.append(token)
    return found


def taken_names(live: Mapping[str, Any] | None, ours: Mapping[str, str], known: Collection[str]) -> list[str]:
    """Which of ``ours`` would overwrite a key of somebody else, each with the way out.

    ``live`` is the ConfigMap, None when there is none; ``known`` are the keys that the state holds as ours.
    """
    if live is None:
        return []
    data: Mapping[str, str] = live.get("data") or {}
    writers = _writers(live)
    return [
        f"{NAMESPACE}/{CUSTOM_CONFIG_MAP}: the key {key} is there already, {_by(writers, key)}; this program needs "
        f"that name and overwrites nobody's key: take it out with `{_removal(key)}`, then run the same command again"
        for key in sorted(set(ours) & set(data) - set(known))
        if FIELD_MANAGER not in writers.get(key, ()) and data[key] != ours[key]
    ]


def zones_twice(live: Mapping[str, Any] | None, ours: Mapping[str, str], known: Collection[str] = ()) -> list[str]:
    """Which keys of others serve a zone that one of ``ours`` serves, each with the way out; arguments as of
    :func:`taken_names`.
    """
    if live is None:
        return []
    data: Mapping[str, str] = live.get("data") or {}
    writers = _writers(live)
    said = []
    served = {zone: key for key, text in ours.items() for block in blocks(text) for zone in block.serves}
    for key in sorted(set(data) - set(ours) - set(known)):
        if not key.endswith(_IMPORTED) or FIELD_MANAGER in writers.get(key, ()):
            continue
        twice = {zone for block in blocks(data[key]) if _SELECTS not in block.plugins for zone in block.serves}
        said += [
            f"{NAMESPACE}/{CUSTOM_CONFIG_MAP}: the key {key}, {_by(writers, key)}, serves {zone}, which this program "
            f"serves by the key {served[zone]}; CoreDNS starts with no zone twice: take {zone.rpartition(':')[0]} out "
            f"of {key}, then run the same command again"
            for zone in sorted(twice & set(served))
        ]
    return said


def _removal(key: str) -> str:
    patch = f'[{{"op": "remove", "path": "/data/{key}"}}]'
    return f"kubectl -n {NAMESPACE} patch configmap {CUSTOM_CONFIG_MAP} --type=json -p '{patch}'"


def _by(writers: Mapping[str, Collection[str]], key: str) -> str:
    return f"written by {' and '.join(sorted(writers[key]))}" if key in writers else "written by somebody else"


def _writers(live: Mapping[str, Any]) -> dict[str, set[str]]:
    """Who wrote each key (https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management)."""
    found: dict[str, set[str]] = {}
    for entry in live.get("metadata", {}).get("managedFields") or []:
        for field in (entry.get("fieldsV1") or {}).get("f:data") or {}:
            found.setdefault(field.removeprefix("f:"), set()).add(str(entry.get("manager")))
    return found


def _served(addresses: list[str]) -> Iterator[str]:
    for address in addresses:
        name = address.rstrip(",")
        transport, separator, rest = name.partition("://")
        if separator and transport != "dns":
            continue
        name = rest if separator else name
        # A snippet, `(name)`, serves nothing.
        if not name or name.startswith("("):
            continue
        zone, colon, port = name.rpartition(":")
        zone, port = (zone, port) if colon and port.isdigit() else (name, _PORT)
        yield f"{zone.rstrip('.').lower() or '.'}:{port}"


def _lines(corefile: str) -> Iterator[list[str]]:
    """The tokens of each line that has any: parted by white space, "..." is one, # begins a comment."""
    for line in corefile.splitlines():
        tokens: list[str] = []
        rest = line.strip()
        while rest and not rest.startswith("#"):
            if rest.startswith('"'):
                token, _, rest = rest[1:].partition('"')
            else:
                token, *others = rest.split(maxsplit=1)
                rest = others[0] if others else ""
            tokens.append(token)
            rest = rest.strip()
        if tokens:
            yield tokens
