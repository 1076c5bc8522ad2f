"""Rules for the peers that a stack file lists; whether they list it, too, is ``fleet.py``'s."""

from __future__ import annotations

from collections.abc import Iterator

from domain.problems import Problem
from domain.settings.draft import StackDraft, known


def peers_of_others(draft: StackDraft) -> Iterator[Problem]:
    """A stack is not its own peer, and lists each peer once."""
    seen: set[str] = set()
    for index, peer in enumerate(known(draft.settings, "peers") or ()):
        setting = f"peers.{index}"
        if peer == draft.stack:
            yield Problem(draft.stack, setting, peer, "is this stack itself", "remove it")
        elif peer in seen:
            yield Problem(draft.stack, setting, peer, "is listed twice", "remove one")
        seen.add(peer)
