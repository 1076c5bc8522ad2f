"""Lets Hetzner resources be made after an ``up`` that was killed between Hetzner's answer and the engine's note of it.

Such an object exists but is in no state, and Hetzner refuses a second one of its name (``uniqueness_error``). Every
object therefore carries the *instance* of its stack in a label: a random number that the state has known since before
the first object was made. Before the engine creates an object, one of the same name and instance is a leftover and is
deleted; one of another instance belongs to somebody else (another state, a colleague), is left alone, and stops the
``up`` with a message.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider

INSTANCE_LABEL: Final = "isthmus-instance"
DEFAULT_ENDPOINT: Final = "https://api.hetzner.cloud/v1"
DEADLINE_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 1.0
_TIMEOUT_SECONDS: Final = 20.0


class HetznerError(Exception):
    """A request that Hetzner refused, in the API's own words, or an object that stands in the way."""


class HetznerClient:
    """The few calls that leftovers need. ``endpoint`` as of the provider, with the path ``/v1``."""

    def __init__(
        self,
        token: str,
        endpoint: str | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._token = token
        self._endpoint = (endpoint or DEFAULT_ENDPOINT).rstrip("/")
        self._sleep = sleep
        self._deadline_seconds = deadline_seconds

    def by_name(self, kind: str, name: str) -> list[dict[str, Any]]:
        """The objects of this name; ``kind`` is the API's collection, such as ``servers``."""
        answer = self._request("GET", f"/{kind}?name={urllib.parse.quote(name)}")
        return list((answer or {})[kind])

    def network(self, id_: int) -> dict[str, Any] | None:
        """One network, None when there is none."""
        answer = self._request("GET", f"/networks/{id_}", missing_is_fine=True)
        return dict(answer["network"]) if answer else None

    def server(self, id_: int) -> dict[str, Any] | None:
        """The server as the API shows it; None when it is gone."""
        answer = self._request("GET", f"/servers/{id_}", missing_is_fine=True)
        return dict(answer["server"]) if answer else None

    def act(self, path: str, body: Mapping[str, Any]) -> None:
        """Asks for an action and waits for its end. Raises HetznerError with the API's words when it fails."""
        answer = self._request("POST", path, body)
        action = (answer or {})["action"]["id"]

        def done() -> bool:
            found = (self._request("GET", f"/actions/{action}") or {})["action"]
            if found["status"] == "error":
                raise HetznerError(f"Hetzner API: {path}: {found['error']['message']}")
            return bool(found["status"] == "success")

        kind, id_, _, name = path.strip("/").split("/")
        self._until(done, f"the action {name} of {kind}/{id_} has not ended")

    def delete_subnet(self, network: int, ip_range: str) -> None:
        """Deletes a subnet and waits until it is gone."""
        self._request("POST", f"/networks/{network}/actions/delete_subnet", {"ip_range": ip_range})
        self._until(
            lambda: not _has_subnet(self.network(network), ip_range),
            f"the subnet {ip_range} of networks/{network} is still there after its deletion",
        )

    def delete(self, kind: str, id_: int) -> None:
        """Deletes an object and waits until it is gone; a server takes a while, and keeps its name till then."""
        self._until(lambda: self._try_delete(kind, id_), f"{kind}/{id_} is still there after its deletion")

    def _try_delete(self, kind: str, id_: int) -> bool:
        if self._request("GET", f"/{kind}/{id_}", missing_is_fine=True) is None:
            return True
        # 423: an action still runs on it, most likely the one that made it.
        self._request("DELETE", f"/{kind}/{id_}", missing_is_fine=True, locked_is_fine=True)
        return False

    def _until(self, done: Callable[[], bool], otherwise: str) -> None:
        end = time.monotonic() + self._deadline_seconds
        while not done():
            if time.monotonic() >= end:
                raise HetznerError(
                    f"Hetzner: {otherwise} within {self._deadline_seconds:.0f} s; "
                    "the next `pulumi up` goes on from there"
                )
            self._sleep(_POLL_SECONDS)

    def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        missing_is_fine: bool = False,
        locked_is_fine: bool = False,
    ) -> dict[str, Any] | None:
        request = urllib.request.Request(
            self._endpoint + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
            method=method,
        )
        for pause in (1.0, 2.0, 4.0, 8.0, None):
            try:
                with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
                    text = response.read()
                answer: dict[str, Any] = json.loads(text) if text else {}
                return answer
            except urllib.error.HTTPError as error:
                with error:
                    status, said = error.code, error.read().decode("utf-8", "replace")
                if (status == 404 and missing_is_fine) or (status == 423 and locked_is_fine):
                    return None
                failure = f"{status}: {said.strip()[:200]}"
                retried = status in (409, 423, 429) or status >= 500
            except (OSError, http.client.HTTPException) as error:
                failure, retried = f"no answer: {getattr(error, 'reason', None) or error}", True
            if not retried or pause is None:
                break
            self._sleep(pause)
        raise HetznerError(f"Hetzner API: {method} {path}: {failure}")


