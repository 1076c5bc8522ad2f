"""Ways that the kinds of resources have in common: lists by pages, one by its id, actions, answers that were kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from lab.standins.hetzner_api import errors, listing, views, wire
from lab.standins.hetzner_api.records import Action, ResourceReference, ResourceType
from lab.standins.hetzner_api.runner import Runner
from lab.standins.hetzner_api.views import Json

ACTION_SORT_FIELDS = ("id", "command", "status", "started", "finished")
RESOURCE_SORT_FIELDS = ("id", "name", "created")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Kind:
    """A kind of resource: its names in paths and answers, those that there are now, one by its id, and how it is
    shown.
    """

    plural: str
    singular: str
    everything: Callable[[], Iterable[Any]]
    find: Callable[[int], Any]
    view: Callable[[Any], Json]


class Routing:
    """What handlers of one project's resources share."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.cloud = runner.cloud

    def add_reads(self, app: web.Application, kind: Kind, filters: Sequence[str]) -> None:
        """The list, by pages, and each one of a kind."""
        sort_fields = ("id", "name") if kind.plural == "ssh_keys" else RESOURCE_SORT_FIELDS

        async def get_list(request: web.Request) -> web.Response:
            items = [kind.view(resource) for resource in kind.everything()]
            page = listing.select(items, wire.query(request), sort_fields=sort_fields, filters=filters)
            return wire.page_answer(request, kind.plural, page)

        async def get_one(request: web.Request) -> web.Response:
            return wire.answer({kind.singular: kind.view(kind.find(wire.number(request)))})

        app.router.add_get(f"{wire.PREFIX}/{kind.plural}", get_list)
        app.router.add_get(f"{wire.PREFIX}/{kind.plural}/{{id:\\d+}}", get_one)

    def updating(self, kind: Kind, model: type[Any], operation: Callable[..., object]) -> Handler:
        """How one is changed by an operation that is over at once."""

        async def update(request: web.Request) -> web.Response:
            resource = kind.find(wire.number(request))
            operation(self.cloud, resource, await wire.body(request, model))
            return self.saved({kind.singular: kind.view(resource)})

        return update

    def deleting(self, kind: Kind, operation: Callable[..., None]) -> Handler:
        """How one is deleted by an operation that is over at once."""

        async def delete(request: web.Request) -> web.Response:
            operation(self.cloud, kind.find(wire.number(request)))
            return self.saved_nothing()

        return delete

    def add_resource_actions(
        self, app: web.Application, plural: str, kind: ResourceType, find: Callable[[int], object]
    ) -> None:
        """The actions of a kind and of each one of it."""

        async def of_all(request: web.Request) -> web.Response:
            return self.list_actions(request, [action for action in self._actions() if _is_about(action, kind)])

        async def of_one(request: web.Request) -> web.Response:
            number = wire.number(request)
            find(number)
            reference = ResourceReference(id=number, type=kind)
            return self.list_actions(request, [action for action in self._actions() if reference in action.resources])

        app.router.add_get(f"{wire.PREFIX}/{plural}/actions", of_all)
        app.router.add_get(f"{wire.PREFIX}/{plural}/actions/{{action_id:\\d+}}", self.get_action)
        app.router.add_get(f"{wire.PREFIX}/{plural}/{{id:\\d+}}/actions", of_one)
        app.router.add_get(f"{wire.PREFIX}/{plural}/{{id:\\d+}}/actions/{{action_id:\\d+}}", self.get_action)

    def add_action(
        self,
        app: web.Application,
        plural: str,
        command: str,
        find: Callable[[int], Any],
        model: type[Any],
        operation: Callable[..., Action],
    ) -> None:
        """An action with a body."""

        async def handle(request: web.Request) -> web.Response:
            target = find(wire.number(request))
            action = operation(self.cloud, target, await wire.body(request, model), self.runner.clock())
            self.runner.submit([action])
            return wire.answer({"action": self.view(action)}, 201)

        app.router.add_post(f"{wire.PREFIX}/{plural}/{{id:\\d+}}/actions/{command}", handle)

    def add_plain_action(
        self,
        app: web.Application,
        plural: str,
        command: str,
        find: Callable[[int], Any],
        operation: Callable[..., Action],
    ) -> None:
        """An action without one."""

        async def handle(request: web.Request) -> web.Response:
            action = operation(self.cloud, find(wire.number(request)), self.runner.clock())
            self.runner.submit([action])
            return wire.answer({"action": self.view(action)}, 201)

        app.router.add_post(f"{wire.PREFIX}/{plural}/{{id:\\d+}}/actions/{command}", handle)

    async def get_action(self, request: web.Request) -> web.Response:
        """One action by its id, of whatever kind."""
        number = int(request.match_info["action_id"])
        action = self.cloud.state.actions.get(number)
        if action is None:
            raise errors.not_found("action", number)
        return wire.answer({"action": self.view(action)})

    def _actions(self) -> list[Action]:
        return list(self.cloud.state.actions.values())

    def list_actions(self, request: web.Request, actions: Sequence[Action]) -> web.Response:
        """These actions, by pages."""
        items = [self.view(action) for action in actions]
        page = listing.select(items, wire.query(request), sort_fields=ACTION_SORT_FIELDS, filters=("status",))
        return wire.page_answer(request, "actions", page)

    def view(self, action: Action) -> Json:
        """An action as the API shows it now."""
        return views.action(action, self.runner.clock(), self.runner.action_seconds)

    def submitted(self, actions: Sequence[Action], answer: Json | None = None) -> web.Response:
        """Hands the actions to the runner, and answers with them."""
        self.runner.submit(actions)
        return wire.answer({**(answer or {}), "actions": [self.view(action) for action in actions]}, 201)

    def saved(self, answer: Json, status: int = 200) -> web.Response:
        """Keeps what was changed, and answers."""
        self.runner.save()
        return wire.answer(answer, status)

    def saved_nothing(self) -> web.Response:
        """Keeps what was changed, and answers with nothing."""
        self.runner.save()
        return web.Response(status=204)


def add_changes(app: web.Application, plural: str, create: Handler, update: Handler, delete: Handler) -> None:
    """How one is made, changed and deleted."""
    app.router.add_post(f"{wire.PREFIX}/{plural}", create)
    app.router.add_put(f"{wire.PREFIX}/{plural}/{{id:\\d+}}", update)
    app.router.add_delete(f"{wire.PREFIX}/{plural}/{{id:\\d+}}", delete)


def read_only(app: web.Application, plural: str, singular: str, items: Sequence[Json], filters: Sequence[str]) -> None:
    """The list and each one of a kind that nobody changes."""

    async def get_list(request: web.Request) -> web.Response:
        page = listing.select(items, wire.query(request), sort_fields=RESOURCE_SORT_FIELDS, filters=filters)
        return wire.page_answer(request, plural, page)

    async def get_one(request: web.Request) -> web.Response:
        number = wire.number(request)
        for item in items:
            if item["id"] == number:
                return wire.answer({singular: item})
        raise errors.not_found(singular.replace("_", " "), number)

    app.router.add_get(f"{wire.PREFIX}/{plural}", get_list)
    app.router.add_get(f"{wire.PREFIX}/{plural}/{{id:\\d+}}", get_one)


def _is_about(action: Action, kind: ResourceType) -> bool:
    return any(resource.type == kind for resource in action.resources)
