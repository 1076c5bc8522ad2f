"""What a killed `up` leaves at Hetzner: ours goes, that of others stays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.former_node import LastUpdate
from components.hetzner_client import HetznerClient, HetznerError
from components.hetzner_leftovers import (
    RemoveLeftovers,
    _InstanceProvider,
    complete_server,
    remove_leftover,
    remove_leftover_subnet,
)
from lab.standins.hetzner_api.backend import MemoryBackend
from tests.components.conftest import Told
from tests.lab.hetzner_api.conftest import TOKEN, StandIn

INSTANCE = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def hetzner(tmp_path: Path) -> Iterator[StandIn]:
    """Hetzner with nothing in it."""
    standin = StandIn(tmp_path, MemoryBackend())
    yield standin
    standin.stop()


def hetzner_client(hetzner: StandIn) -> HetznerClient:
    """A client that waits no longer than the stand-in's actions take."""
    return HetznerClient(TOKEN, hetzner.endpoint, sleep=lambda _: time.sleep(0.02))


class TestHetznerLeftovers:
    OURS = {"isthmus-instance": INSTANCE}  # noqa: RUF012

    def test_server_of_this_instance_goes(self, hetzner: StandIn) -> None:
        body = {"name": "de-agent-1", "server_type": "cx23", "image": "debian-12", "labels": self.OURS}
        assert hetzner.call("POST", "/servers", body).status_code == 201
        assert remove_leftover(hetzner_client(hetzner), "servers", "de-agent-1", INSTANCE)
        assert hetzner.call("GET", "/servers").json()["servers"] == []
        assert hetzner.call("POST", "/servers", body).status_code == 201, "the name is free again"

    def test_nothing_there(self, hetzner: StandIn) -> None:
        assert not remove_leftover(hetzner_client(hetzner), "servers", "de-agent-1", INSTANCE)

    @pytest.mark.parametrize("labels", [{}, {"isthmus-instance": "f" * 32}], ids=["none", "another"])
    def test_of_somebody_else_stays(self, hetzner: StandIn, labels: dict[str, str]) -> None:
        body = {"name": "isthmus-de", "ip_range": "10.0.0.0/16", "labels": labels}
        id_ = hetzner.call("POST", "/networks", body).json()["network"]["id"]
        with pytest.raises(HetznerError) as refusal:
            remove_leftover(hetzner_client(hetzner), "networks", "isthmus-de", INSTANCE)
        assert str(refusal.value) == (
            f"Hetzner: networks/{id_} is called isthmus-de already, and it was not made by this stack's state; "
            "delete or rename it, or bring back the state it belongs to"
        )
        assert len(hetzner.call("GET", "/networks").json()["networks"]) == 1

    def test_subnet_of_our_network(self, hetzner: StandIn) -> None:
        body = {
            "name": "isthmus-de",
            "ip_range": "10.0.0.0/16",
            "subnets": [{"type": "cloud", "network_zone": "eu-central", "ip_range": "10.0.1.0/24"}],
        }
        id_ = hetzner.call("POST", "/networks", body).json()["network"]["id"]
        client = hetzner_client(hetzner)
        assert remove_leftover_subnet(client, id_, "10.0.1.0/24")
        assert hetzner.call("GET", f"/networks/{id_}").json()["network"]["subnets"] == []
        assert not remove_leftover_subnet(client, id_, "10.0.1.0/24")


class TestCompleteServer:
    """What an earlier `up` left undone on a server that Hetzner had accepted."""

    @pytest.fixture
    def network(self, hetzner: StandIn) -> int:
        subnets = [{"type": "cloud", "network_zone": "eu-central", "ip_range": "10.0.1.0/24"}]
        body = {"name": "isthmus-de", "ip_range": "10.0.0.0/16", "subnets": subnets}
        return int(hetzner.call("POST", "/networks", body).json()["network"]["id"])

    @pytest.fixture
    def server(self, hetzner: StandIn) -> int:
        """One without a network that was never switched on."""
        body = {"name": "de-agent-1", "server_type": "cx23", "image": "debian-12", "start_after_create": False}
        answer = hetzner.call("POST", "/servers", body).json()
        hetzner.client.servers.get_by_id(answer["server"]["id"])
        for action in (answer["action"], *answer["next_actions"]):
            hetzner.client.actions.get_by_id(action["id"]).wait_until_finished()
        return int(answer["server"]["id"])

    def test_it_gets_its_network_and_power(self, hetzner: StandIn, server: int, network: int) -> None:
        inputs = {"networks": [{"networkId": float(network), "ip": "10.0.1.31"}]}
        complete_server(hetzner_client(hetzner), server, inputs)
        found = hetzner.call("GET", f"/servers/{server}").json()["server"]
        assert (found["status"], [attachment["ip"] for attachment in found["private_net"]]) == (
            "running",
            ["10.0.1.31"],
        )

    def test_one_that_is_whole_is_left_alone(self, hetzner: StandIn, server: int, network: int) -> None:
        client, inputs = hetzner_client(hetzner), {"networks": [{"networkId": network, "ip": "10.0.1.31"}]}
        complete_server(client, server, inputs)

        def actions() -> list[str]:
            return [action["command"] for action in hetzner.call("GET", f"/servers/{server}/actions").json()["actions"]]

        done = actions()
        assert {"attach_to_network", "start_server"} <= set(done)
        complete_server(client, server, inputs)
        assert actions() == done

    def test_one_that_is_gone_is_no_error(self, hetzner: StandIn) -> None:
        complete_server(hetzner_client(hetzner), 4711, {"networks": [{"networkId": 1, "ip": "10.0.1.31"}]})


