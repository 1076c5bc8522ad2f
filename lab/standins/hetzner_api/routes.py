"""What can be asked of each kind of resource: the paths below /v1, and which operation answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
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
from lab.standins.hetzner_api.routing import Routing, add_changes, read_only

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
        read_only(app, "locations", "location", [views.location(one) for one in catalog.LOCATIONS], ("name",))
        read_only(
            app, "server_types", "server_type", [views.server_type(one) for one in catalog.SERVER_TYPES], ("name",)
        )
        filters = ("name", "type", "status", "architecture", "bound_to")
        read_only(app, "images", "image", [views.image(one) for one in catalog.IMAGES], filters)

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
        async def create(request: web.Request) -> web.Response:
            key = keys_and_groups.create_ssh_key(
                self.cloud, await wire.body(request, requests.CreateSshKey), self.runner.clock()
            )
            return self.saved({"ssh_key": views.ssh_key(key)}, 201)

        async def update(request: web.Request) -> web.Response:
            key = self.cloud.ssh_key(wire.number(request))
            keys_and_groups.update_ssh_key(self.cloud, key, await wire.body(request, requests.Update))
            return self.saved({"ssh_key": views.ssh_key(key)})

        async def delete(request: web.Request) -> web.Response:
            keys_and_groups.delete_ssh_key(self.cloud, self.cloud.ssh_key(wire.number(request)))
            return self.saved_nothing()

        self.add_reads(
            app,
            "ssh_keys",
            "ssh_key",
            lambda: [views.ssh_key(one) for one in self.cloud.state.ssh_keys.values()],
            lambda number: views.ssh_key(self.cloud.ssh_key(number)),
            ("name", "fingerprint"),
        )
        add_changes(app, "ssh_keys", create, update, delete)

    def _add_placement_groups(self, app: web.Application) -> None:
        async def create(request: web.Request) -> web.Response:
            body = await wire.body(request, requests.CreatePlacementGroup)
            group = keys_and_groups.create_placement_group(self.cloud, body, self.runner.clock())
            return self.saved({"placement_group": views.placement_group(self.cloud, group), "action": None}, 201)

        async def update(request: web.Request) -> web.Response:
            group = self.cloud.placement_group(wire.number(request))
            keys_and_groups.update_placement_group(self.cloud, group, await wire.body(request, requests.Update))
            return self.saved({"placement_group": views.placement_group(self.cloud, group)})

        async def delete(request: web.Request) -> web.Response:
            keys_and_groups.delete_placement_group(self.cloud, self.cloud.placement_group(wire.number(request)))
            return self.saved_nothing()

        self.add_reads(
            app,
            "placement_groups",
            "placement_group",
            lambda: [views.placement_group(self.cloud, one) for one in self.cloud.state.placement_groups.values()],
            lambda number: views.placement_group(self.cloud, self.cloud.placement_group(number)),
            ("name", "type"),
        )
        add_changes(app, "placement_groups", create, update, delete)

    def _add_networks(self, app: web.Application) -> None:
        cloud, clock = self.cloud, self.runner.clock

        async def create(request: web.Request) -> web.Response:
            network = networks.create(cloud, await wire.body(request, requests.CreateNetwork), clock())
            return self.saved({"network": views.network(cloud, network)}, 201)

        async def update(request: web.Request) -> web.Response:
            network = cloud.network(wire.number(request))
            networks.update(cloud, network, await wire.body(request, requests.UpdateNetwork))
            return self.saved({"network": views.network(cloud, network)})

        async def delete(request: web.Request) -> web.Response:
            self.runner.submit([networks.delete(cloud, cloud.network(wire.number(request)), clock())])
            return web.Response(status=204)

        self.add_reads(
            app,
            "networks",
            "network",
            lambda: [views.network(cloud, one) for one in cloud.state.networks.values()],
            lambda number: views.network(cloud, cloud.network(number)),
            ("name",),
        )
        add_changes(app, "networks", create, update, delete)
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

        async def create(request: web.Request) -> web.Response:
            firewall, actions = firewalls.create(cloud, await wire.body(request, requests.CreateFirewall), clock())
            return self.submitted(actions, {"firewall": views.firewall(cloud, firewall)})

        async def update(request: web.Request) -> web.Response:
            firewall = cloud.firewall(wire.number(request))
            firewalls.update(cloud, firewall, await wire.body(request, requests.Update))
            return self.saved({"firewall": views.firewall(cloud, firewall)})

        async def delete(request: web.Request) -> web.Response:
            firewalls.delete(cloud, cloud.firewall(wire.number(request)))
            return self.saved_nothing()

        self.add_reads(
            app,
            "firewalls",
            "firewall",
            lambda: [views.firewall(cloud, one) for one in cloud.state.firewalls.values()],
            lambda number: views.firewall(cloud, cloud.firewall(number)),
            ("name",),
        )
        add_changes(app, "firewalls", create, update, delete)
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

        async def create(request: web.Request) -> web.Response:
            address, action = primary_ips.create(cloud, await wire.body(request, requests.CreatePrimaryIp), clock())
            self.runner.submit([action] if action is not None else [])
            shown = self.view(action) if action is not None else None
            return wire.answer({"primary_ip": views.primary_ip(address), "action": shown}, 201)

        async def update(request: web.Request) -> web.Response:
            address = cloud.primary_ip(wire.number(request))
            primary_ips.update(cloud, address, await wire.body(request, requests.UpdatePrimaryIp))
            return self.saved({"primary_ip": views.primary_ip(address)})

        async def delete(request: web.Request) -> web.Response:
            primary_ips.delete(cloud, cloud.primary_ip(wire.number(request)))
            return self.saved_nothing()

        self.add_reads(
            app,
            "primary_ips",
            "primary_ip",
            lambda: [views.primary_ip(one) for one in cloud.state.primary_ips.values()],
            lambda number: views.primary_ip(cloud.primary_ip(number)),
            ("name", "ip"),
        )
        add_changes(app, "primary_ips", create, update, delete)
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

        async def create(request: web.Request) -> web.Response:
            body = await wire.body(request, requests.CreateServer)
            taken = await asyncio.to_thread(self.runner.backend.machine_names)
            created = servers.create(cloud, body, clock(), taken)
            self.runner.submit([created.action, *created.next_actions])
            answer = {
                "server": views.server(cloud, created.server),
                "action": self.view(created.action),
                "next_actions": [self.view(action) for action in created.next_actions],
                # At Hetzner a server without SSH keys gets a password; machines of the lab have none at all.
                "root_password": None,
            }
            return wire.answer(answer, 201)

        async def update(request: web.Request) -> web.Response:
            server = cloud.server(wire.number(request))
            self.runner.submit(servers.update(cloud, server, await wire.body(request, requests.UpdateServer), clock()))
            return wire.answer({"server": views.server(cloud, server)})

        async def delete(request: web.Request) -> web.Response:
            action = servers.delete(cloud, cloud.server(wire.number(request)), clock())
            self.runner.submit([action])
            return wire.answer({"action": self.view(action)})

        self.add_reads(
            app,
            "servers",
            "server",
            lambda: [views.server(cloud, one) for one in cloud.state.servers.values()],
            lambda number: views.server(cloud, cloud.server(number)),
            ("name", "status"),
        )
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
