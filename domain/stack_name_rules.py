"""Names of stacks that go together: what is named after one in NetBird is never taken for another's.

NetBird knows no owner of an object, so ours are told by their names (``overlay.py``, ``netbird_marks.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from domain.overlay import router_hostname, router_name
from domain.problems import Problem
from domain.settings.draft import StackDraft, known


def names_told_apart(drafts: Mapping[str, StackDraft]) -> Iterator[Problem]:
    """No stack is named so that its routers, or its policies, are called as those of another could be."""
    routers = router_hostname("").removeprefix(router_name(""))
    for name in drafts:
        # Not each with each: a fleet may have a thousand.
        for found in re.finditer(rf"(?={re.escape(routers)}(-|$))", name):
            other = name[: found.start()]
            if other in drafts:
                rule = f"begins as NetBird's names of the routers of {other} do; theirs could not be told apart"
                yield Problem(name, "stack", name, rule, f"take a name that does not begin with {other}{routers}")
    pairs: dict[str, tuple[str, str]] = {}
    for name, draft in drafts.items():
        for index, peer in enumerate(known(draft.settings, "peers") or ()):
            first = pairs.setdefault(f"{name}-to-{peer}", (name, peer))
            if first != (name, peer) and peer in drafts:
                rule = (
                    f"would give the policies of the link the names of those from {first[0]} to {first[1]}, "
                    f"isthmus-{name}-to-{peer}-..."
                )
                yield Problem(name, f"peers.{index}", peer, rule, "take a stack name without -to-")