def _has_subnet(network: Mapping[str, Any] | None, ip_range: str) -> bool:
    return network is not None and any(subnet["ip_range"] == ip_range for subnet in network["subnets"])


def remove_leftover(client: HetznerClient, kind: str, name: str, instance: str) -> bool:
    """Deletes the object of this name if it is of this instance. Raises HetznerError if it is of another."""
    removed = False
    for found in client.by_name(kind, name):
        if found["labels"].get(INSTANCE_LABEL) != instance:
            raise HetznerError(
                f"Hetzner: {kind}/{found['id']} is called {name} already, and it was not made by this stack's state; "
                "delete or rename it, or bring back the state it belongs to"
            )
        client.delete(kind, int(found["id"]))
        removed = True
    return removed


def remove_leftover_subnet(client: HetznerClient, network: int, ip_range: str) -> bool:
    """Deletes a subnet of our own network. It needs no label: what is in our network is ours."""
    if not _has_subnet(client.network(network), ip_range):
        return False
    client.delete_subnet(network, ip_range)
    return True


def complete_server(client: HetznerClient, id_: int, inputs: Mapping[str, Any]) -> None:
    """Does what an earlier ``up`` left undone on a server that Hetzner had accepted: the private network, power.

    The provider notes such a server as one that needs an update and then finds nothing to update, so without this it
    would run without its private network for good. ``inputs`` are those of the resource.
    """
    server = client.server(id_)
    if server is None:
        return
    present = {int(one["network"]) for one in server["private_net"]}
    for one in inputs.get("networks") or []:
        if int(one["networkId"]) not in present:
            body = {"network": int(one["networkId"]), "ip": one["ip"]}
            client.act(f"/servers/{id_}/actions/attach_to_network", body)
    if server["status"] == "off":
        client.act(f"/servers/{id_}/actions/poweron", {})


class _InstanceProvider(ResourceProvider):
    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        instance = uuid.uuid4().hex
        return CreateResult(instance, {"instance": instance})

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=False)


class StackInstance(Resource, module="isthmus", name="StackInstance"):
    """A random number that lives as long as the stack's state."""

    instance: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(_InstanceProvider(), name, {"instance": None}, opts)


class RemoveLeftovers:
    """The label and the hooks for the Hetzner resources of one stack. Needs the engine: the SDK's mocks have no
    hooks.
    """

    def __init__(self, instance: pulumi.Output[str], token: pulumi.Output[str], endpoint: str | None) -> None:
        self._instance = instance
        self._token = token
        self._endpoint = endpoint
        self._hooks: dict[str, pulumi.ResourceHook] = {}

    @property
    def labels(self) -> dict[str, pulumi.Input[str]]:
        """What every object has to carry."""
        return {INSTANCE_LABEL: self._instance}

    def binding(self, kind: str) -> pulumi.ResourceHookBinding:
        """For the options of a resource; ``kind`` as of :meth:`HetznerClient.by_name`, or ``subnets``."""
        if kind not in self._hooks:
            self._hooks[kind] = pulumi.ResourceHook(f"hetzner-leftover-{kind}", self._hook(kind))
        binding = pulumi.ResourceHookBinding(before_create=[self._hooks[kind]])
        if kind == "servers":
            if "repair" not in self._hooks:
                self._hooks["repair"] = pulumi.ResourceHook("hetzner-repair-server", self._repair)
            binding.before_update = [self._hooks["repair"]]
        return binding

    async def _repair(self, args: pulumi.ResourceHookArgs) -> None:
        client = HetznerClient(str(await self._token.future()), self._endpoint)
        try:
            await asyncio.to_thread(complete_server, client, int(args.id or 0), args.new_inputs or {})
        except HetznerError as error:
            raise HetznerError(
                f"{error}; Hetzner can't complete this server, make it anew: `pulumi up --replace '{args.urn}'`"
            ) from None

    def _hook(self, kind: str) -> pulumi.ResourceHookFunction:
        async def before_create(args: pulumi.ResourceHookArgs) -> None:
            inputs = args.new_inputs or {}
            client = HetznerClient(str(await self._token.future()), self._endpoint)
            if kind == "subnets":
                network, ip_range = int(inputs["networkId"]), str(inputs["ipRange"])
                removed = await asyncio.to_thread(remove_leftover_subnet, client, network, ip_range)
            else:
                instance = str(await self._instance.future())
                removed = await asyncio.to_thread(remove_leftover, client, kind, str(inputs["name"]), instance)
            if removed:
                pulumi.log.info(f"{args.name}: removed what an interrupted run had left of it at Hetzner")

        return before_create
