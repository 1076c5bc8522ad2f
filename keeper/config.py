"""What a keeper is told: ``keeper.json`` (a ConfigMap that may change while it runs), and its environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, Final

VERSION: Final = 1
"""Of the file. A later one is read as well: what is not known is ignored."""


class BadConfig(Exception):
    """The file says something that no keeper can work with. The text names file, entry and value."""


@dataclass(frozen=True)
class Peer:
    """Another cluster. ``routers`` is {node: NetBird address}; ``port`` of its keepers, None where it has none."""

    routers: Mapping[str, str]
    ranges: tuple[str, ...]
    policy: str
    port: int | None


@dataclass(frozen=True)
class Config:
    """``routers`` of the own cluster is {node: node address}; ``peers`` is {cluster: Peer}; ``metrics`` says whether
    they are given at the node's address as well.
    """

    cluster: str
    port: int
    interface: str
    routers: Mapping[str, str]
    pod_cidr: str
    peers: Mapping[str, Peer] = field(default_factory=dict)
    metrics: bool = False

    def cluster_at(self, address: str) -> str | None:
        """The peer one of whose routers has this NetBird address."""
        return next((name for name, peer in self.peers.items() if address in peer.routers.values()), None)


def parse_config(text: str, source: str = "keeper.json") -> Config:
    """The file's content. BadConfig for whatever is missing or of the wrong kind; unknown entries are ignored."""
    try:
        data = json.loads(text)
        peers = {
            str(name): Peer(
                routers=_addresses(peer["routers"]),
                ranges=tuple(str(IPv4Network(range_)) for range_ in peer["ranges"]),
                policy=str(peer["policy"]),
                port=None if peer.get("port") is None else _port(peer["port"]),
            )
            for name, peer in data.get("peers", {}).items()
        }
        return Config(
            cluster=str(data["cluster"]),
            port=_port(data["port"]),
            interface=str(data.get("interface", "wt0")),
            routers=_addresses(data["routers"]),
            pod_cidr=str(IPv4Network(data["pod_cidr"])),
            peers=peers,
            metrics=data.get("metrics") is True,
        )
    except KeyError as error:
        raise BadConfig(f"{source}: {error.args[0]} is missing") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise BadConfig(f"{source}: {error}") from error


def _addresses(found: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(IPv4Address(address)) for name, address in sorted(found.items())}


def _port(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65536:
        raise ValueError(f"port {value!r} is none")
    return value


class ConfigFile:
    """The file, read anew when it has changed. What can't be read leaves what was read before in force."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self.problem = ""
        """Why the file as it is now is not in force; empty when it is."""

    def changed(self) -> Config | None:
        """The file's new content, None when it is the old one or no good. A ConfigMap is replaced by a new inode."""
        try:
            stat = self._path.stat()
            mark = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if mark == self._seen:
                return None
            found = parse_config(self._path.read_text(encoding="utf-8"), str(self._path))
        except (OSError, BadConfig) as error:
            self.problem = str(error)
            return None
        self._seen, self.problem = mark, ""
        return found
