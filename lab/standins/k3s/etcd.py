"""The etcd of a cluster with several servers: members, and the little that servers leave each other in it.

It speaks etcd's own JSON gateway (https://etcd.io/docs/v3.6/dev-guide/api_grpc_gateway/), so what is refused is refused
by the real etcd and in its words.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import secrets
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.standins.k3s.certificates import KeyPair
from lab.standins.k3s.errors import StandInError
from lab.standins.k3s.files import write_file
from lab.standins.k3s.layout import ETCD_DIR, ETCD_PORT, ETCD_REQUEST_SECONDS, PEER_PORT

BOOTSTRAP_KEY = "/bootstrap/service.key"
"""k3s keeps what all servers share below /bootstrap, too: here it is the key that signs service accounts."""


class EtcdError(OSError):
    """etcd answered, but not with success."""


@dataclass(frozen=True)
class Member:
    """A member as etcd lists it; one that has never started has no name yet."""

    id: str
    name: str
    peer_urls: tuple[str, ...]
    learner: bool

    @property
    def node_name(self) -> str:
        """The node that it is on: k3s adds a hyphen and eight random digits."""
        return self.name.rpartition("-")[0]


@dataclass(frozen=True)
class EtcdMember:
    """How a member starts. With data etcd passes over ``initial_cluster`` and ``joins``."""

    name: str
    address: str
    initial_cluster: str
    joins: bool


class Etcd:
    """A blocking client of the member on a host."""

    def __init__(self, host: str, authority: Path, pair: KeyPair) -> None:
        self._host = host
        self._context = ssl.create_default_context(cafile=str(authority))
        self._context.load_cert_chain(str(pair.certificate), str(pair.key))

    def ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One call of the gateway; raises EtcdError, OSError or HTTPException."""
        connection = http.client.HTTPSConnection(
            self._host, ETCD_PORT, context=self._context, timeout=ETCD_REQUEST_SECONDS
        )
        with contextlib.closing(connection):
            connection.request("POST", f"/v3/{path}", json.dumps(body or {}), {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
        answer = json.loads(text) if text else {}
        if response.status >= 300:
            raise EtcdError(str(answer.get("message") or answer.get("error") or response.reason))
        return answer if isinstance(answer, dict) else {}

    def members(self) -> list[Member]:
        """All of them."""
        return [
            Member(
                member["ID"], member.get("name", ""), tuple(member.get("peerURLs") or ()), bool(member.get("isLearner"))
            )
            for member in self.ask("cluster/member/list")["members"]
        ]

    def add_learner(self, peer_url: str) -> None:
        """A member without a vote, until it has all data."""
        self.ask("cluster/member/add", {"peerURLs": [peer_url], "isLearner": True})

    def promote(self, member: Member) -> None:
        """Give a learner its vote; etcd refuses while it is behind."""
        self.ask("cluster/member/promote", {"ID": member.id})

    def remove(self, member: Member) -> None:
        """Take a member out; etcd refuses where that would cost the majority."""
        self.ask("cluster/member/remove", {"ID": member.id})

    def leads(self) -> bool:
        """Whether this member is the leader."""
        status = self.ask("maintenance/status")
        return bool(status["leader"] == status["header"]["member_id"])

    def put(self, key: str, value: bytes) -> None:
        """Keep a value."""
        self.ask("kv/put", {"key": _text(key.encode()), "value": _text(value)})

    def get(self, key: str) -> bytes | None:
        """The value, None where there is none."""
        found = self.ask("kv/range", {"key": _text(key.encode())}).get("kvs") or []
        return base64.b64decode(found[0]["value"]) if found else None


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def has_data() -> bool:
    """As k3s looks for it (IsInitialized in its pkg/etcd/etcd.go): then cluster-init and server are passed over."""
    return (ETCD_DIR / "member" / "wal").is_dir()


def in_a_cluster() -> bool:
    """Whether the data is that of one of several servers: only those have a name."""
    return has_data() and _name_file().exists()


def _name_file() -> Path:
    return ETCD_DIR / "name"


def new_name(node_name: str) -> str:
    """A name of its own for each life of a node's data, as k3s makes them. Kept with the data."""
    name = f"{node_name}-{secrets.token_hex(4)}"
    write_file(_name_file(), name)
    return name


def name() -> str:
    """The one that the data has."""
    return _name_file().read_text()


def peer_url(address: str) -> str:
    """Where the member on a node hears the others."""
    return f"https://{address}:{PEER_PORT}"


def share(own: Etcd, service_account_key: bytes) -> None:
    """Leaves the others what all servers share, where nobody has."""
    if own.get(BOOTSTRAP_KEY) is None:
        own.put(BOOTSTRAP_KEY, service_account_key)


def with_data(address: str) -> EtcdMember:
    """As it was before."""
    return EtcdMember(name(), address, f"{name()}={peer_url(address)}", joins=True)


def begun(node_name: str, address: str) -> EtcdMember:
    """The first member of a new cluster."""
    made = new_name(node_name)
    return EtcdMember(made, address, f"{made}={peer_url(address)}", joins=False)


def joined(etcd: Etcd, node_name: str, address: str) -> EtcdMember:
    """Makes this node a member by the one that is asked.

    In k3s's order (ETCD.join): a member at our address without a name is ours, of a run that was cut off; another of
    this node's name is refused until its Node is deleted.
    """
    own = peer_url(address)
    members = etcd.members()
    if any(member.name and member.node_name == node_name for member in members):
        raise StandInError(
            "starting kubernetes: preparing server: start managed database: failed to join etcd cluster: duplicate "
            "node name found, please use a unique name for this node"
        )
    if not any(own in member.peer_urls for member in members):
        etcd.add_learner(own)
    made = new_name(node_name)
    known = {url: member.name for member in members for url in member.peer_urls if member.name}
    cluster = ",".join(f"{name}={url}" for url, name in sorted({**known, own: made}.items()))
    return EtcdMember(made, address, cluster, joins=True)
