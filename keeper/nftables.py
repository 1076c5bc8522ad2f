"""Tables of nftables, taken down as the kernel tells them and laid again as they were.

The kernel's dump of a table, its chains, sets, elements and rules has nearly the form in which it takes them, so
they are not understood: what the kernel gives itself (handles, counts of users) is left out, a set gets the number that
the message for it needs, and an expression that writes an option of TCP (NetBird lowers the MSS by one) loses flags
that the kernel tells and does not take (nft_exthdr_tcp_set_init). Numbers are those of linux/netfilter/nf_tables.h
and nfnetlink.h.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from keeper.netlink import Netlink, attribute, attribute_list, attributes

SUBSYSTEM: Final = 10
NEWTABLE, GETTABLE, DELTABLE, NEWCHAIN, GETCHAIN, NEWRULE, GETRULE = 0, 1, 2, 3, 4, 6, 7
NEWSET, GETSET, NEWELEMENTS, GETELEMENTS, GETGENERATION = 9, 10, 12, 13, 16
CREATE, EXCLUSIVE, APPEND = 0x400, 0x200, 0x800
NAME: Final = 1
"""Attribute: of a table its name, of all else the name of its table."""
SET_NAME: Final = 2
SET_NUMBER: Final = 10
KERNELS_OWN: Final = {
    NEWTABLE: {3, 4},  # use, handle
    NEWCHAIN: {2, 6, 8},  # handle, use, counters
    NEWSET: {16, 19, 20},  # handle, type as a text, count
    NEWRULE: {3, 6},  # handle, position
}
EXPRESSIONS, EXPRESSION = 4, 1
EXPRESSION_NAME, EXPRESSION_DATA = 1, 2
OPTION, OPTION_FLAGS, OPTION_SOURCE = b"exthdr\0", 5, 7
HEADER: Final = 4
"""Bytes of struct nfgenmsg: family, version, a resource's number."""


@dataclass(frozen=True)
class Piece:
    """One table, chain, set, list of elements or rule. ``content`` are the attributes that make it again."""

    kind: int
    family: int
    content: bytes


def generation(netlink: Netlink) -> bytes:
    """Another one after every change of this network namespace's rules. OSError when the kernel has no nftables."""
    return attributes(netlink.ask(_kind(GETGENERATION), _header(0), 0)[0][HEADER:])[1]


def taken_down(netlink: Netlink, wanted: Callable[[str], bool]) -> tuple[Piece, ...] | None:
    """All of the tables with a wanted name, in the order in which they are laid again; empty where there is none,
    None where somebody changed them meanwhile.
    """
    before = generation(netlink)
    tables = [table for table in _dump(netlink, NEWTABLE, GETTABLE, 0) if wanted(_of_table(table)[1])]
    pieces = [*tables]
    for kind, get in ((NEWCHAIN, GETCHAIN), (NEWSET, GETSET), (NEWRULE, GETRULE)):
        for table in tables:
            # Sets and rules the kernel picks by their table; chains it does not.
            name = attribute(NAME, attributes(table.content)[NAME])
            found = _dump(netlink, kind, get, table.family, name)
            pieces.extend(piece for piece in found if _of_table(piece) == _of_table(table))
        if kind == NEWSET:
            pieces.extend(_elements(netlink, pieces))
    return tuple(pieces) if generation(netlink) == before else None


def _elements(netlink: Netlink, pieces: Sequence[Piece]) -> list[Piece]:
    """What is in these sets."""
    found: list[Piece] = []
    for piece in pieces:
        if piece.kind == NEWSET:
            names = attributes(piece.content)
            of_set = attribute(NAME, names[NAME]) + attribute(SET_NAME, names[SET_NAME])
            found.extend(_dump(netlink, NEWELEMENTS, GETELEMENTS, piece.family, of_set))
    return found


def lost(known: tuple[Piece, ...], found: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """What has to be laid of the known tables: those that are gone, and in place of what is left of them those that had
    rules and have none.
    """
    if known == found:
        return ()
    left = {_of_table(piece) for piece in found if piece.kind == NEWTABLE}
    ruled = {_of_table(piece) for piece in found if piece.kind == NEWRULE}
    emptied = {of_table for piece in known if piece.kind == NEWRULE and (of_table := _of_table(piece)) not in ruled}
    first = [Piece(DELTABLE, family, attribute(NAME, name.encode() + b"\0")) for family, name in sorted(emptied & left)]
    return (*first, *(piece for piece in known if (of_table := _of_table(piece)) not in left or of_table in emptied))


def lay(netlink: Netlink, pieces: tuple[Piece, ...]) -> None:
    """Makes all of it, or nothing: OSError, FileExistsError where a table of this name is there."""
    netlink.tell_all(SUBSYSTEM, list(_messages(pieces)))


def _messages(pieces: tuple[Piece, ...]) -> Iterator[tuple[int, bytes, int]]:
    """(kind, payload, flags) of each."""
    for number, piece in enumerate(pieces, start=1):
        content = _without(piece.content, KERNELS_OWN.get(piece.kind, set()))
        if piece.kind == NEWRULE:
            content = b"".join(attribute(kind, _takeable(kind, data)) for kind, data in attribute_list(content))
        if piece.kind == NEWSET:
            content += attribute(SET_NUMBER, struct.pack(">I", number))
        flags = {NEWTABLE: CREATE | EXCLUSIVE, DELTABLE: 0, NEWRULE: CREATE | APPEND}.get(piece.kind, CREATE)
        yield _kind(piece.kind), _header(piece.family) + content, flags


def _dump(netlink: Netlink, new: int, get: int, family: int, which: bytes = b"") -> list[Piece]:
    return [Piece(new, answer[0], answer[HEADER:]) for answer in netlink.ask(_kind(get), _header(family) + which)]


def _of_table(piece: Piece) -> tuple[int, str]:
    return piece.family, attributes(piece.content)[NAME].rstrip(b"\0").decode(errors="replace")


def _takeable(kind: int, content: bytes) -> bytes:
    """An attribute of a rule as the kernel takes it."""
    if kind != EXPRESSIONS:
        return content
    return b"".join(attribute(EXPRESSION, _expression(expression)) for _, expression in attribute_list(content))


def _expression(content: bytes) -> bytes:
    known = attributes(content)
    data = known.get(EXPRESSION_DATA, b"")
    if known.get(EXPRESSION_NAME) != OPTION or OPTION_SOURCE not in attributes(data):
        return content
    return attribute(EXPRESSION_NAME, OPTION) + attribute(EXPRESSION_DATA, _without(data, {OPTION_FLAGS}))


def _without(content: bytes, kinds: set[int]) -> bytes:
    return b"".join(attribute(kind, data) for kind, data in attribute_list(content) if kind not in kinds)


def _kind(message: int) -> int:
    return SUBSYSTEM << 8 | message


def _header(family: int) -> bytes:
    return struct.pack("=BBH", family, 0, 0)
