"""What somebody changes by hand at Hetzner: a refresh sees it, and the next `up` with it puts it right.

All of a kind is changed at once, because each run of the engine takes its time. As in ``test_hetzner`` the Hetzner
resources are the only targets, so an `up` ends with the one error that the cluster was none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import names
from tests.engine.project import Engine, Project, steps
from tests.engine.test_hetzner import ALL_NAMES, UP, finish, prepare
from tests.lab.hetzner_api.conftest import StandIn

pytestmark = pytest.mark.engine

DESTROY = ("destroy", "-s", "de", "--yes", "--skip-preview")
KINDS = ("networks", "firewalls", "placement_groups", "ssh_keys", "servers")
WIDE = [
    {"direction": "in", "protocol": "tcp", "port": "1-65535", "source_ips": ["0.0.0.0/0"], "description": "by hand"}
]


@pytest.fixture
def raised(project: Project, hetzner: StandIn, de: dict[str, Any]) -> Project:
    """A project whose machines are there."""
    prepare(project, de)
    finish(project, hetzner)
    return project


def objects(hetzner: StandIn, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = hetzner.call("GET", f"/{kind}").json()[kind]
    return sorted(found, key=lambda item: str(item["name"]))


def settings(hetzner: StandIn) -> dict[str, Any]:
    """All that a person can change and that the program has set, by kind and name."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        for item in objects(hetzner, kind):
            kept = {"labels": item["labels"]}
            if kind == "firewalls":
                kept["rules"] = item["rules"]
            elif kind == "networks":
                kept["subnets"] = [(subnet["type"], subnet["ip_range"]) for subnet in item["subnets"]]
            elif kind == "servers":
                kept["private"] = [net["ip"] for net in item["private_net"]]
                kept["firewalls"] = len(item["public_net"]["firewalls"])
                kept["protection"] = item["protection"]
                kept["type"] = item["server_type"]["name"]
            found[f"{kind}/{item['name']}"] = kept
    return found


def act(hetzner: StandIn, path: str, body: dict[str, Any]) -> None:
    """Asks for an action and waits for its end, by way of the list that knows all of them."""
    answer = hetzner.call("POST", path, body)
    assert answer.status_code == 201, answer.text
    json = answer.json()
    actions = json["actions"] if "actions" in json else [json["action"]]
    for action in actions:
        client = hetzner.client
        client.actions.get_by_id(action["id"]).wait_until_finished()


def ids(hetzner: StandIn, kind: str) -> dict[str, int]:
    return {str(item["name"]): int(item["id"]) for item in objects(hetzner, kind)}


def drifted(project: Project) -> set[tuple[str, str]]:
    """What a preview with a refresh would do at Hetzner, as operation and name."""
    preview = project.preview("de", "--refresh")
    return {(step.op, f"{step.type} {step.name}") for step in steps(preview) if is_hetzners(step.type, step.op)}


def is_hetzners(type_: str, op: str) -> bool:
    return type_.startswith("hcloud:") and op not in ("same", "read", "refresh")


def put_right(project: Project, hetzner: StandIn, before: dict[str, Any]) -> None:
    """The next `up` that refreshes: everything is as it was, and nothing is left to do."""
    project.run(*UP, "--refresh")
    assert settings(hetzner) == before
    finish(project, hetzner)
    assert drifted(project) == set()


