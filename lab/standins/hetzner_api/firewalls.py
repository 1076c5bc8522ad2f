"""Operations on firewalls, and which of them count on which server. Pure.

At Hetzner a firewall guards the public interface of a server, stateful. A server with firewalls accepts only what a
rule of direction `in` allows; it sends everything, unless there are rules of direction `out`, which then are all that
it may send.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from lab.standins.hetzner_api import errors, labels, requests
from lab.standins.hetzner_api.cloud import Cloud, require_unique_name, set_name_and_labels
from lab.standins.hetzner_api.errors import ApiError
from lab.standins.hetzner_api.records import Action, AppliedTo, EnforceFirewall, Firewall, Rule, Server

FIREWALLS_PER_SERVER_LIMIT = 5


def create(cloud: Cloud, body: requests.CreateFirewall, now: datetime) -> tuple[Firewall, list[Action]]:
    """Make a firewall and apply it; there is an action for the rules and one for each server."""
    require_unique_name(cloud.state.firewalls, "firewall", body.name)
    targets = [_target(cloud, resource) for resource in body.apply_to or []]
    firewall = Firewall(id=cloud.new_id(), name=body.name, created=now, labels=dict(body.labels))
    firewall.rules = _rules(body.rules or [])
    firewall.applied_to = targets
    cloud.state.firewalls[firewall.id] = firewall
    actions = []
    if firewall.rules:
        actions.append(_rules_action(cloud, firewall, now))
    return firewall, actions + reconcile(cloud, now)


def update(cloud: Cloud, firewall: Firewall, body: requests.Update) -> Firewall:
    """Change name and labels at once."""
    set_name_and_labels(cloud.state.firewalls, "firewall", firewall, body)
    return firewall


def delete(cloud: Cloud, firewall: Firewall) -> None:
    """Take away a firewall that is applied to nothing."""
    if firewall.applied_to or any(firewall.id in server.firewalls for server in cloud.state.servers.values()):
        raise errors.unprocessable("resource_in_use", f"firewall with ID {firewall.id} is still in use")
    del cloud.state.firewalls[firewall.id]


def set_rules(cloud: Cloud, firewall: Firewall, body: requests.SetRules, now: datetime) -> list[Action]:
    """Replace all rules; there is one more action for each server that has the firewall."""
    firewall.rules = _rules(body.rules or [])
    actions = [_rules_action(cloud, firewall, now)]
    servers = [server for server in cloud.state.servers.values() if server.status != "deleting"]
    actions += [
        _enforce(cloud, "apply_firewall", firewall.id, server, now)
        for server in servers
        if firewall.id in server.firewalls
    ]
    return actions


def apply_to_resources(
    cloud: Cloud, firewall: Firewall, body: requests.ApplyToResources, now: datetime
) -> list[Action]:
    """Apply the firewall to servers and label selectors; one action for each server that is new."""
    targets = [_target(cloud, resource) for resource in body.apply_to]
    for target in targets:
        if target in firewall.applied_to:
            raise errors.unprocessable("firewall_already_applied", "firewall is already applied to the resource")
    for target in targets:
        if target.server is not None:
            server = cloud.server(target.server)
            if len(_wanted(cloud, server) | {firewall.id}) > FIREWALLS_PER_SERVER_LIMIT:
                raise errors.unprocessable(
                    "resource_limit_exceeded", f"a server can have {FIREWALLS_PER_SERVER_LIMIT} firewalls at most"
                )
    firewall.applied_to += targets
    return reconcile(cloud, now)


def remove_from_resources(
    cloud: Cloud, firewall: Firewall, body: requests.RemoveFromResources, now: datetime
) -> list[Action]:
    """Remove the firewall from servers and label selectors; one action for each server that loses it."""
    targets = [_target(cloud, resource) for resource in body.remove_from]
    for target in targets:
        if target in firewall.applied_to:
            continue
        if target.server is not None and firewall.id in cloud.server(target.server).firewalls:
            raise errors.unprocessable(
                "firewall_managed_by_label_selector",
                "firewall is applied via a label selector and cannot be removed manually",
            )
    firewall.applied_to = [target for target in firewall.applied_to if target not in targets]
    return reconcile(cloud, now)


def reconcile(cloud: Cloud, now: datetime) -> list[Action]:
    """Start the actions that give every server the firewalls it should have; call after labels or targets changed."""
    actions: list[Action] = []
    for server in cloud.state.servers.values():
        if server.status == "deleting":
            continue
        wanted = _wanted(cloud, server)
        added = sorted(wanted - server.firewalls.keys())
        actions += [_enforce(cloud, "apply_firewall", number, server, now) for number in added]
        for number in sorted(server.firewalls.keys() - wanted):
            del server.firewalls[number]
            actions.append(_enforce(cloud, "remove_firewall", number, server, now))
    return actions


def apply_at_creation(cloud: Cloud, server: Server, numbers: Sequence[int]) -> None:
    """Give a new server its firewalls, the selected ones too, without actions: its machine is made with them."""
    for number in numbers:
        target = AppliedTo(server=server.id)
        firewall = cloud.firewall(number)
        if target not in firewall.applied_to:
            firewall.applied_to.append(target)
    server.firewalls = dict.fromkeys(sorted(_wanted(cloud, server)), "pending")


def forget_server(cloud: Cloud, server: Server) -> None:
    """Take a deleted server out of all firewalls."""
    for firewall in cloud.state.firewalls.values():
        firewall.applied_to = [target for target in firewall.applied_to if target.server != server.id]


def effective_rules(cloud: Cloud, server: Server) -> list[Rule] | None:
    """Return the rules that count on the server's public address, None when it has no firewall and all is allowed."""
    if not server.firewalls:
        return None
    return [rule for number in sorted(server.firewalls) for rule in cloud.firewall(number).rules]