def test_an_instance_is_random_and_stays() -> None:
    provider = _InstanceProvider()
    first, second = ((provider.create({}).outs or {})["instance"] for _ in range(2))
    assert first != second
    assert len(bytes.fromhex(first)) == 16
    assert provider.diff(first, {"instance": first}, {"instance": None}).changes is False


@pytest.mark.usefixtures("hooks")
class TestHooks:
    """What runs before the engine makes or changes an object at Hetzner."""

    def leftovers(self, hetzner: StandIn, token: str = TOKEN) -> RemoveLeftovers:
        given = pulumi.Output.secret(token)
        return RemoveLeftovers(pulumi.Output.from_input(INSTANCE), given, hetzner.endpoint, LastUpdate.of("de", {}))

    def before(self, hetzner: StandIn, kind: str, inputs: dict[str, Any], token: str = TOKEN) -> None:
        """What runs before an object is made."""

        async def body() -> None:
            for hook in self.leftovers(hetzner, token).binding("machines", kind).before_create or []:
                args = pulumi.ResourceHookArgs(urn="u", id="", name=kind, type="t", new_inputs=inputs)
                await hook.callback(args)  # type: ignore[union-attr, misc]

        asyncio.run(body())

    def test_a_leftover_goes_which_is_told(self, hetzner: StandIn, told: Told) -> None:
        body = {"name": "isthmus-de", "ip_range": "10.0.0.0/16", "labels": {"isthmus-instance": INSTANCE}}
        hetzner.call("POST", "/networks", body)
        self.before(hetzner, "networks", {"name": "isthmus-de"})
        assert hetzner.call("GET", "/networks").json()["networks"] == []
        assert told.info == ["networks: removed what an interrupted run had left of it at Hetzner"]
        self.before(hetzner, "networks", {"name": "isthmus-de"})
        assert len(told.info) == 1

    def test_so_does_a_subnet(self, hetzner: StandIn, told: Told) -> None:
        subnets = [{"type": "cloud", "network_zone": "eu-central", "ip_range": "10.0.1.0/24"}]
        body = {"name": "isthmus-de", "ip_range": "10.0.0.0/16", "subnets": subnets}
        id_ = hetzner.call("POST", "/networks", body).json()["network"]["id"]
        self.before(hetzner, "subnets", {"networkId": float(id_), "ipRange": "10.0.1.0/24"})
        assert hetzner.call("GET", f"/networks/{id_}").json()["network"]["subnets"] == []
        assert len(told.info) == 1

    def test_a_server_has_its_former_node_looked_at_after_its_leftover(self, hetzner: StandIn) -> None:
        async def body() -> tuple[list[str], list[str], bool]:
            leftovers = self.leftovers(hetzner)
            binding, other = (leftovers.binding("machines", "servers") for _ in range(2))
            names = [[hook.name for hook in found or []] for found in (binding.before_create, binding.before_update)]  # type: ignore[union-attr]
            return names[0], names[1], binding.before_create == other.before_create

        assert asyncio.run(body()) == (
            ["machines-leftover-servers", "machines-former-node"],
            ["machines-repair-server"],
            True,
        ), "the engine takes each name once"

    def test_a_server_that_can_not_be_completed_is_to_be_made_anew(self, hetzner: StandIn) -> None:
        async def body() -> None:
            (repair,) = self.leftovers(hetzner, "wrong").binding("machines", "servers").before_update or []
            args = pulumi.ResourceHookArgs(urn="urn:it", id="7", name="de-agent-1", type="t", new_inputs={})
            await repair.callback(args)  # type: ignore[union-attr, misc]

        with pytest.raises(HetznerError) as refusal:
            asyncio.run(body())
        assert str(refusal.value).startswith("Hetzner API: GET /servers/7: 401: ")
        assert str(refusal.value).endswith(
            "; Hetzner can't complete this server, make it anew: `pulumi up --replace 'urn:it'`"
        )
