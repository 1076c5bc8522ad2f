"""A restarted stand-in has lost nothing and goes on with what was running."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest
from hcloud.images import Image
from hcloud.networks import NetworkSubnet
from hcloud.server_types import ServerType

from lab.standins.hetzner_api.cloud import FINISHED_ACTIONS_KEPT, Cloud
from lab.standins.hetzner_api.runner import system_clock
from lab.standins.hetzner_api.storage import Storage
from tests.lab.hetzner_api.conftest import StandIn, StartStandIn


def test_everything_is_there_again(start: StartStandIn, public_key: str) -> None:
    first = start()
    client = first.client
    key = client.ssh_keys.create(name="key", public_key=public_key)
    network = client.networks.create(
        name="net",
        ip_range="10.0.0.0/16",
        subnets=[NetworkSubnet(type="cloud", ip_range="10.0.1.0/24", network_zone="eu-central")],
    )
    firewall = client.firewalls.create(name="wall").firewall
    group = client.placement_groups.create(name="group", type="spread").placement_group
    created = client.servers.create(
        name="one",
        server_type=ServerType(name="cx23"),
        image=Image(name="debian-12"),
        ssh_keys=[key],
        networks=[network],
        firewalls=[firewall],
        placement_group=group,
        labels={"a": "b"},
    )
    created.next_actions[-1].wait_until_finished()
    paths = ("servers", "networks", "firewalls", "placement_groups", "ssh_keys", "primary_ips", "servers/actions")
    before = {path: first.call("GET", f"/{path}").json() for path in paths}
    first.stop()

    second = start(first.backend)
    assert {path: second.call("GET", f"/{path}").json() for path in paths} == before
    assert second.client.networks.create(name="next", ip_range="10.1.0.0/16").id > created.next_actions[-1].id


def test_a_running_action_is_run_again(start: StartStandIn) -> None:
    first = start(action_seconds=60)
    created = first.client.servers.create(
        name="one", server_type=ServerType(name="cx23"), image=Image(name="debian-12"), user_data="#cloud-config\n"
    )
    first.stop()
    assert first.state["actions"][str(created.action.id)]["status"] == "running"

    second = start(first.backend)
    second.client.actions.get_by_id(created.next_actions[0].id).wait_until_finished()
    server = second.client.servers.get_by_name("one")
    assert (server.status, server.locked) == ("running", False)
    assert first.backend.machines["one"].request.user_data == "#cloud-config\n"
    assert first.backend.machines["one"].boots == 1


def test_the_state_is_private(api: StandIn) -> None:
    api.client.placement_groups.create(name="group", type="spread")
    assert stat.S_IMODE((api.directory / "state.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(api.directory.stat().st_mode) == 0o700


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"version": 1, "volumes": {}}')
    with pytest.raises(ValueError, match="volumes"):
        Storage(tmp_path).load()


def test_old_actions_are_forgotten() -> None:
    cloud = Cloud()
    network_id = cloud.new_id()
    for _ in range(FINISHED_ACTIONS_KEPT + 5):
        action = cloud.start_action("add_subnet", [("network", network_id)], system_clock())
        cloud.end_action(action, system_clock(), None)
    assert len(cloud.state.actions) == FINISHED_ACTIONS_KEPT


def test_a_machine_that_stops_by_itself_is_off(api: StandIn) -> None:
    created = api.client.servers.create(name="one", server_type=ServerType(name="cx23"), image=Image(name="debian-12"))
    created.next_actions[0].wait_until_finished()
    api.backend.machines["one"].running = False
    deadline = time.monotonic() + 10
    while (status := api.client.servers.get_by_name("one").status) != "off":
        assert time.monotonic() < deadline, f"the server is still {status}"
        time.sleep(0.1)
