"""The HTTP edge: routes, token, rate limit, ordered faults, error format, request log. All decisions lie behind it."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from lab.standins.hetzner_api import (
    catalog,
    errors,
    faults,
    firewalls,
    keys_and_groups,
    listing,
    networks,
    primary_ips,
    requests,
    servers,
    views,
)
from lab.standins.hetzner_api.errors import ApiError
from lab.standins.hetzner_api.faults import RequestFault
from lab.standins.hetzner_api.rate_limit import RateLimit
from lab.standins.hetzner_api.records import Action, ResourceReference, ResourceType
from lab.standins.hetzner_api.requests import Body
from lab.standins.hetzner_api.runner import Runner
from lab.standins.hetzner_api.views import Json

logger = logging.getLogger(__name__)

PREFIX = "/v1"
TOKEN_LENGTH = 64
WATCH_INTERVAL_SECONDS = 2.0
ACTION_SORT_FIELDS = ("id", "command", "status", "started", "finished")
RESOURCE_SORT_FIELDS = ("id", "name", "created")
DATACENTERS_ANNOUNCEMENT = "https://docs.hetzner.cloud/changelog#2025-12-16-phasing-out-datacenters"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Access:
    """Who may call: one token, or any of the right length when there is none given."""

    token: str | None = None

    def allows(self, header: str | None) -> bool:
        """Check an Authorization header."""
        scheme, _, token = (header or "").partition(" ")
        if scheme.lower() != "bearer" or len(token) != TOKEN_LENGTH:
            return False
        return self.token is None or hmac.compare_digest(token.encode(), self.token.encode())


class Api:
    """All handlers. One instance serves one project."""

    def __init__(self, runner: Runner, access: Access, rate_limit: RateLimit) -> None:
        self.runner = runner
        self.cloud = runner.cloud
        self.access = access
        self.rate_limit = rate_limit

    def application(self) -> web.Application:
        """Return the aiohttp application; it resumes running actions at its start."""
        app = web.Application(middlewares=[self._log, self._errors, self._guard], client_max_size=1024**2)
        app.cleanup_ctx.append(self._background)
        self._add_catalog(app)
        self._add_actions(app)
        self._add_ssh_keys(app)
        self._add_placement_groups(app)
        self._add_networks(app)
        self._add_firewalls(app)
        self._add_primary_ips(app)
        self._add_servers(app)
        return app

    async def _background(self, app: web.Application) -> AsyncIterator[None]:
        self.runner.resume()
        watch = asyncio.create_task(self.runner.watch_machines(WATCH_INTERVAL_SECONDS))
        yield
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
        await self.runner.close()

    # What every request passes, from the outside in.

    @web.middleware
    async def _log(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Log method, path, status and time; never headers or bodies, which hold the token and user data."""
        begin = time.perf_counter()
        status: int | str = "dropped"
        try:
            response = await handler(request)
            status = response.status
            return response
        finally:
            milliseconds = (time.perf_counter() - begin) * 1000
            logger.info("%s %s %s %.0f ms", request.method, request.path_qs, status, milliseconds)

    @web.middleware
    async def _errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except ApiError as error:
            response = _json(error.body(), error.status)
        except web.HTTPNotFound:
            logger.warning("unknown path: %s %s", request.method, request.path)
            message = "path not found; the stand-in does not offer it, or nobody does"
            response = _json(ApiError(404, "not_found", message).body(), 404)
        except web.HTTPMethodNotAllowed:
            message = "the request method is not allowed"
            response = _json(ApiError(405, "method_not_allowed", message).body(), 405)
        except (web.HTTPException, asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            logger.exception("%s %s", request.method, request.path)
            response = _json(ApiError(500, "server_error", "error within the stand-in").body(), 500)
        if not response.prepared:
            response.headers.update(self.rate_limit.headers())
            response.headers["X-Correlation-Id"] = uuid.uuid4().hex[:16]
        return response

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check rate limit and token, and let ordered faults happen."""
        if not self.rate_limit.take(self.runner.clock()):
            raise ApiError(429, "rate_limit_exceeded", "the limit of requests per hour has been reached")
        if not self.access.allows(request.headers.get("Authorization")):
            raise ApiError(401, "unauthorized", "unable to authenticate")
        fault = self.runner.faults.for_request(request.method, request.path.removeprefix(PREFIX))
        if self.runner.faults.problem is not None:
            logger.error("%s", self.runner.faults.problem)
        if fault is None:
            return await handler(request)
        logger.info("fault on %s %s: %s %s", request.method, request.path, fault.when, fault.answer)
        if fault.when == "after":
            await handler(request)
        return await _faulty_answer(request, fault)

    # Resources.

    def _add_catalog(self, app: web.Application) -> None:
        _read_only(app, "locations", "location", [views.location(one) for one in catalog.LOCATIONS], ("name",))
        _read_only(
            app, "server_types", "server_type", [views.server_type(one) for one in catalog.SERVER_TYPES], ("name",)
        )
        filters = ("name", "type", "status", "architecture", "bound_to")
        _read_only(app, "images", "image", [views.image(one) for one in catalog.IMAGES], filters)

        async def gone(request: web.Request) -> web.Response:
            details = {"announcement": DATACENTERS_ANNOUNCEMENT}
            raise ApiError(410, "deprecated_api_endpoint", "API functionality was removed", details)

        app.router.add_get(f"{PREFIX}/datacenters", gone)
        app.router.add_get(f"{PREFIX}/datacenters/{{id}}", gone)

    def _add_actions(self, app: web.Application) -> None:
        async def by_ids(request: web.Request) -> web.Response:
            wanted = _query(request).get("id", [])
            if not wanted:
                message = "listing arbitrary actions has been removed, ask for actions by id"
                raise ApiError(410, "deprecated_api_endpoint", message, {"announcement": _ACTIONS_ANNOUNCEMENT})
            chosen = [action for action in self.cloud.state.actions.values() if str(action.id) in wanted]
            return self._list_actions(request, chosen)

        app.router.add_get(f"{PREFIX}/actions", by_ids)
        app.router.add_get(f"{PREFIX}/actions/{{action_id:\\d+}}", self._get_action)

    def _add_ssh_keys(self, app: web.Application) -> None:
        async def create(request: web.Request) -> web.Response:
            key = keys_and_groups.create_ssh_key(
                self.cloud, await _body(request, requests.CreateSshKey), self.runner.clock()
            )
            return self._saved({"ssh_key": views.ssh_key(key)}, 201)

        async def update(request: web.Request) -> web.Response:
            key = self.cloud.ssh_key(_id(request))
            keys_and_groups.update_ssh_key(self.cloud, key, await _body(request, requests.Update))
            return self._saved({"ssh_key": views.ssh_key(key)})

        async def delete(request: web.Request) -> web.Response:
            keys_and_groups.delete_ssh_key(self.cloud, self.cloud.ssh_key(_id(request)))
            return self._saved_nothing()

        self._add_reads(
            app,
            "ssh_keys",
            "ssh_key",
            lambda: [views.ssh_key(one) for one in self.cloud.state.ssh_keys.values()],
            lambda number: views.ssh_key(self.cloud.ssh_key(number)),
            ("name", "fingerprint"),
        )
        _add_changes(app, "ssh_keys", create, update, delete)

    def _add_placement_groups(self, app: web.Application) -> None:
        async def create(request: web.Request) -> web.Response:
            body = await _body(request, requests.CreatePlacementGroup)
            group = keys_and_groups.create_placement_group(self.cloud, body, self.runner.clock())
            return self._saved({"placement_group": views.placement_group(self.cloud, group), "action": None}, 201)

        async def update(request: web.Request) -> web.Response:
            group = self.cloud.placement_group(_id(request))
            keys_and_groups.update_placement_group(self.cloud, group, await _body(request, requests.Update))
            return self._saved({"placement_group": views.placement_group(self.cloud, group)})

        async def delete(request: web.Request) -> web.Response:
            keys_and_groups.delete_placement_group(self.cloud, self.cloud.placement_group(_id(request)))
            return self._saved_nothing()

        self._add_reads(
            app,
            "placement_groups",
            "placement_group",
            lambda: [views.placement_group(self.cloud, one) for one in self.cloud.state.placement_groups.values()],
            lambda number: views.placement_group(self.cloud, self.cloud.placement_group(number)),
            ("name", "type"),
        )
        _add_changes(app, "placement_groups", create, update, delete)

    def _add_networks(self, app: web.Application) -> None:
        cloud, clock = self.cloud, self.runner.clock

        async def create(request: web.Request) -> web.Response:
            network = networks.create(cloud, await _body(request, requests.CreateNetwork), clock())
            return self._saved({"network": views.network(cloud, network)}, 201)

        async def update(request: web.Request) -> web.Response:
            network = cloud.network(_id(request))
            networks.update(cloud, network, await _body(request, requests.UpdateNetwork))
            return self._saved({"network": views.network(cloud, network)})

        async def delete(request: web.Request) -> web.Response:
            self.runner.submit([networks.delete(cloud, cloud.network(_id(request)), clock())])
            return web.Response(status=204)

        self._add_reads(
            app,
            "networks",
            "network",
            lambda: [views.network(cloud, one) for one in cloud.state.networks.values()],
            lambda number: views.network(cloud, cloud.network(number)),
            ("name",),
        )
        _add_changes(app, "networks", create, update, delete)
        self._add_resource_actions(app, "networks", "network", cloud.network)
        for command, model, operation in (
            ("add_subnet", requests.SubnetBody, networks.add_subnet),
            ("delete_subnet", requests.SubnetRange, networks.delete_subnet),
            ("add_route", requests.RouteBody, networks.add_route),
            ("delete_route", requests.RouteBody, networks.delete_route),
            ("change_ip_range", requests.SubnetRange, networks.change_ip_range),
            ("change_protection", requests.ChangeProtection, networks.change_protection),
        ):
            self._add_action(app, "networks", command, cloud.network, model, operation)

    def _add_firewalls(self, app: web.Application) -> None:
        cloud, clock = self.cloud, self.runner.clock

        async def create(request: web.Request) -> web.Response:
            firewall, actions = firewalls.create(cloud, await _body(request, requests.CreateFirewall), clock())
            return self._submitted(actions, {"firewall": views.firewall(cloud, firewall)})

        async def update(request: web.Request) -> web.Response:
            firewall = cloud.firewall(_id(request))
            firewalls.update(cloud, firewall, await _body(request, requests.Update))
            return self._saved({"firewall": views.firewall(cloud, firewall)})

        async def delete(request: web.Request) -> web.Response:
            firewalls.delete(cloud, cloud.firewall(_id(request)))
            return self._saved_nothing()

        async def set_rules(request: web.Request) -> web.Response:
            firewall = cloud.firewall(_id(request))
            body = await _body(request, requests.SetRules)
            return self._submitted(firewalls.set_rules(cloud, firewall, body, clock()))

        async def apply_to_resources(request: web.Request) -> web.Response:
            firewall = cloud.firewall(_id(request))
            body = await _body(request, requests.ApplyToResources)
            return self._submitted(firewalls.apply_to_resources(cloud, firewall, body, clock()))

        async def remove_from_resources(request: web.Request) -> web.Response:
            firewall = cloud.firewall(_id(request))
            body = await _body(request, requests.RemoveFromResources)
            return self._submitted(firewalls.remove_from_resources(cloud, firewall, body, clock()))

        self._add_reads(
            app,
            "firewalls",
            "firewall",
            lambda: [views.firewall(cloud, one) for one in cloud.state.firewalls.values()],
            lambda number: views.firewall(cloud, cloud.firewall(number)),
            ("name",),
        )
        _add_changes(app, "firewalls", create, update, delete)
        self._add_resource_actions(app, "firewalls", "firewall", cloud.firewall)
        for handler in (set_rules, apply_to_resources, remove_from_resources):
            app.router.add_post(f"{PREFIX}/firewalls/{{id}}/actions/{handler.__name__}", handler)

    def _add_primary_ips(self, app: web.Application) -> None:
        cloud, clock = self.cloud, self.runner.clock

        async def create(request: web.Request) -> web.Response:
            address, action = primary_ips.create(cloud, await _body(request, requests.CreatePrimaryIp), clock())
            self.runner.submit([action] if action is not None else [])
            shown = self._view(action) if action is not None else None
            return _json({"primary_ip": views.primary_ip(address), "action": shown}, 201)

        async def update(request: web.Request) -> web.Response:
            address = cloud.primary_ip(_id(request))
            primary_ips.update(cloud, address, await _body(request, requests.UpdatePrimaryIp))
            return self._saved({"primary_ip": views.primary_ip(address)})

        async def delete(request: web.Request) -> web.Response:
            primary_ips.delete(cloud, cloud.primary_ip(_id(request)))
            return self._saved_nothing()

        self._add_reads(
            app,
            "primary_ips",
            "primary_ip",
            lambda: [views.primary_ip(one) for one in cloud.state.primary_ips.values()],
            lambda number: views.primary_ip(cloud.primary_ip(number)),
            ("name", "ip"),
        )
        _add_changes(app, "primary_ips", create, update, delete)
        self._add_resource_actions(app, "primary_ips", "primary_ip", cloud.primary_ip)
        for command, model, operation in (
            ("assign", requests.AssignPrimaryIp, primary_ips.assign),
            ("change_protection", requests.ChangeProtection, primary_ips.change_protection),
            ("change_dns_ptr", requests.ChangeDnsPointer, primary_ips.change_dns_pointer),
        ):
            self._add_action(app, "primary_ips", command, cloud.primary_ip, model, operation)
        self._add_plain_action(app, "primary_ips", "unassign", cloud.primary_ip, primary_ips.unassign)

    def _add_servers(self, app: web.Application) -> None:
        cloud, clock = self.cloud, self.runner.clock

        async def create(request: web.Request) -> web.Response:
            body = await _body(request, requests.CreateServer)
            taken = await asyncio.to_thread(self.runner.backend.machine_names)
            created = servers.create(cloud, body, clock(), taken)
            self.runner.submit([created.action, *created.next_actions])
            answer = {
                "server": views.server(cloud, created.server),
                "action": self._view(created.action),
                "next_actions": [self._view(action) for action in created.next_actions],
                # At Hetzner a server without SSH keys gets a password; machines of the lab have none at all.
                "root_password": None,
            }
            return _json(answer, 201)

        async def update(request: web.Request) -> web.Response:
            server = cloud.server(_id(request))
            self.runner.submit(servers.update(cloud, server, await _body(request, requests.UpdateServer), clock()))
            return _json({"server": views.server(cloud, server)})

        async def delete(request: web.Request) -> web.Response:
            action = servers.delete(cloud, cloud.server(_id(request)), clock())
            self.runner.submit([action])
            return _json({"action": self._view(action)})

        self._add_reads(
            app,
            "servers",
            "server",
            lambda: [views.server(cloud, one) for one in cloud.state.servers.values()],
            lambda number: views.server(cloud, cloud.server(number)),
            ("name", "status"),
        )
        _add_changes(app, "servers", create, update, delete)
        self._add_resource_actions(app, "servers", "server", cloud.server)
        for command, operation in (
            ("poweron", servers.power_on),
            ("poweroff", servers.power_off),
            ("shutdown", servers.shut_down),
            ("reboot", servers.reboot),
            ("reset", servers.reset),
            ("remove_from_placement_group", servers.remove_from_placement_group),
        ):
            self._add_plain_action(app, "servers", command, cloud.server, operation)
        for command, model, with_body in (
            ("attach_to_network", requests.AttachToNetwork, servers.attach_to_network),
            ("detach_from_network", requests.DetachFromNetwork, servers.detach_from_network),
            ("change_alias_ips", requests.ChangeAliasIps, servers.change_alias_ips),
            ("change_protection", requests.ChangeServerProtection, servers.change_protection),
            ("add_to_placement_group", requests.AddToPlacementGroup, servers.add_to_placement_group),
            ("change_type", requests.ChangeType, servers.change_type),
            ("change_dns_ptr", requests.ChangeDnsPointer, servers.change_dns_pointer),
        ):
            self._add_action(app, "servers", command, cloud.server, model, with_body)

    # Helpers of the resources.

    def _add_reads(
        self,
        app: web.Application,
        plural: str,
        singular: str,
        everything: Callable[[], list[Json]],
        one: Callable[[int], Json],
        filters: Sequence[str],
    ) -> None:
        sort_fields = ("id", "name") if plural == "ssh_keys" else RESOURCE_SORT_FIELDS

        async def get_list(request: web.Request) -> web.Response:
            page = listing.select(everything(), _query(request), sort_fields=sort_fields, filters=filters)
            return _page(request, plural, page)

        async def get_one(request: web.Request) -> web.Response:
            return _json({singular: one(_id(request))})

        app.router.add_get(f"{PREFIX}/{plural}", get_list)
        app.router.add_get(f"{PREFIX}/{plural}/{{id:\\d+}}", get_one)

    def _add_resource_actions(
        self, app: web.Application, plural: str, kind: ResourceType, find: Callable[[int], object]
    ) -> None:
        async def of_all(request: web.Request) -> web.Response:
            return self._list_actions(request, [action for action in self._actions() if _is_about(action, kind)])

        async def of_one(request: web.Request) -> web.Response:
            number = _id(request)
            find(number)
            reference = ResourceReference(id=number, type=kind)
            return self._list_actions(request, [action for action in self._actions() if reference in action.resources])

        app.router.add_get(f"{PREFIX}/{plural}/actions", of_all)
        app.router.add_get(f"{PREFIX}/{plural}/actions/{{action_id:\\d+}}", self._get_action)
        app.router.add_get(f"{PREFIX}/{plural}/{{id:\\d+}}/actions", of_one)
        app.router.add_get(f"{PREFIX}/{plural}/{{id:\\d+}}/actions/{{action_id:\\d+}}", self._get_action)

    def _add_action(
        self,
        app: web.Application,
        plural: str,
        command: str,
        find: Callable[[int], Any],
        model: type[Any],
        operation: Callable[..., Action],
    ) -> None:
        async def handle(request: web.Request) -> web.Response:
            target = find(_id(request))
            action = operation(self.cloud, target, await _body(request, model), self.runner.clock())
            self.runner.submit([action])
            return _json({"action": self._view(action)}, 201)

        app.router.add_post(f"{PREFIX}/{plural}/{{id:\\d+}}/actions/{command}", handle)

    def _add_plain_action(
        self,
        app: web.Application,
        plural: str,
        command: str,
        find: Callable[[int], Any],
        operation: Callable[..., Action],
    ) -> None:
        async def handle(request: web.Request) -> web.Response:
            action = operation(self.cloud, find(_id(request)), self.runner.clock())
            self.runner.submit([action])
            return _json({"action": self._view(action)}, 201)

        app.router.add_post(f"{PREFIX}/{plural}/{{id:\\d+}}/actions/{command}", handle)

    async def _get_action(self, request: web.Request) -> web.Response:
        number = int(request.match_info["action_id"])
        action = self.cloud.state.actions.get(number)
        if action is None:
            raise errors.not_found("action", number)
        return _json({"action": self._view(action)})

    def _actions(self) -> list[Action]:
        return list(self.cloud.state.actions.values())

    def _list_actions(self, request: web.Request, actions: Sequence[Action]) -> web.Response:
        items = [self._view(action) for action in actions]
        page = listing.select(items, _query(request), sort_fields=ACTION_SORT_FIELDS, filters=("status",))
        return _page(request, "actions", page)

    def _view(self, action: Action) -> Json:
        return views.action(action, self.runner.clock(), self.runner.action_seconds)

    def _submitted(self, actions: Sequence[Action], answer: Json | None = None) -> web.Response:
        self.runner.submit(actions)
        return _json({**(answer or {}), "actions": [self._view(action) for action in actions]}, 201)

    def _saved(self, answer: Json, status: int = 200) -> web.Response:
        self.runner.save()
        return _json(answer, status)

    def _saved_nothing(self) -> web.Response:
        self.runner.save()
        return web.Response(status=204)


_ACTIONS_ANNOUNCEMENT: Final = (
    "https://docs.hetzner.cloud/changelog#2025-01-30-listing-arbitrary-actions-in-the-actions-list-endpoint-is-removed"
)


def _add_changes(app: web.Application, plural: str, create: Handler, update: Handler, delete: Handler) -> None:
    app.router.add_post(f"{PREFIX}/{plural}", create)
    app.router.add_put(f"{PREFIX}/{plural}/{{id:\\d+}}", update)
    app.router.add_delete(f"{PREFIX}/{plural}/{{id:\\d+}}", delete)


def _read_only(app: web.Application, plural: str, singular: str, items: Sequence[Json], filters: Sequence[str]) -> None:
    async def get_list(request: web.Request) -> web.Response:
        page = listing.select(items, _query(request), sort_fields=RESOURCE_SORT_FIELDS, filters=filters)
        return _page(request, plural, page)

    async def get_one(request: web.Request) -> web.Response:
        number = _id(request)
        for item in items:
            if item["id"] == number:
                return _json({singular: item})
        raise errors.not_found(singular.replace("_", " "), number)

    app.router.add_get(f"{PREFIX}/{plural}", get_list)
    app.router.add_get(f"{PREFIX}/{plural}/{{id:\\d+}}", get_one)


def _is_about(action: Action, kind: ResourceType) -> bool:
    return any(resource.type == kind for resource in action.resources)


def _id(request: web.Request) -> int:
    return int(request.match_info["id"])


def _query(request: web.Request) -> Mapping[str, Sequence[str]]:
    return {name: request.query.getall(name) for name in request.query}


async def _body(request: web.Request, model: type[Body]) -> Body:
    text = await request.text()
    try:
        data = json.loads(text) if text.strip() else {}
    except json.JSONDecodeError as error:
        raise ApiError(400, "json_error", "invalid JSON in the request") from error
    if not isinstance(data, dict):
        raise ApiError(400, "json_error", "the request's body must be an object")
    return requests.parse(model, data)


def _json(body: Json, status: int = 200) -> web.Response:
    return web.json_response(body, status=status)


def _page(request: web.Request, plural: str, page: listing.Page) -> web.Response:
    response = _json({plural: page.items, "meta": page.meta()})
    neighbours = (("prev", page.previous_page), ("next", page.next_page), ("last", page.last_page))
    links = [
        f'<{request.url.update_query(page=str(number), per_page=str(page.per_page))}>; rel="{relation}"'
        for relation, number in neighbours
        if number is not None
    ]
    response.headers["Link"] = ", ".join(links)
    return response


async def _faulty_answer(request: web.Request, fault: RequestFault) -> web.StreamResponse:
    if isinstance(fault.answer, int):
        code = fault.code or faults.CODES.get(fault.answer, "server_error")
        raise ApiError(fault.answer, code, fault.message)
    if fault.answer == "hang":
        await asyncio.sleep(fault.seconds)
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError("connection dropped by an ordered fault")
