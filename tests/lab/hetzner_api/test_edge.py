"""What the HTTP edge does: error format, token, limits, locks, actions, the log."""

from __future__ import annotations

import logging

import pytest
import requests
from hcloud.images import Image
from hcloud.server_types import ServerType

from tests.lab.hetzner_api.conftest import StandIn, StartStandIn

SERVER = {"name": "one", "server_type": "cx23", "image": "debian-12", "location": "fsn1"}


def test_an_error_has_code_message_and_details(api: StandIn) -> None:
    answer = api.call("GET", "/servers/42")
    assert answer.status_code == 404
    assert answer.json() == {
        "error": {"code": "not_found", "message": "server with ID '42' not found", "details": None}
    }
    assert answer.headers["Content-Type"].startswith("application/json")


def test_all_faulty_fields_are_told_at_once(api: StandIn) -> None:
    answer = api.call("POST", "/servers", {"name": "a_b", "server_type": "cx23", "user_data": 7})
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "invalid_input"
    fields = {field["name"]: field["messages"] for field in answer.json()["error"]["details"]["fields"]}
    assert fields == {
        "name": ["must be a valid hostname"],
        "image": ["Field required"],
        "user_data": ["Input should be a valid string"],
    }


def test_the_same_name_twice(api: StandIn) -> None:
    assert api.call("POST", "/servers", SERVER).status_code == 201
    answer = api.call("POST", "/servers", SERVER)
    assert answer.status_code == 409
    assert answer.json()["error"] == {
        "code": "uniqueness_error",
        "message": "server name is already used",
        "details": {"fields": [{"name": "name"}]},
    }


def test_json_error(api: StandIn) -> None:
    answer = requests.post(
        f"{api.endpoint}/servers", data="{", headers={"Authorization": "Bearer " + "t" * 64}, timeout=10
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "json_error")


@pytest.mark.parametrize("header", [None, "Bearer short", "Bearer " + "x" * 64, "Basic " + "t" * 64])
def test_a_wrong_token(api: StandIn, header: str | None) -> None:
    headers = {"Authorization": header} if header else {}
    answer = requests.get(f"{api.endpoint}/servers", headers=headers, timeout=10)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthorized"


def test_an_unknown_path(api: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        answer = api.call("GET", "/volumes")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert "unknown path: GET /v1/volumes" in caplog.text


def test_an_unknown_action_of_a_server(api: StandIn) -> None:
    number = api.call("POST", "/servers", SERVER).json()["server"]["id"]
    assert api.call("POST", f"/servers/{number}/actions/enable_rescue", {}).status_code == 404


def test_a_wrong_method(api: StandIn) -> None:
    answer = api.call("PATCH", "/servers")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize("path", ["/datacenters", "/datacenters/1", "/actions"])
def test_what_the_api_has_dropped(api: StandIn, path: str) -> None:
    answer = api.call("GET", path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "deprecated_api_endpoint")


def test_datacenter_is_refused(api: StandIn) -> None:
    answer = api.call("POST", "/servers", {**SERVER, "datacenter": "fsn1-dc14"})
    assert [field["name"] for field in answer.json()["error"]["details"]["fields"]] == ["datacenter"]


def test_rate_limit(start: StartStandIn) -> None:
    api = start(requests_per_hour=2)
    first = api.call("GET", "/servers")
    assert (first.headers["RateLimit-Limit"], first.headers["RateLimit-Remaining"]) == ("2", "1")
    assert int(first.headers["RateLimit-Reset"]) > 0
    api.call("GET", "/servers")
    refused = api.call("GET", "/servers")
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert refused.headers["RateLimit-Remaining"] == "0"


def test_a_locked_server(start: StartStandIn) -> None:
    api = start(action_seconds=30)
    created = api.call("POST", "/servers", SERVER).json()
    assert created["server"]["status"] == "initializing"
    assert created["server"]["locked"] is True
    number = created["server"]["id"]
    for method, path in (("POST", f"/servers/{number}/actions/reboot"), ("DELETE", f"/servers/{number}")):
        answer = api.call(method, path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (423, "locked")
    action = api.call("GET", f"/actions/{created['action']['id']}").json()["action"]
    assert action["status"] == "running"
    assert 0 <= action["progress"] < 100
    assert action["finished"] is None
    assert action["resources"] == [{"id": number, "type": "server"}]


def test_a_network_that_is_being_changed(start: StartStandIn) -> None:
    api = start(action_seconds=30)
    number = api.call("POST", "/networks", {"name": "net", "ip_range": "10.0.0.0/16"}).json()["network"]["id"]
    subnet = {"type": "cloud", "network_zone": "eu-central"}
    assert api.call("POST", f"/networks/{number}/actions/add_subnet", subnet).status_code == 201
    answer = api.call("POST", f"/networks/{number}/actions/add_subnet", subnet)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")


def test_actions_by_id_and_of_a_resource(api: StandIn) -> None:
    client = api.client
    created = client.servers.create(name="one", server_type=ServerType(name="cx23"), image=Image(name="debian-12"))
    created.next_actions[0].wait_until_finished()
    ids = [created.action.id, created.next_actions[0].id]
    answer = api.call("GET", f"/actions?id={ids[0]}&id={ids[1]}&sort=status&sort=id").json()
    assert [(action["id"], action["status"], action["progress"]) for action in answer["actions"]] == [
        (ids[0], "success", 100),
        (ids[1], "success", 100),
    ]
    assert "next_page" in answer["meta"]["pagination"]
    of_server = created.server.get_actions()
    assert [action.command for action in of_server] == ["create_server", "start_server"]
    assert client.servers.actions.get_by_id(ids[0]).command == "create_server"
    assert [action.id for action in client.servers.actions.get_all(status=["success"])] == ids
    assert client.firewalls.actions.get_all() == []


def test_the_log_holds_no_secret(api: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        api.call("POST", "/servers", {**SERVER, "user_data": "#cloud-config\n# very-secret"})
        api.client.servers.get_by_name("one").get_actions()
        for action in api.client.servers.get_by_name("one").get_actions():
            action.wait_until_finished()
    mine = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("lab."))
    assert "POST /v1/servers 201" in mine
    assert "very-secret" not in mine
    assert "t" * 64 not in mine
    assert "very-secret" not in (api.directory / "state.json").read_text()
