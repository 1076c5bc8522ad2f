"""The project's state and what all operations share: IDs, look-up, uniqueness, locks, actions. No I/O and no clock."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from lab.standins.hetzner_api import errors, requests
from lab.standins.hetzner_api.records import (
    Action,
    ActionError,
    Firewall,
    Network,
    PlacementGroup,
    PrimaryIp,
    RecordOnly,
    Resource,
    ResourceReference,
    ResourceType,
    Server,
    SshKey,
    State,
    Work,
)

PUBLIC_RANGE = ipaddress.IPv4Network("198.51.100.0/24")
FIRST_PUBLIC_ADDRESS = ipaddress.IPv4Address("198.51.100.101")
FINISHED_ACTIONS_KEPT = 1000
PROGRESS_WHILE_RUNNING_PERCENT = 95

AnyResource = TypeVar("AnyResource", bound=Resource)


@dataclass
class Cloud:
    """One project. Operations change `state` and return records; the caller stores and carries out."""

    state: State = field(default_factory=State)
    first_public_address: ipaddress.IPv4Address = FIRST_PUBLIC_ADDRESS

    def new_id(self) -> int:
        """Return the next ID."""
        number = self.state.next_id
        self.state.next_id += 1
        return number

    def network(self, number: int) -> Network:
        """Return the network; raise ApiError `not_found`."""
        return _get(self.state.networks, "network", number)

    def firewall(self, number: int) -> Firewall:
        """Return the firewall; raise ApiError `not_found`."""
        return _get(self.state.firewalls, "firewall", number)

    def placement_group(self, number: int) -> PlacementGroup:
        """Return the placement group; raise ApiError `not_found`."""
        return _get(self.state.placement_groups, "placement group", number)

    def ssh_key(self, number: int) -> SshKey:
        """Return the SSH key; raise ApiError `not_found`."""
        return _get(self.state.ssh_keys, "SSH key", number)

    def primary_ip(self, number: int) -> PrimaryIp:
        """Return the primary IP; raise ApiError `not_found`."""
        return _get(self.state.primary_ips, "primary IP", number)

    def server(self, number: int) -> Server:
        """Return the server; raise ApiError `not_found`."""
        return _get(self.state.servers, "server", number)

    def public_address(self, server: Server) -> PrimaryIp | None:
        """Return the primary IP that is assigned to the server."""
        return next((ip for ip in self.state.primary_ips.values() if ip.assignee_id == server.id), None)

    def start_action(
        self,
        command: str,
        resources: list[tuple[ResourceType, int]],
        now: datetime,
        work: Work | None = None,
        *,
        exclusive: bool = True,
    ) -> Action:
        """Return a new running action; without `work` it only takes its time."""
        action = Action(
            id=self.new_id(),
            command=command,
            started=now,
            resources=[ResourceReference(id=number, type=kind) for kind, number in resources],
            work=work if work is not None else RecordOnly(),
            exclusive=exclusive,
        )
        self.state.actions[action.id] = action
        return action

    def end_action(self, action: Action, now: datetime, error: ActionError | None) -> None:
        """Turn a running action into success or error and forget the oldest finished ones."""
        if action.status != "running":
            raise ValueError(f"action {action.id} has ended already: {action.status}")
        action.status = "success" if error is None else "error"
        action.error = error
        action.finished = now
        finished = [other.id for other in self.state.actions.values() if other.status != "running"]
        for number in finished[: max(0, len(finished) - FINISHED_ACTIONS_KEPT)]:
            del self.state.actions[number]

    def running_actions(self) -> list[Action]:
        """Return the actions that have not ended."""
        return [action for action in self.state.actions.values() if action.status == "running"]

    def is_locked(self, kind: ResourceType, number: int) -> bool:
        """Tell whether a running action keeps others from changing the resource."""
        reference = ResourceReference(id=number, type=kind)
        return any(action.exclusive and reference in action.resources for action in self.running_actions())

    def require_unlocked_server(self, server: Server) -> None:
        """Raise ApiError `locked` while an action keeps the server."""
        if server.status == "deleting" or self.is_locked("server", server.id):
            raise errors.locked("server")

    def require_unchanging_network(self, network: Network) -> None:
        """Raise ApiError `conflict` while an action changes the network."""
        if self.is_locked("network", network.id):
            raise errors.conflict("network")


def require_unique_name(items: Mapping[int, AnyResource], kind: str, name: str, own_id: int | None = None) -> None:
    """Raise ApiError `uniqueness_error` when another resource has the name."""
    if any(item.name == name and item.id != own_id for item in items.values()):
        raise errors.uniqueness_error(f"{kind} name is already used", "name")


def set_name_and_labels(
    items: Mapping[int, AnyResource], kind: str, resource: AnyResource, body: requests.Update | requests.UpdateServer
) -> None:
    """Change both at once, as far as the body has them. Raises ApiError `uniqueness_error` as above."""
    if body.name is not None:
        require_unique_name(items, kind, body.name, resource.id)
        resource.name = body.name
    if body.labels is not None:
        resource.labels = dict(body.labels)


def progress_percent(action: Action, now: datetime, expected_seconds: float) -> int:
    """Return how far an action is, told from the time it has run; 100 only when it has ended."""
    if action.status != "running":
        return 100
    share = (now - action.started).total_seconds() / expected_seconds if expected_seconds > 0 else 0.0
    return max(0, min(PROGRESS_WHILE_RUNNING_PERCENT, int(share * 100)))


def _get(items: Mapping[int, AnyResource], kind: str, number: int) -> AnyResource:
    if number not in items:
        raise errors.not_found(kind, number)
    return items[number]
