"""What the keepers of a cluster's routers are told, and the archive that they run. Pure; the keeper itself is the
package ``keeper/``, which is delivered as it stands.

A keeper speaks of what it sees in lines that :func:`read_status` reads.
"""

from __future__ import annotations

import bz2
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from domain.egress_policy import egress_policy_name
from domain.link import Link
from domain.overlay import NETBIRD_INTERFACE
from domain.plan import AddressPlan

KEEPER_OUTPUT: Final = "keeper"
"""Of the stack, beside the link: the first program to read one refused what it did not know in it."""
CONFIG_VERSION: Final = 1
"""Of keeper.json. A keeper ignores what it does not know, so only a changed meaning makes another version."""
PROGRAM_LIMIT: Final = 1024 * 1024
"""Bytes that the API server takes as the data of a ConfigMap (MaxSecretSize in pkg/apis/core/types.go, which counts for
both).
"""
PROGRAM_START: Final = "keeper/archive.py"
"""What Python runs of the archive, as its ``__main__.py``."""
PROGRAM_PACKED: Final = "keeper.json.bz2"
"""Where it finds the package, {path: source}."""
_FIRST_DATE: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip file knows."""


class ProgramError(ValueError):
    """The keeper can't be delivered as it is. The text says why and what to do."""


def keeper_config(
    plan: AddressPlan,
    port: int,
    links: Sequence[Link],
    peer_ports: Mapping[str, int | None],
    *,
    metrics: bool = False,
) -> dict[str, Any]:
    """The content of keeper.json. ``peer_ports`` is {peer: port of its keepers}, None where it has none; ``metrics``
    whether they are given at the node's address.
    """
    return {
        # Said only where it is so: a changed file is read anew by every keeper.
        **({"metrics": True} if metrics else {}),
        "version": CONFIG_VERSION,
        "cluster": plan.cluster,
        "port": port,
        "interface": NETBIRD_INTERFACE,
        "routers": {node.name: str(node.address) for node in plan.routers},
        "pod_cidr": str(plan.pod_cidr),
        "peers": {
            link.cluster: {
                "routers": {router.node: str(router.peer_ip) for router in link.routers},
                "ranges": [str(network) for network in link.destinations],
                "policy": egress_policy_name(link.cluster),
                "port": peer_ports.get(link.cluster),
            }
            for link in links
        },
    }


def keeper_output(port: int | None) -> dict[str, Any] | None:
    """What the stack says of its keepers to its peers' stacks; None where it has none."""
    return None if port is None else {"port": port}


def peer_port(output: object) -> int | None:
    """The port in a peer's :func:`keeper_output`; None where there is none: an older program, or no keepers."""
    port = output.get("port") if isinstance(output, Mapping) else None
    # The engine gives every number as a float.
    if isinstance(port, bool) or not isinstance(port, int | float) or port != int(port) or not 0 < port < 65536:
        return None
    return int(port)


def config_text(config: Mapping[str, Any]) -> str:
    """Equal content, equal bytes."""
    return json.dumps(config, indent=1, sort_keys=True) + "\n"


def keeper_program(files: Mapping[str, bytes], limit: int = PROGRAM_LIMIT) -> bytes:
    """The archive, of the package's files by their paths (``keeper/service.py``): equal files, equal bytes.

    The engine hands every value to and fro some ten times in a preview and writes each into its log, so the package is
    compressed, to a quarter. Not by deflate, although Python could import from that by itself: its implementations
    differ in what they write, and with the bytes a ConfigMap and every keeper would change whenever another machine
    runs ``up``. What bzip2 writes has been the same since its 1.0.3 of 2005 (``maxLen`` in its compress.c).

    Raises ProgramError where it is longer than ``limit``, in bytes, and where there is nothing that could be started.
    """
    for needed in (PROGRAM_START, "keeper/__main__.py"):
        if needed not in files:
            raise ProgramError(f"the package keeper has no {needed} among {', '.join(sorted(files)) or 'no files'}")
    sources = json.dumps({name: content.decode() for name, content in files.items()}, sort_keys=True)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as zipped:
        for name, content in {
            "__main__.py": files[PROGRAM_START],
            PROGRAM_PACKED: bz2.compress(sources.encode()),
        }.items():
            entry = zipfile.ZipInfo(name, _FIRST_DATE)
            entry.create_system = 3  # else it is that of the machine
            entry.external_attr = 0o644 << 16
            zipped.writestr(entry, content)
    made = archive.getvalue()
    if len(made) > limit:
        largest = ", ".join(
            f"{name} {len(files[name])}" for name in sorted(files, key=lambda path: -len(files[path]))[:3]
        )
        raise ProgramError(
            f"the keeper has {len(made)} bytes, and a ConfigMap takes {limit}; its largest files: {largest}"
        )
    return made


# --- what a keeper says ----------------------------------------------------------------------------------------------


class _Said(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _PeerSaid(_Said):
    good: bool
    reason: str | None = None
    tunnel: bool | None = None


class _StatusSaid(_Said):
    self_ok: bool
    self_reasons: tuple[str, ...] = ()
    peers: Mapping[str, _PeerSaid] = Field(default_factory=dict)


@dataclass(frozen=True)
class KeeperStatus:
    """What a keeper saw last: why its own node is not in order, and {peer: why its link is not}; empty texts and lists
    where all is well. ``without_tunnel`` are peers from whom nothing has come through WireGuard yet; a keeper of before
    does not say so of any.
    """

    own: tuple[str, ...]
    peers: Mapping[str, str]
    without_tunnel: frozenset[str] = frozenset()


def read_status(log: str) -> KeeperStatus | None:
    """The last status in a keeper's log (``STATUS {...}``); None where there is none that can be read."""
    for line in reversed(log.splitlines()):
        word, _, text = line.partition(" ")
        if word != "STATUS":
            continue
        try:
            said = _StatusSaid.model_validate_json(text)
        except ValidationError:
            continue
        return KeeperStatus(
            own=() if said.self_ok else (said.self_reasons or ("its node is not in order",)),
            peers={
                name: "" if peer.good else (peer.reason or "it does not say why") for name, peer in said.peers.items()
            },
            without_tunnel=frozenset(name for name, peer in said.peers.items() if peer.tunnel is False),
        )
    return None


def why_not(statuses: Mapping[str, KeeperStatus], peer: str) -> str:
    """The keepers' words on a link that is not there, by their nodes: ``mn-2: no answer of de-agent-1``; empty where
    they have none.
    """
    said = []
    for node, status in sorted(statuses.items()):
        # A keeper names its node where a reason is its own, which is one of the others then.
        words = dict.fromkeys((*status.own, status.peers.get(peer, "").removeprefix(f"{node}: ")))
        if said_here := "; ".join(word for word in words if word):
            said.append(f"{node}: {said_here}")
    return ". ".join(said)
