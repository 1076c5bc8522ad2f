"""What can be asked of each kind of resource: the paths below /v1, and which operation answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final

from aiohttp import web

from lab.standins.hetzner_api import (
    catalog,
    firewalls,
    keys_and_groups,
    networks,
    primary_ips,
    requests,
    servers,
    views,
    wire,
)
from lab.standins.hetzner_api.cloud import Cloud
from lab.standins.hetzner_api.errors import ApiError
from lab.standins.hetzner_api.records import Action, Firewall
from lab.standins.hetzner_api.requests import Body
from lab.standins.hetzner_api.routing import Kind, Routing, add_changes, read_only

DATACENTERS_ANNOUNCEMENT = "https://docs.hetzner.cloud/changelog#2025-12-16-phasing-out-datacenters"
_ACTIONS_ANNOUNCEMENT: Final = (
    "https://docs.hetzner.cloud/changelog#2025-01-30-listing-arbitrary-actions-in-the-actions-list-endpoint-is-removed"
)


class Routes(Routing):
    """The handlers of one project's resources."""

    def add_to(self, app: web.Application) -> None:
        """Add every path to the application."""
        self._add_catalog(app)
        self._add_actions(app)
        self._add_ssh_keys(app)
        self._add_placement_groups(app)
        self._add_networks(app)
        self._add_firewalls(app)
        self._add_primary_ips(app)
        self._add_servers(app)

    def _add_catalog(self, app: web.Application) -> None:
        read_only(app, "locations", "location", [views.location(location) for location in catalog.LOCATIONS], ("name",))
        read_only(
            app,
            "server_types",
            "server_type",
            [views.server_type(server_type) for server_type in catalog.SERVER_TYPES],
            ("name",),
        )
        filters = ("name", "type", "status", "architecture", "bound_to")
        read_only(app, "images", "image", [views.image(image) for image in catalog.IMAGES], filters)

        async def gone(request: web.Request) -> web.Response:
            details = {"announcement": DATACENTERS_ANNOUNCEMENT}
            raise ApiError(410, "deprecated_api_endpoint", "API functionality was removed", details)

        app.router.add_get(f"{wire.PREFIX}/datacenters", gone)
        app.router.add_get(f"{wire.PREFIX}/datacenters/{{id}}", gone)

    def _add_actions(self, app: web.Application) -> None:
        async def by_ids(request: web.Request) -> web.Response:
            wanted = wire.query(request).get("id", [])
            if not wanted:
                message = "listing arbitrary actions has been removed, ask for actions by id"
                raise ApiError(410, "deprecated_api_endpoint", message, {"announcement": _ACTIONS_ANNOUNCEMENT})
            chosen = [action for action in self.cloud.state.actions.values() if str(action.id) in wanted]
            return self.list_actions(request, chosen)

        app.router.add_get(f"{wire.PREFIX}/actions", by_ids)
        app.router.add_get(f"{wire.PREFIX}/actions/{{action_id:\\d+}}", self.get_action)

    def _add_ssh_keys(self, app: web.Application) -> None:
        cloud, clock = self.cloud, self.runner.clock
        kind = Kind("ssh_keys", "ssh_key", cloud.state.ssh_keys.values, cloud.ssh_key, views.ssh_key)

        async def create(request: web.Request) -> web.Response:
            key = keys_and_groups.create_ssh_key(cloud, await wire.body(request, requests.CreateSshKey), clock())
            return self.saved({"ssh_key": views.ssh_key(key)}, 201)

        update = self.updating(kind, requests.Update, keys_and_groups.update_ssh_key)
        delete = self.deleting(kind, keys_and_groups.delete_ssh_key)
        self.add_reads(app, kind, ("name", "fingerprint"))
        add_changes(app, kind.plural, create, update, delete)

    def _add_placement_groups(self, app: web.Application) -> None:
        cloud, clock = self.cloud, self.runner.clock
        view = partial(views.placement_group, cloud)
        groups = cloud.state.placement_groups
        kind = Kind("placement_groups", "placement_group", groups.values, cloud.placement_group, view)

        async def create(request: web.Request) -> web.Response:
            body = await wire.body(request, requests.CreatePlacementGroup)
            group = keys_and_groups.create_placement_group(cloud, body, clock())
            return self.saved({"placement_group": view(group), "action": None}, 201)

        update = self.updating(kind, requests.Update, keys_and_groups.update_placement_group)
        delete = self.deleting(kind, keys_and_groups.delete_placement_group)
        self.add_reads(app, kind, ("name", "type"))
        add_changes(app, kind.plural, create, update, delete)

    def _add_networks(self, app: web.Application) -> None:
        cloud, clock = self.cloud, self.runner.clock
        view = partial(views.network, cloud)
        kind = Kind("networks", "network", cloud.state.networks.values, cloud.network, view)

        async def create(request: web.Request) -> web.Response:
            network = networks.create(cloud, await wire.body(request, requests.CreateNetwork), clock())
            return self.saved({"network": view(network)}, 201)

        async def delete(request: web.Request) -> web.Response:
            self.runner.submit([networks.delete(cloud, cloud.network(wire.number(request)), clock())])
            return web.Response(status=204)

        self.add_reads(app, kind, ("name",))
        update = self.updating(kind, requests.UpdateNetwork, networks.update)
        add_changes(app, kind.plural, create, update, delete)
        self.add_resource_actions(app, "networks", "network", cloud.network)
        for command, model, operation in (
            ("add_subnet", requests.SubnetBody, networks.add_subnet),
            ("delete_subnet", requests.SubnetRange, networks.delete_subnet),
            ("add_route", requests.RouteBody, networks.add_route),
            ("delete_route", requests.RouteBody, networks.delete_route),
            ("change_ip_range", requests.SubnetRange, networks.change_ip_range),
            ("change_protection", requests.ChangeProtection, networks.change_protection),
        ):
            self.add_action(app, "networks", command, cloud.network, model, operation)

    def _add_firewalls(self, app: web.Application) -> None:
        cloud, clock = self.cloud, self.runner.clock
        view = partial(views.firewall, cloud)
        kind = Kind("firewalls", "firewall", cloud.state.firewalls.values, cloud.firewall, view)

        async def create(request: web.Request) -> web.Response:
            firewall, actions = firewalls.create(cloud, await wire.body(request, requests.CreateFirewall), clock())
            return self.submitted(actions, {"firewall": view(firewall)})

        update = self.updating(kind, requests.Update, firewalls.update)
        delete = self.deleting(kind, firewalls.delete)
        self.add_reads(app, kind, ("name",))
        add_changes(app, kind.plural, create, update, delete)
        self.add_resource_actions(app, "firewalls", "firewall", cloud.firewall)
        self._add_firewall_action(app, "set_rules", requests.SetRules, firewalls.set_rules)
        self._add_firewall_action(app, "apply_to_resources", requests.ApplyToResources, firewalls.apply_to_resources)
        self._add_firewall_action(
            app, "remove_from_resources", requests.RemoveFromResources, firewalls.remove_from_resources
        )

    def _add_firewall_action(
        self,
        app: web.Application,
        command: str,
        model: type[Body],
        operation: Callable[[Cloud, Firewall, Body, datetime], list[Action]],
    ) -> None:
        """An action of as many parts as there are servers that it is for."""
        cloud = self.cloud

        async def handle(request: web.Request) -> web.Response:
            firewall = cloud.firewall(wire.number(request))
            body = await wire.body(request, model)
            return self.submitted(operation(cloud, firewall, body, self.runner.clock()))

        app.router.add_post(f"{wire.PREFIX}/firewalls/{{id}}/actions/{command}", handle)

    def _add_primary_ips(self, app: web.Application) -> None:
        cloud, clock = self.cloud, self.runner.clock
        addresses = cloud.state.primary_ips
        kind = Kind("primary_ips", "primary_ip", addresses.values, cloud.primary_ip, views.primary_ip)

        async def create(request: web.Request) -> web.Response:
            address, action = primary_ips.create(cloud, await wire.body(request, requests.CreatePrimaryIp), clock())
            self.runner.submit([action] if action is not None else [])
            shown = self.view(action) if action is not None else None
            return wire.answer({"primary_ip": views.primary_ip(address), "action": shown}, 201)

        update = self.updating(kind, requests.UpdatePrimaryIp, primary_ips.update)
        delete = self.deleting(kind, primary_ips.delete)
        self.add_reads(app, kind, ("name", "ip"))
        add_changes(app, kind.plural, create, update, delete)
        self.add_resource_actions(app, "primary_ips", "primary_ip", cloud.primary_ip)
        for command, model, operation in (
            ("assign", requests.AssignPrimaryIp, primary_ips.assign),
            ("change_protection", requests.ChangeProtection, primary_ips.change_protection),
            ("change_dns_ptr", requests.ChangeDnsPointer, primary_ips.change_dns_pointer),
        ):
            self.add_action(app, "primary_ips", command, cloud.primary_ip, model, operation)
        self.add_plain_action(app, "primary_ips", "unassign", cloud.primary_ip, primary_ips.unassign)

    def _add_servers(self, app: web.Application) -> None:
        cloud, clock = self.cloud, self.runner.clock
        view = partial(views.server, cloud)
        kind = Kind("servers", "server", cloud.state.servers.values, cloud.server, view)

        async def create(request: web.Request) -> web.Response:
            body = await wire.body(request, requests.CreateServer)
            taken = await asyncio.to_thread(self.runner.backend.machine_names)
            created = servers.create(cloud, body, clock(), taken)
            self.runner.submit([created.action, *created.next_actions])
            answer = {
                "server": view(created.server),
                "action": self.view(created.action),
                "next_actions": [self.view(action) for action in created.next_actions],
                # At Hetzner a server without SSH keys gets a password; machines of the lab have none at all.
                "root_password": None,
            }
            return wire.answer(answer, 201)

        async def update(request: web.Request) -> web.Response:
            server = cloud.server(wire.number(request))
            self.runner.submit(servers.update(cloud, server, await wire.body(request, requests.UpdateServer), clock()))
            return wire.answer({"server": view(server)})

        async def delete(request: web.Request) -> web.Response:
            action = servers.delete(cloud, cloud.server(wire.number(request)), clock())
            self.runner.submit([action])
            return wire.answer({"action": self.view(action)})

        self.add_reads(app, kind, ("name", "status"))
        add_changes(app, "servers", create, update, delete)
        self.add_resource_actions(app, "servers", "server", cloud.server)
        for command, operation in (
            ("poweron", servers.power_on),
            ("poweroff", servers.power_off),
            ("shutdown", servers.shut_down),
            ("reboot", servers.reboot),
            ("reset", servers.reset),
            ("remove_from_placement_group", servers.remove_from_placement_group),
        ):
            self.add_plain_action(app, "servers", command, cloud.server, operation)
        for command, model, with_body in (
            ("attach_to_network", requests.AttachToNetwork, servers.attach_to_network),
            ("detach_from_network", requests.DetachFromNetwork, servers.detach_from_network),
            ("change_alias_ips", requests.ChangeAliasIps, servers.change_alias_ips),
            ("change_protection", requests.ChangeServerProtection, servers.change_protection),
            ("add_to_placement_group", requests.AddToPlacementGroup, servers.add_to_placement_group),
            ("change_type", requests.ChangeType, servers.change_type),
            ("rebuild", requests.RebuildServer, servers.rebuild),
            ("change_dns_ptr", requests.ChangeDnsPointer, servers.change_dns_pointer),
        ):
            self.add_action(app, "servers", command, cloud.server, model, with_body)
