"""What a keeper sees, and what becomes of a drain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keeper.seen import Drain, OwnSeen, SiblingSeen, drain

READY = SiblingSeen("alive", ok=True, good={"de": True})
WELL = OwnSeen(ok=True)


@pytest.mark.parametrize(
    ("own", "good", "sibling", "becomes"),
    [
        (WELL, {"de": True}, READY, "begins"),
        (WELL, {"de": True}, replace(READY, good={"de": True, "kz": False}), "begins"),
        (WELL, {"de": True, "kz": False}, READY, "begins"),
        (WELL, {"de": True, "kz": True}, READY, "waits"),
        (WELL, {"de": True}, replace(READY, good={"de": None}), "waits"),
        (WELL, {"de": True}, replace(READY, ok=False), "waits"),
        (WELL, {"de": True}, replace(READY, draining=True), "waits"),
        (WELL, {"de": True}, replace(READY, state="dead"), "nobody follows"),
        (WELL, {"de": True}, replace(READY, state="unknown"), "nobody follows"),
        # Nothing is carried here: nobody has to wait, and whoever wants may follow.
        (WELL, {"de": False}, replace(READY, ok=False), "nobody follows"),
        (WELL, {}, READY, "begins"),
        (OwnSeen(ok=False), {"de": True}, replace(READY, ok=False), "nobody follows"),
        (OwnSeen(ok=False), {"de": True}, READY, "begins"),
    ],
)
def test_a_drain(own: OwnSeen, good: dict[str, bool | None], sibling: SiblingSeen, becomes: Drain) -> None:
    assert drain(own, good, {"mn-2": sibling}) == becomes
    assert drain(own, good, {}) == "nobody follows"
    assert drain(own, good, {"mn-2": replace(READY, state="dead"), "mn-3": sibling}) == becomes
