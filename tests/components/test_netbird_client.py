"""The client of NetBird's API, against a server that refuses what the real one refuses."""

from __future__ import annotations

import pytest

from components.netbird_api import (
    GroupProvider,
)
from components.netbird_client import NetbirdClient, NetbirdError
from tests.components.netbird_account import (
    GROUP,
    client_of,
    configured,
)
from tests.components.netbird_server import TOKEN, Netbird


class TestClient:
    def test_retries_what_may_pass(self, netbird: Netbird) -> None:
        netbird.faults = [("GET", "/groups", 500), ("GET", "/groups", 429)]
        assert client_of(netbird).list("/groups") == []
        assert len(netbird.requests) == 3

    def test_gives_up_with_the_last_answer(self, netbird: Netbird) -> None:
        netbird.faults = [("GET", "/groups", 503)] * 4
        with pytest.raises(NetbirdError, match=r"^NetBird API: GET /groups: 503: try again later$") as refusal:
            client_of(netbird).list("/groups")
        assert refusal.value.status == 503

    def test_does_not_retry_a_refusal(self, netbird: Netbird) -> None:
        with pytest.raises(NetbirdError) as refusal:
            client_of(netbird, "another").list("/groups")
        assert str(refusal.value) == (
            "NetBird API: GET /groups: 401: token invalid; the token in netbirdApiToken is wrong, revoked or expired, "
            "or its user may not do this; make a new one in NetBird (Team, Service Users), `pulumi config set --secret "
            "netbirdApiToken`, and then `pulumi up`, or `pulumi destroy --run-program`: without that option the engine "
            "takes the old one out of the state"
        )
        assert len(netbird.requests) == 1

    def test_no_server(self) -> None:
        client = NetbirdClient("http://127.0.0.1:9", TOKEN, pauses=(0,), sleep=lambda _: None)
        with pytest.raises(NetbirdError, match=r"^NetBird API: GET /groups: no answer: .*Connection refused"):
            client.list("/groups")

    def test_an_error_never_shows_the_token(self, netbird: Netbird) -> None:
        netbird.faults = [("GET", "/groups", 500)] * 9
        with pytest.raises(NetbirdError) as refusal:
            client_of(netbird).list("/groups")
        assert TOKEN not in str(refusal.value) + repr(refusal.value)

    def test_an_answer_that_got_lost_leaves_nothing_twice(self, netbird: Netbird) -> None:
        netbird.faults = [("POST", "/groups", 0)]
        made = configured(GroupProvider(), netbird).create(GROUP)
        assert made.id == netbird.one("/groups", "isthmus-de-pods")["id"]
        assert [request[0] for request in netbird.writes()] == ["POST", "PUT"]

    def test_deleting_what_is_gone_is_fine(self, netbird: Netbird) -> None:
        client_of(netbird).delete("/groups/id9")

    def test_answer_that_is_no_json(self, netbird: Netbird, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("components.netbird_client.json.loads", _refuse)
        with pytest.raises(NetbirdError, match="the answer is not JSON; is the management URL right"):
            client_of(netbird).list("/groups")


def _refuse(_: object) -> None:
    raise ValueError
