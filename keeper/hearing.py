"""Who is heard. Silence is counted in the own rounds, not in seconds: a keeper that was not scheduled for a while has
had no rounds, so it does not think everybody else dead (and no clock can jump).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final, Literal

from keeper.messages import Message

State = Literal["unknown", "alive", "away", "dead"]
"""``unknown``: not heard yet, and not waited for long enough. ``away``: silent, but its node says that the port is
closed: node and way are alive and its keeper is just being replaced, so what it said last holds for a while.
"""

LOSS_OVER: Final = 40
"""Probes, over which loss is told: the last ten seconds."""


@dataclass(frozen=True)
class Limits:
    """In rounds: how much silence is death, how long nobody is judged, and how long a keeper may be away."""

    silent: int
    first: int
    away: int


SIBLING: Final = Limits(silent=8, first=15, away=150)
"""Of rounds of 200 ms: 1.6 s, 3 s, 30 s. A busy machine lets its keeper wait for a second and more."""
ROUTER: Final = Limits(silent=7, first=360, away=120)
"""Of rounds of 250 ms: 1.75 s, 90 s, 30 s. A peer's keeper answers those that its file names, and a kubelet takes up
to a minute and a half to bring a changed file: one that was never heard is not dead.
"""
OLD_BOOTS: Final = 8


@dataclass
class Hearing:
    """What is known of one other keeper."""

    limits: Limits
    last: Message | None = None
    silent: int = 0
    """Rounds since it was heard."""
    refused: int = 1_000_000
    """Rounds since its node said that nobody listens there."""
    round_trip_seconds: float | None = None
    sent_at: dict[int, float] = field(default_factory=dict)
    answers: deque[bool] = field(default_factory=lambda: deque(maxlen=LOSS_OVER))
    _before: deque[str] = field(default_factory=lambda: deque(maxlen=OLD_BOOTS))
    _heard: bool = False

    def next_round(self) -> None:
        """A round of one's own is over."""
        self.silent = 0 if self._heard else self.silent + 1
        self.refused += 1
        self._heard = False

    def sent(self, sequence: int, now: float) -> None:
        """A probe is under way. One that is not back after as many rounds as make a death is lost, and still counts as
        life when it comes later.
        """
        self.sent_at[sequence] = now
        while len(self.sent_at) > self.limits.silent:
            del self.sent_at[next(iter(self.sent_at))]
            self.answers.append(False)

    def hear(self, message: Message, now: float) -> bool:
        """Takes a message. False for one that is no newer than what was heard: late, or sent again by others."""
        if message.boot in self._before:
            return False
        if self.last is not None:
            if message.boot != self.last.boot:
                self._before.append(self.last.boot)
            elif message.sequence <= self.last.sequence:
                return False
        self.last, self._heard, self.silent = message, True, 0
        self.refused = 1_000_000
        if message.echo is not None and (at := self.sent_at.pop(message.echo[1], None)) is not None:
            self.round_trip_seconds = max(0.0, now - at)
            self.answers.append(True)
        return True

    def refuse(self) -> None:
        """Its node said that the port is closed."""
        self.refused = 0

    @property
    def state(self) -> State:
        """What the silence means."""
        if self.silent < self.limits.silent and self.last is not None:
            return "alive"
        # One lost answer to a closed port is no death either.
        if self.refused < self.limits.silent and self.silent < self.limits.away:
            return "away" if self.last is not None else "unknown"
        if self.last is None and self.silent < self.limits.first:
            return "unknown"
        return "dead"

    @property
    def loss(self) -> float:
        """Share of the last probes that were not answered in time."""
        return self.answers.count(False) / len(self.answers) if self.answers else 0.0