def selected_servers(cloud: Cloud, selector: str) -> list[Server]:
    """Return the servers with a public address whose labels match."""
    matches = labels.parse_selector(selector)
    return [
        server
        for server in cloud.state.servers.values()
        if server.status != "deleting" and matches(server.labels) and cloud.public_address(server) is not None
    ]


def _wanted(cloud: Cloud, server: Server) -> set[int]:
    return {
        firewall.id
        for firewall in cloud.state.firewalls.values()
        if any(_is_target(cloud, server, target) for target in firewall.applied_to)
    }


def _is_target(cloud: Cloud, server: Server, target: AppliedTo) -> bool:
    if target.label_selector is not None:
        return any(selected.id == server.id for selected in selected_servers(cloud, target.label_selector))
    return target.server == server.id


def _target(cloud: Cloud, resource: requests.FirewallResource) -> AppliedTo:
    if resource.type == "server" and resource.server is not None:
        server = cloud.state.servers.get(resource.server.id)
        if server is None or server.status == "deleting":
            raise ApiError(404, "firewall_resource_not_found", f"server with ID '{resource.server.id}' not found")
        if cloud.public_address(server) is None:
            raise errors.unprocessable("private_net_only_server", "server has no public network interface")
        return AppliedTo(server=server.id)
    if resource.label_selector is None:
        raise errors.invalid_input({"label_selector": ["is required"]})
    return AppliedTo(label_selector=resource.label_selector.selector)


def _rules(bodies: Sequence[requests.RuleBody]) -> list[Rule]:
    return [
        Rule(
            direction=body.direction,
            protocol=body.protocol,
            port=body.port,
            source_ips=list(body.source_ips or []),
            destination_ips=list(body.destination_ips or []),
            description=body.description,
        )
        for body in bodies
    ]


def _rules_action(cloud: Cloud, firewall: Firewall, now: datetime) -> Action:
    return cloud.start_action("set_firewall_rules", [("firewall", firewall.id)], now, exclusive=False)


def _enforce(cloud: Cloud, command: str, firewall: int, server: Server, now: datetime) -> Action:
    if command == "apply_firewall":
        server.firewalls[firewall] = "pending"
    return cloud.start_action(
        command,
        [("firewall", firewall), ("server", server.id)],
        now,
        EnforceFirewall(server=server.id, firewall=firewall),
        exclusive=False,
    )
