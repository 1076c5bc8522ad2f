"""What keepers say to each other, in one UDP datagram each.

A datagram is a line ``isthmus-keeper MAC`` and JSON. Between siblings MAC is HMAC-SHA256 of the JSON with the cluster's
key; through the tunnel, where WireGuard vouches for the sender and clusters share no key, it is ``-``. Unknown entries
of the JSON are ignored, missing ones have a default, so keepers of different versions understand each other.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any, Final, Literal

HEAD: Final = b"isthmus-keeper "
MAXIMUM: Final = 1200
"""Bytes of a datagram: it has to pass the tunnel in one piece (wt0 has 1280 by default)."""

MOST_BEYOND: Final = 8

Kind = Literal["beat", "probe", "answer", "through"]


class NotOurs(Exception):
    """A datagram that is no message of a keeper, or not from whom it says."""


@dataclass(frozen=True)
class Message:
    """``boot`` is a random number of the sender's process and ``sequence`` counts its messages: older ones are refused.

    ``ok`` is whether the sender's node is in order, None while it does not know yet. ``good`` is {peer: whether the
    sender reaches one of its routers, which is in order}. ``sees`` is {router of the receiver's cluster: whether it is
    in order as the sender sees it}. ``echo`` is what it answers: (boot, sequence) of the receiver's message. ``inner``
    is the sender's address in the pod range, ``beyond`` those of siblings that it hears, for :mod:`keeper.through`.
    ``unwell`` are siblings that say themselves that they are not in order: one without a tunnel has no other voice.
    """

    kind: Kind
    cluster: str
    node: str
    boot: str
    sequence: int
    ok: bool | None = None
    draining: bool = False
    good: Mapping[str, bool | None] = field(default_factory=dict)
    sees: Mapping[str, bool] = field(default_factory=dict)
    echo: tuple[str, int] | None = None
    inner: str = ""
    beyond: tuple[str, ...] = ()
    unwell: tuple[str, ...] = ()


def encode(message: Message, key: bytes | None) -> bytes:
    """The datagram. Without a key it is not authenticated."""
    content: dict[str, Any] = {
        "kind": message.kind,
        "cluster": message.cluster,
        "node": message.node,
        "boot": message.boot,
        "seq": message.sequence,
        "ok": message.ok,
    }
    if message.draining:
        content["draining"] = True
    if message.good:
        content["good"] = dict(message.good)
    if message.sees:
        content["sees"] = dict(message.sees)
    if message.echo:
        content["echo"] = list(message.echo)
    if message.inner:
        content["inner"] = message.inner
    if message.beyond:
        content["beyond"] = list(message.beyond)
    if message.unwell:
        content["unwell"] = list(message.unwell)
    body = json.dumps(content, separators=(",", ":")).encode()
    return HEAD + _mac(body, key) + b"\n" + body


def decode(data: bytes, key: bytes | None) -> Message:
    """The message in a datagram. NotOurs when it is none, or when ``key`` is given and the MAC is another."""
    head, newline, body = data.partition(b"\n")
    if not newline or not head.startswith(HEAD) or len(data) > MAXIMUM:
        raise NotOurs("no message of a keeper")
    # First of all: nothing of a stranger's is parsed.
    if key is not None and not hmac.compare_digest(head[len(HEAD) :], _mac(body, key)):
        raise NotOurs("not authenticated with the key of this cluster")
    try:
        return _message(json.loads(body))
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise NotOurs(f"a message of a keeper with wrong content: {error}") from error


def _mac(body: bytes, key: bytes | None) -> bytes:
    return b"-" if key is None else hmac.new(key, body, hashlib.sha256).hexdigest().encode()


def _message(content: Any) -> Message:
    kind = content["kind"]
    if kind not in ("beat", "probe", "answer", "through"):
        raise ValueError(f"kind {kind!r}")
    echo = content.get("echo")
    return Message(
        kind=kind,
        cluster=_word(content["cluster"]),
        node=_word(content["node"]),
        boot=_word(content["boot"]),
        sequence=_number(content["seq"]),
        ok=_verdict(content.get("ok")),
        draining=content.get("draining") is True,
        good={_word(name): _verdict(value) for name, value in dict(content.get("good", {})).items()},
        sees={_word(name): value is True for name, value in dict(content.get("sees", {})).items()},
        echo=(_word(echo[0]), _number(echo[1])) if echo else None,
        inner=_address(content.get("inner", "")),
        beyond=tuple(_address(address) for address in list(content.get("beyond", []))[:MOST_BEYOND]),
        unwell=tuple(_word(word) for word in list(content.get("unwell", []))[:MOST_BEYOND]),
    )


def _word(value: object) -> str:
    if not isinstance(value, str) or len(value) > 253:
        raise ValueError(f"not a name: {value!r:.40}")
    return value


def _address(value: object) -> str:
    return str(IPv4Address(_word(value))) if value else ""


def _number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise ValueError(f"not a number: {value!r:.40}")
    return value


def _verdict(value: object) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"neither true nor false: {value!r:.40}")
    return value
