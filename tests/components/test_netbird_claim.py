"""A stack's claim on its names in a NetBird account."""

from __future__ import annotations

import pytest

from components.netbird_api import (
    ClaimProvider,
)
from components.netbird_provider import TakenError
from tests.components.netbird_account import (
    ANOTHER,
    INSTANCE,
    OWN,
    configured,
)
from tests.components.netbird_server import Netbird


class TestClaim:
    def test_first_in_an_empty_account(self, netbird: Netbird, capfd: pytest.CaptureFixture[str]) -> None:
        made = configured(ClaimProvider(), netbird).create(OWN)
        assert netbird.names("/groups") == [f"isthmus-de-stack-{INSTANCE}"]
        assert made.id == netbird.all("/groups")[0]["id"]
        assert capfd.readouterr().out == ""

    def test_an_answer_that_got_lost_is_no_other_stack(self, netbird: Netbird) -> None:
        netbird.faults = [("POST", "/groups", 0)]
        configured(ClaimProvider(), netbird).create(OWN)
        configured(ClaimProvider(), netbird).create(OWN)
        assert netbird.names("/groups") == [f"isthmus-de-stack-{INSTANCE}"]

    def test_what_an_earlier_release_made_is_adopted_and_said(
        self, netbird: Netbird, capfd: pytest.CaptureFixture[str]
    ) -> None:
        for name in ("isthmus-de-routers", "isthmus-de-pods", "isthmus-mn-pods"):
            netbird.group(name)
        configured(ClaimProvider(), netbird).create(OWN)
        assert capfd.readouterr().out == (
            "NetBird: isthmus-de-pods, isthmus-de-routers carried no mark of a stack; from now on this stack's\n"
        )

    def test_another_stack_of_the_name_is_refused(self, netbird: Netbird) -> None:
        configured(ClaimProvider(), netbird).create({"cluster": "de", "instance": ANOTHER})
        with pytest.raises(TakenError) as refusal:
            configured(ClaimProvider(), netbird).create(OWN)
        assert str(refusal.value) == (
            f"NetBird: group isthmus-de-stack-{ANOTHER} (id1) was made by another stack called de (another project, or "
            "another state); two such stacks can't share a NetBird account: give one of them another name, or bring "
            "back the state it belongs to; if that stack is gone for good, delete its objects in NetBird: what is "
            "called isthmus-de-..."
        )
        assert len(netbird.writes()) == 1, "nothing was touched"

    def test_a_name_that_goes_on_is_another(self, netbird: Netbird) -> None:
        configured(ClaimProvider(), netbird).create({"cluster": "de-stack", "instance": ANOTHER})
        configured(ClaimProvider(), netbird).create({"cluster": "d", "instance": ANOTHER})
        configured(ClaimProvider(), netbird).create(OWN)
        assert len(netbird.names("/groups")) == 3
