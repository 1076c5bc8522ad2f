"""Lets Hetzner resources be made after an ``up`` that was killed between Hetzner's answer and the engine's note of it.

Such an object exists but is in no state, and Hetzner refuses a second one of its name (``uniqueness_error``). Every
object therefore carries the *instance* of its stack in a label: a random number that the state has known since before
the first object was made. Before the engine creates an object, one of the same name and instance is a leftover and is
deleted; one of another instance belongs to somebody else (another state, a colleague), is left alone, and stops the
``up`` with a message.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any, Final

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider

from components.former_node import LastUpdate, forget_before_create
from components.hetzner_client import HetznerClient, HetznerError, has_subnet

INSTANCE_LABEL: Final = "isthmus-instance"


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
    if not has_subnet(client.network(network), ip_range):
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
    present = {int(attachment["network"]) for attachment in server["private_net"]}
    for network in inputs.get("networks") or []:
        if int(network["networkId"]) not in present:
            body = {"network": int(network["networkId"]), "ip": network["ip"]}
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
    """The label and the hooks for the Hetzner resources of one stack. ``may_be_made`` comes before the others where a
    server is made, ``may_be_changed`` where one is changed, and each says whether it may be. Needs the engine: the
    SDK's mocks have no hooks.
    """

    def __init__(
        self,
        instance: pulumi.Output[str],
        token: pulumi.Output[str],
        endpoint: str | None,
        last: LastUpdate,
        may_be_made: pulumi.ResourceHookFunction | None = None,
        may_be_changed: pulumi.ResourceHookFunction | None = None,
    ) -> None:
        self._may_be_made = may_be_made
        self._may_be_changed = may_be_changed
        self._last = last
        self._instance = instance
        self._token = token
        self._endpoint = endpoint
        self._hooks: dict[str, pulumi.ResourceHook] = {}

    @property
    def labels(self) -> dict[str, pulumi.Input[str]]:
        """What every object has to carry."""
        return {INSTANCE_LABEL: self._instance}

    def binding(self, name: str, kind: str) -> pulumi.ResourceHookBinding:
        """For the options of a resource in component ``name``; ``kind`` as of :meth:`HetznerClient.by_name`, or
        ``subnets``.
        """
        leftover = self._once(f"{name}-leftover-{kind}", self._hook(kind))
        if kind != "servers":
            return pulumi.ResourceHookBinding(before_create=[leftover])
        former = self._once(f"{name}-former-node", forget_before_create(self._last))
        made, changed = (
            [] if function is None else [self._once(f"{name}-{word}", function)]
            for word, function in (("may-be-made", self._may_be_made), ("may-be-changed", self._may_be_changed))
        )
        return pulumi.ResourceHookBinding(
            # The Node after the leftover, which may be its machine.
            before_create=[*made, leftover, former],
            before_update=[*changed, self._once(f"{name}-repair-server", self._repair)],
        )

    def _once(self, name: str, function: pulumi.ResourceHookFunction) -> pulumi.ResourceHook:
        """The engine knows a hook by its name, and takes each name once."""
        if name not in self._hooks:
            self._hooks[name] = pulumi.ResourceHook(name, function)
        return self._hooks[name]

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
