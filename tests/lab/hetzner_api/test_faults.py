"""Ordered faults: each kind hits once, at its place, and then the API works again."""

from __future__ import annotations

import hcloud
import pytest
import requests
from hcloud.images import Image
from hcloud.server_types import ServerType

from tests.lab.hetzner_api.conftest import StandIn

GROUP = {"name": "group", "type": "spread"}


@pytest.mark.parametrize(
    ("status", "code"),
    [(500, "server_error"), (429, "rate_limit_exceeded"), (423, "locked"), (409, "conflict"), (503, "unavailable")],
)
def test_an_error(api: StandIn, status: int, code: str) -> None:
    api.order({"method": "POST", "path": "^/placement_groups$", "answer": status})
    answer = api.call("POST", "/placement_groups", GROUP)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert "RateLimit-Remaining" in answer.headers
    assert api.call("POST", "/placement_groups", GROUP).status_code == 201


def test_the_nth_and_how_many(api: StandIn) -> None:
    api.order({"path": "^/servers$", "nth": 2, "count": 2, "answer": 500})
    assert [api.call("GET", "/servers").status_code for _ in range(5)] == [200, 500, 500, 200, 200]
    assert api.call("GET", "/networks").status_code == 200


def test_a_changed_file_counts_from_the_start(api: StandIn) -> None:
    fault = {"path": "^/servers$", "answer": 500}
    for _ in range(2):
        api.order(fault)
        assert [api.call("GET", "/servers").status_code for _ in range(2)] == [500, 200]


def test_dropped_before(api: StandIn) -> None:
    api.order({"method": "POST", "path": "^/placement_groups$", "answer": "drop"})
    with pytest.raises(requests.ConnectionError):
        api.call("POST", "/placement_groups", GROUP)
    assert api.client.placement_groups.get_all() == []


def test_dropped_after_is_carried_out(api: StandIn) -> None:
    api.order({"method": "POST", "path": "^/placement_groups$", "answer": "drop", "when": "after"})
    with pytest.raises(requests.ConnectionError):
        api.call("POST", "/placement_groups", GROUP)
    assert [group.name for group in api.client.placement_groups.get_all()] == ["group"]


def test_an_error_after_is_carried_out(api: StandIn) -> None:
    api.order({"method": "POST", "path": "^/placement_groups$", "answer": 500, "when": "after"})
    assert api.call("POST", "/placement_groups", GROUP).status_code == 500
    assert api.call("POST", "/placement_groups", GROUP).json()["error"]["code"] == "uniqueness_error"


def test_hanging(api: StandIn) -> None:
    # Far longer than a busy machine could keep the client from seeing its own time limit; the end cuts it off.
    api.order({"path": "^/servers$", "answer": "hang", "seconds": 60})
    with pytest.raises(requests.Timeout):
        requests.get(f"{api.endpoint}/servers", headers={"Authorization": "Bearer " + "t" * 64}, timeout=0.1)
    assert api.call("GET", "/servers").status_code == 200


def test_a_failing_action(api: StandIn) -> None:
    api.order({"action": "start_server", "message": "no such luck"})
    created = api.client.servers.create(name="one", server_type=ServerType(name="cx23"), image=Image(name="debian-12"))
    created.action.wait_until_finished()
    with pytest.raises(hcloud.actions.ActionFailedException, match="no such luck"):
        created.next_actions[0].wait_until_finished()


def test_a_wrong_file_orders_nothing_and_is_told(api: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    api.faults_file.write_text("{")
    assert api.call("GET", "/servers").status_code == 200
    assert "is not a file of faults" in caplog.text
