"""Whether a peer's router passes packets on, which its own word can't tell. Pure.

A keeper asks a keeper of the peer behind the router that it uses: at the address that Cilium gives that node in the pod
range, which the asked router itself names. The packet takes the way of a pod's: by the router, masqueraded, in Cilium's
tunnel to another node, and back. Where this has never worked its silence means nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

SILENT: Final = 5
"""Rounds of half a second. The router says within one that the other keeper is gone, and then it is not asked."""
REMEMBERED: Final = 600
"""Rounds for which a router that passed nothing on counts as bad: it can't be asked anew while another one is used."""


@dataclass
class Through:
    """Of one router. ``target`` is the address behind it, empty while nobody is there."""

    target: str = ""
    worked: bool = False
    silent: int = 0
    bad_for: int = 0
    _heard: bool = False
    _asked: set[int] = field(default_factory=set)

    def next_round(self, target: str) -> None:
        """The router is in use, and names this address, or none."""
        self.bad_for = max(0, self.bad_for - 1)
        if target != self.target:
            self.target, self.worked, self.silent, self._heard = target, False, 0, False
            self._asked.clear()
            return
        self.silent = 0 if self._heard else self.silent + 1
        self._heard = False
        if self.target and self.worked and self.silent >= SILENT:
            self.bad_for = REMEMBERED

    def rest(self) -> None:
        """The router is not in use, so it can't be asked."""
        self.bad_for = max(0, self.bad_for - 1)
        self.target, self.worked, self.silent, self._heard = "", False, 0, False
        self._asked.clear()

    def asked(self, sequence: int) -> None:
        """A question is under way."""
        self._asked.add(sequence)
        if len(self._asked) > SILENT:
            self._asked.discard(min(self._asked))

    def hear(self, address: str, sequence: int) -> bool:
        """Takes an answer; False when it is none to a question of these rounds."""
        if address != self.target or sequence not in self._asked:
            return False
        self._asked.discard(sequence)
        self._heard = self.worked = True
        self.silent = self.bad_for = 0
        return True

    @property
    def bad(self) -> bool:
        """Whether the router passes nothing on, as was last seen."""
        return self.bad_for > 0
