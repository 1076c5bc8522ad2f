from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.messages import MAXIMUM, Message, NotOurs, decode, encode

KEY = b"k" * 32
NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-.", min_size=1, max_size=63)
MESSAGES = st.builds(
    Message,
    kind=st.sampled_from(["beat", "probe", "answer", "through"]),
    cluster=NAMES,
    node=NAMES,
    boot=NAMES,
    sequence=st.integers(0, 2**53 - 1),
    ok=st.none() | st.booleans(),
    draining=st.booleans(),
    good=st.dictionaries(NAMES, st.none() | st.booleans(), max_size=4),
    sees=st.dictionaries(NAMES, st.booleans(), max_size=4),
    echo=st.none() | st.tuples(NAMES, st.integers(0, 2**53 - 1)),
    inner=st.just("") | st.ip_addresses(v=4).map(str),
    unwell=st.lists(NAMES, max_size=8).map(tuple),
    beyond=st.lists(st.ip_addresses(v=4).map(str), max_size=8).map(tuple),
)
BEAT = Message(kind="beat", cluster="mn", node="mn-1", boot="b", sequence=1, ok=True)


@given(MESSAGES, st.none() | st.just(KEY))
def test_what_is_sent_is_what_is_read(message: Message, key: bytes | None) -> None:
    assert decode(encode(message, key), key) == message


@given(MESSAGES, st.data())
def test_a_changed_byte_is_seen(message: Message, data: st.DataObject) -> None:
    sent = bytearray(encode(message, KEY))
    at = data.draw(st.integers(0, len(sent) - 1))
    sent[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(NotOurs):
        decode(bytes(sent), KEY)


def test_another_key_or_none_is_refused() -> None:
    for key in (None, b"x" * 32):
        with pytest.raises(NotOurs, match="not authenticated"):
            decode(encode(BEAT, key), KEY)


@given(st.binary(max_size=200))
def test_rubbish_is_refused_and_nothing_else_happens(rubbish: bytes) -> None:
    for data in (rubbish, b"isthmus-keeper -\n" + rubbish):
        with pytest.raises(NotOurs):
            decode(data, None)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "order"},
        {"node": 7},
        {"node": "n" * 300},
        {"seq": -1},
        {"seq": True},
        {"ok": "yes"},
        {"good": ["de"]},
        {"good": {"de": 1}},
        {"echo": ["b"]},
        {"boot": None},
        {"inner": "10.52.1"},
        {"beyond": ["here"]},
    ],
)
def test_a_wrong_entry_is_refused(change: dict[str, object]) -> None:
    content = {"kind": "beat", "cluster": "mn", "node": "mn-1", "boot": "b", "seq": 1}
    good = b"isthmus-keeper -\n" + json.dumps(content).encode()
    assert decode(good, None).node == "mn-1"
    with pytest.raises(NotOurs):
        decode(b"isthmus-keeper -\n" + json.dumps(content | change).encode(), None)


def test_what_a_later_keeper_adds_is_ignored_and_what_it_leaves_out_has_a_default() -> None:
    content = {"kind": "answer", "cluster": "de", "node": "de-1", "boot": "b", "seq": 9, "colour": {"sky": "blue"}}
    assert decode(b"isthmus-keeper -\n" + json.dumps(content).encode(), None) == Message(
        kind="answer", cluster="de", node="de-1", boot="b", sequence=9
    )


def test_a_long_datagram_is_refused() -> None:
    with pytest.raises(NotOurs):
        decode(encode(BEAT, None) + b" " * MAXIMUM, None)


def test_a_cluster_of_many_peers_fits_into_the_tunnel() -> None:
    """Twenty peers of one keeper, by names of ordinary length, and the routers that it sees."""
    names = [f"cluster-{number:02}" for number in range(20)]
    beat = Message(kind="beat", cluster="de", node="de-agent-1", boot="f" * 16, sequence=2**40, ok=True)
    full = Message(
        **{
            **beat.__dict__,
            "good": dict.fromkeys(names, False),
            "echo": ("f" * 16, 2**40),
            "inner": "10.52.100.1",
            "beyond": ("10.52.100.1",) * 8,
        }
    )
    assert len(encode(full, KEY)) <= MAXIMUM
