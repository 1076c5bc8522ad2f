"""A stack's claim on its names in a NetBird account."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from components.netbird_api import (
    ClaimProvider,
)
from components.netbird_client import Json, NetbirdClient
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


class TestWhatTheOperatorLeft:
    """The claim is the last of a stack's that goes: by then the operator has made away with its own, or never will."""

    @pytest.fixture
    def network(self, netbird: Netbird) -> str:
        """A network of the cluster's router with the operator's key and group, beside those of another cluster."""
        of_another = str(netbird.add("/networks", name="isthmus-mn")["id"])
        made = str(netbird.add("/networks", name="isthmus-de")["id"])
        for id_ in (made, of_another):
            netbird.add("/setup-keys", name=f"networkrouter-{id_}-key")
            netbird.group(f"networkrouter-{id_}-group")
        return made

    @pytest.fixture
    def claim(self, netbird: Netbird, network: str) -> Callable[[], None]:
        """Removes a claim that was made after all of that."""
        provider = configured(ClaimProvider(), netbird)
        made = provider.create(OWN)
        return lambda: provider.delete(made.id, made.outs)

    @staticmethod
    def left(netbird: Netbird) -> list[list[str]]:
        return [netbird.names(collection) for collection in ("/networks", "/setup-keys", "/groups")]

    def test_it_goes_with_its_key_and_its_group(
        self, netbird: Netbird, network: str, claim: Callable[[], None], capfd: pytest.CaptureFixture[str]
    ) -> None:
        claim()
        assert self.left(netbird) == [["isthmus-mn"], ["networkrouter-id1-key"], ["networkrouter-id1-group"]]
        assert capfd.readouterr().out == (
            f"NetBird: removed network isthmus-de ({network}), which the operator had left\n"
        )

    def test_one_with_resources_of_others_stays(
        self, netbird: Netbird, network: str, claim: Callable[[], None], capfd: pytest.CaptureFixture[str]
    ) -> None:
        netbird.add(f"/networks/{network}/resources", name="theirs", address="192.0.2.0/24", groups=[])
        claim()
        assert [len(names) for names in self.left(netbird)] == [2, 2, 2]
        assert capfd.readouterr().out == (
            f"NetBird: network isthmus-de ({network}) has resources of somebody else; it is left alone\n"
        )

    def test_one_that_the_operator_removes_meanwhile_is_no_error(
        self, netbird: Netbird, network: str, claim: Callable[[], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        listed = NetbirdClient.list

        def and_then_it_goes(client: NetbirdClient, path: str) -> list[Json]:
            found = listed(client, path)
            if path == "/networks":
                netbird.objects[path][:] = [item for item in netbird.all(path) if item["id"] != network]
            return found

        monkeypatch.setattr(NetbirdClient, "list", and_then_it_goes)
        claim()
        assert self.left(netbird) == [["isthmus-mn"], ["networkrouter-id1-key"], ["networkrouter-id1-group"]]