def test_what_was_changed(raised: Project, hetzner: StandIn) -> None:
    before = settings(hetzner)
    assert drifted(raised) == set()

    firewall = ids(hetzner, "firewalls")["isthmus-de"]
    act(hetzner, f"/firewalls/{firewall}/actions/set_rules", {"rules": WIDE})
    for kind in ("networks", "placement_groups", "ssh_keys"):
        assert hetzner.call("PUT", f"/{kind}/{ids(hetzner, kind)['isthmus-de']}", {"labels": {}}).status_code == 200
    servers = ids(hetzner, "servers")
    network = ids(hetzner, "networks")["isthmus-de"]
    assert hetzner.call("PUT", f"/servers/{servers['de-server-1']}", {"labels": {"by": "hand"}}).status_code == 200
    agent = servers["de-agent-1"]
    act(
        hetzner,
        f"/firewalls/{firewall}/actions/remove_from_resources",
        {"remove_from": [{"type": "server", "server": {"id": agent}}]},
    )
    act(hetzner, f"/servers/{agent}/actions/detach_from_network", {"network": network})
    assert settings(hetzner) != before

    assert drifted(raised) == {
        ("update", "hcloud:index/firewall:Firewall isthmus-de"),
        ("update", "hcloud:index/network:Network isthmus-de"),
        ("update", "hcloud:index/placementGroup:PlacementGroup isthmus-de"),
        ("update", "hcloud:index/sshKey:SshKey isthmus-de"),
        ("update", "hcloud:index/server:Server de-server-1"),
        ("update", "hcloud:index/server:Server de-agent-1"),
    }
    put_right(raised, hetzner, before)
    assert ids(hetzner, "servers") == servers, "no server was made anew for it"


def test_a_server_that_was_switched_off_is_no_drift(raised: Project, hetzner: StandIn) -> None:
    """Hetzner has no setting for it. What it ran is missed in the cluster, where each `up` looks."""
    act(hetzner, f"/servers/{ids(hetzner, 'servers')['de-agent-1']}/actions/poweroff", {})
    assert drifted(raised) == set()


@pytest.mark.thorough
def test_what_was_deleted(raised: Project, hetzner: StandIn) -> None:
    before = settings(hetzner)
    agent = hetzner.client.servers.get_by_name("de-agent-1")
    agent.delete().wait_until_finished()
    assert hetzner.call("DELETE", f"/ssh_keys/{ids(hetzner, 'ssh_keys')['isthmus-de']}").status_code == 204

    assert drifted(raised) == {
        ("create", "hcloud:index/server:Server de-agent-1"),
        ("create", "hcloud:index/sshKey:SshKey isthmus-de"),
    }
    put_right(raised, hetzner, before)


def test_all_of_it_was_deleted(raised: Project, hetzner: StandIn) -> None:
    """A `destroy` then wants to be told: the provider takes a server that is not there for an error."""
    client = hetzner.client
    for server in client.servers.get_all():
        server.delete().wait_until_finished()
    for kind in ("networks", "firewalls", "placement_groups", "ssh_keys"):
        for id_ in ids(hetzner, kind).values():
            assert hetzner.call("DELETE", f"/{kind}/{id_}").status_code == 204
    assert names(hetzner) == {}

    raised.run(*DESTROY).expect(1).says("not found (not_found")
    raised.run("refresh", "-s", "de", "--yes", "--skip-preview", "--target=**hcloud:index/**").expect(0)
    raised.run(*DESTROY).expect(0)
    assert raised.resources("de") == []
    raised.run(*DESTROY).expect(0)
    finish(raised, hetzner)


def test_another_stack_of_the_same_name(
    raised: Project, engine: Engine, tmp_path: Path, hetzner: StandIn, de: dict[str, Any]
) -> None:
    """Another project, or a colleague with another state: neither is taken over, and both say so."""
    before = settings(hetzner)
    other = Project(engine, tmp_path / "other")
    prepare(other, de)

    refused = other.run(*UP).expect(1)

    refused.says("is called isthmus-de already, and it was not made by this stack's state")
    assert settings(hetzner) == before
    other.run(*DESTROY).expect(0)
    assert settings(hetzner) == before
    assert names(hetzner).keys() >= ALL_NAMES.keys()
    finish(raised, hetzner)


def test_a_token_that_was_revoked(raised: Project, hetzner: StandIn) -> None:
    """Hetzner's own word; a `destroy` takes the token of the state, into which an `up` puts the new one."""
    hetzner.change_token("n" * 64)
    for command in (DESTROY, ("refresh", "-s", "de", "--yes", "--skip-preview")):
        refused = raised.run(*command)
        assert refused.code != 0
        assert "unauthorized" in refused.output, refused.output

    raised.run("config", "set", "--secret", "hcloud:token", "n" * 64, "-s", "de").expect(0)
    finish(raised, hetzner)
    raised.run(*DESTROY).expect(0)
    assert names(hetzner) == {}
