"""The generation, the k3s and its settings of each node, as a resource whose update makes the node anew or brings it to
that k3s and these settings.

The work is a hook of that update, so that it has what the program has in hand, and nothing of it is in the state: the
node leaves, its machine is switched off and gets an empty disk, and it is waited for until it is back. The resources
stand in a row, so that it goes node by node and stops at the first that fails. What has failed or was killed is begun
anew for that node: the number in the state is the one of the last success.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

from components.kubernetes_client import KubernetesError
from components.node_leaving import Clock, Departure, NobodyAnswers, Servers, forget, leave
from components.node_member import plain
from components.node_settings import NodeSettings
from components.node_upgrade import Shell, Staging, UnaskedError, Upgrade, upgrade
from domain import generation as rules
from domain import upgrading
from domain.leaving import Part

BACK_SECONDS: Final = 900.0
"""From an empty disk to a node that is ready; as long as one that joins for the first time gets."""
SETTLE_SECONDS: Final = 120.0
"""From a k3s that was started anew to a Node that says so."""
LOOK_SECONDS: Final = 2.0
TELL_SECONDS: Final = 10.0


class NotAnewError(Exception):
    """A node was not made anew, or is not back."""


class Machine(Protocol):
    """What a node runs on. All raise what they have to say."""

    def is_there(self) -> None:
        """It answers. Nothing is changed."""

    def switch_off(self) -> None:
        """Nothing of it runs any more."""

    def begin_anew(self) -> None:
        """It is empty, and becomes a node as for the first time."""


@dataclass(frozen=True)
class Remaking:
    """A node to be made anew. ``servers`` are the names of all servers, ``version`` is the k3s that it comes with,
    ``where`` says where to look when it does not come. ``settle_seconds``: how long what stands against it may last,
    where other nodes were brought up to date just before. ``departure`` as of :mod:`components.node_leaving`.
    """

    departure: Departure
    servers: Sequence[str]
    version: str
    where: str
    back_seconds: float = BACK_SECONDS
    settle_seconds: float = 0.0


def make_anew(remaking: Remaking, machine: Machine, say: Callable[[str], None], clock: Clock | None = None) -> None:
    """Returns once the node is back. Raises :class:`NotAnewError`, and
    :class:`components.node_leaving.NotLeftError` where the node stays.
    """
    clock, of = clock or Clock(), remaking.departure
    api = Servers(of)
    _wait_until_it_may_begin(remaking, api, say, clock)
    try:
        machine.is_there()
    except Exception as error:
        raise NotAnewError(rules.not_begun(of.cluster, of.node, str(error))) from error
    leave(of, say, clock)
    # An agent has left as well where nobody answers. Here somebody has to, to take it back.
    forget(of, say, clock)
    say(f"{of.cluster}: the machine of {of.node} is made anew")
    _do(of, machine.switch_off)
    # A server whose member was taken out of etcd starts again and joins, as long as it runs. A member that stays behind
    # would keep the new one out, which has its name.
    forget(of, say, clock)
    _do(of, machine.begin_anew)
    _wait_until_back(remaking, api, say, clock)


def _wait_until_it_may_begin(remaking: Remaking, api: Servers, say: Callable[[str], None], clock: Clock) -> None:
    of, end = remaking.departure, clock.now() + remaking.settle_seconds
    told = ""
    while (against := _why_not_now(remaking, api)) is not None:
        if clock.now() >= end:
            raise NotAnewError(rules.not_begun(of.cluster, of.node, against))
        if against != told:
            seconds = f"{remaking.settle_seconds:.0f} s"
            say(f"{of.cluster}: node {of.node} is not made anew yet, and after {seconds} not at all: {against}")
            told = against
        clock.sleep(LOOK_SECONDS)


def _why_not_now(remaking: Remaking, api: Servers) -> str | None:
    of, servers, version = remaking.departure, remaking.servers, remaking.version
    try:
        listed = api.request("GET", "/api/v1/nodes")
    except (NobodyAnswers, KubernetesError) as error:
        return str(error)
    return rules.why_not_now(listed, of.node, server=of.server, servers=servers, version=version)


def _do(of: Departure, deed: Callable[[], None]) -> None:
    try:
        deed()
    except Exception as error:
        raise NotAnewError(rules.not_rebuilt(of.cluster, of.node, str(error))) from error


def _wait_until_back(remaking: Remaking, api: Servers, say: Callable[[str], None], clock: Clock) -> None:
    of, begun = remaking.departure, clock.now()
    told, told_at = "", begun
    while True:
        try:
            back, state = rules.is_back(api.get(f"/api/v1/nodes/{of.node}"))
        except (NobodyAnswers, KubernetesError) as error:
            back, state = False, str(error)
        passed = clock.now() - begun
        if back:
            say(f"{of.cluster}: node {of.node} is back after {passed:.0f} s")
            return
        if passed >= remaking.back_seconds:
            raise NotAnewError(rules.not_back(of.cluster, of.node, remaking.back_seconds, state, remaking.where))
        if state != told or clock.now() - told_at >= TELL_SECONDS:
            say(f"{of.cluster}: node {of.node} comes back ({passed:.0f} of {remaking.back_seconds:.0f} s): {state}")
            told, told_at = state, clock.now()
        clock.sleep(LOOK_SECONDS)


# --- the resources ----------------------------------------------------------------------------------------------------


class GenerationProvider(ResourceProvider):
    """Of :class:`NodeGeneration`. It notes a number; the deed is its hook's."""

    serialize_as_secret_always = False
    """The serialised provider is a reference to the class; as a secret it would only hide that."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        """A node that is new is of whatever generation the settings say."""
        return CreateResult(str(props["node"]), plain(props))

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """All but the name can change."""
        # That nothing was left to do is no reason to do anything, and no program before said it.
        olds, news = ({name: value for name, value in plain(props).items() if value != ""} for props in (_olds, _news))
        replaces = ["node"] if olds.get("node") != news.get("node") else []
        return DiffResult(changes=olds != news, replaces=replaces)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """The hook has been there."""
        return UpdateResult(plain(_news))


class NodeGeneration(Resource, module="isthmus", name="NodeGeneration"):
    """Which generation of its machine a node is of, which k3s it runs, and which of its settings it has."""

    def __init__(
        self,
        name: str,
        *,
        node: str,
        generation: int,
        k3s: pulumi.Input[str],
        settings: pulumi.Input[int] | None = None,
        laid: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        further = {"settings": settings, "laid": laid}
        props = {"node": node, "generation": generation, "k3s": k3s}
        props |= {name: value for name, value in further.items() if value is not None}
        super().__init__(GenerationProvider(), name, props, opts)


@dataclass(frozen=True)
class Remade:
    """A node that can be made anew and upgraded. ``ran``: the last update left it as a node. ``found`` is awaited in
    the hook, and gives its machine; ``shell`` likewise what logs in there. ``settings`` as of
    :class:`components.node_upgrade.Upgrade`. ``raised``: its number is higher than the last update left it, so that a
    resource that is yet to be made has the same to do as one that is there. It comes ``after`` these besides its
    machine, and what is in the cluster waits for it where it is ``awaited``. ``laid``: on-premise a word of the machine
    where it has left another k3s or other settings to this one, another each time, and empty where it has not; None
    where nobody but this one brings them, and so looks at the number of the settings and at k3s itself.
    """

    node: Part
    generation: int
    ran: bool
    machine: pulumi.Resource
    address: pulumi.Input[str] | None
    found: Callable[[], Awaitable[Machine]] = field(repr=False)
    shell: Callable[[], Awaitable[Shell]] = field(repr=False)
    settings: str = ""
    raised: bool = False
    after: Sequence[pulumi.Resource] = ()
    laid: pulumi.Output[str] | None = None
    awaited: bool = True


@dataclass(frozen=True)
class Generations:
    """All nodes of a cluster. ``version`` is the k3s that they are to run, ``where`` says where to look when one does
    not come back; ``calls_back``: whether hooks are run. ``settle_seconds`` as of :class:`Remaking`.
    """

    nodes: Sequence[Remade]
    version: pulumi.Input[str]
    where: str
    calls_back: bool
    settle_seconds: float = 0.0

    def in_a_row(
        self,
        name: str,
        cluster: str,
        *,
        kubeconfig: pulumi.Output[str],
        gone_with: pulumi.Resource,
        drain_seconds: pulumi.Input[int],
        parent: pulumi.Resource,
    ) -> list[pulumi.Resource]:
        """A resource for each node, one after the other. Gives those that are awaited. ``kubeconfig``
        as k3s wrote it, ``gone_with`` as of :func:`components.node_member.join_members`.
        """
        settings = self._settings(name, pulumi.ResourceOptions(parent=parent, deleted_with=gone_with))
        by_name = {remade.node.name: remade for remade in self.nodes}
        servers = [remade.node.name for remade in self.nodes if remade.node.server]
        made: list[pulumi.Resource] = []
        stagings = _Stagings(cluster, self.nodes)
        row = rules.order([remade.node for remade in self.nodes])
        for node in row:
            remade = by_name[node]
            # Its own address last: it is about to go.
            asked = [by_name[other].address for other in servers if other != node] + [remade.address]
            known = pulumi.Output.all(
                kubeconfig, drain_seconds, self.version, *(address for address in asked if address is not None)
            )
            deeds = _Deeds(cluster, remade, servers, known, self.where, self.settle_seconds, stagings)
            made.append(
                NodeGeneration(
                    f"{name}-{node}-generation",
                    node=node,
                    generation=remade.generation,
                    # A constant where it is no reason to do anything.
                    k3s=self.version if remade.laid is None else "",
                    settings=settings[remade.node.server].number if counted(remade) else None,
                    laid=remade.laid,
                    opts=pulumi.ResourceOptions(
                        parent=parent,
                        deleted_with=gone_with,
                        depends_on=[remade.machine, *remade.after, gone_with, *made[-1:]],
                        hooks=deeds.binding(f"{name}-{node}") if self.calls_back else None,
                    ),
                )
            )
        return [resource for resource, node in zip(made, row, strict=True) if by_name[node].awaited]

    def _settings(self, name: str, opts: pulumi.ResourceOptions) -> dict[bool, NodeSettings]:
        """Of the servers and of the agents, where they are compared: they are the same on all of a role."""
        digests = {remade.node.server: remade.settings for remade in self.nodes if counted(remade)}
        roles = {True: "server", False: "agent"}
        return {
            server: NodeSettings(f"{name}-{roles[server]}-settings", role=roles[server], digest=digest, opts=opts)
            for server, digest in digests.items()
        }


def counted(remade: Remade) -> bool:
    """Whether a change of its settings is noted by their number."""
    return bool(remade.settings) and remade.laid is None


class _Stagings:
    """What brings k3s to all machines, once for all nodes of an ``up``."""

    def __init__(self, cluster: str, nodes: Sequence[Remade]) -> None:
        self._cluster = cluster
        self._nodes = nodes
        self._made: tuple[Staging, Mapping[str, Shell]] | None = None

    async def of(self, version: str) -> tuple[Staging, Mapping[str, Shell]]:
        """And the shells of all machines, by their nodes."""
        if self._made is None:
            shells = {remade.node.name: await remade.shell() for remade in self._nodes}
            self._made = Staging(self._cluster, version, shells), shells
        return self._made


@dataclass(frozen=True)
class _Deeds:
    """The hooks of one node."""

    cluster: str
    remade: Remade
    servers: Sequence[str]
    known: pulumi.Output[list[Any]]
    where: str
    settle_seconds: float
    stagings: _Stagings

    def binding(self, name: str) -> pulumi.ResourceHookBinding:
        binding = pulumi.ResourceHookBinding(before_update=[pulumi.ResourceHook(f"{name}-anew", self.before_update)])
        if self.remade.raised or self.remade.ran or self.remade.laid is not None:
            # Of a program before this one: the node may run another k3s than it noted, and no resource has its number.
            # Or an `up` failed before this resource was made, and its machine leaves something to it in the next.
            binding.before_create = [pulumi.ResourceHook(f"{name}-noted", self.before_create)]
        return binding

    async def before_create(self, args: pulumi.ResourceHookArgs) -> None:
        if self.remade.laid is not None and not self.remade.raised and not (args.new_inputs or {}).get("laid"):
            return
        try:
            await self._do(anew=self.remade.raised)
        except UnaskedError as error:
            if self.remade.laid is not None:
                raise
            self._warn(args, error)

    async def before_update(self, args: pulumi.ResourceHookArgs) -> None:
        before, after = args.old_inputs or {}, args.new_inputs or {}
        anew = int(after.get("generation", 0)) > int(before.get("generation", 0))
        if self.remade.laid is not None and not anew and after.get("laid", "") in ("", before.get("laid", "")):
            return
        try:
            await self._do(anew=anew)
        except UnaskedError as error:
            if self.remade.laid is not None or "settings" in before or before.get("k3s") != after.get("k3s"):
                raise
            # A program before this one noted no settings, so nobody has changed anything.
            self._warn(args, error)

    def _warn(self, args: pulumi.ResourceHookArgs, error: UnaskedError) -> None:
        """It is away, and holds up nobody. The state has it with this k3s all the same, so this `up` says so alone."""
        version = (args.new_inputs or {}).get("k3s")
        pulumi.log.warn(upgrading.not_asked(self.cluster, self.remade.node.name, str(version), error.reason))

    async def _do(self, *, anew: bool) -> None:
        found = await self.known.future()
        if found is None:
            return
        kubeconfig, drain_seconds, version, *addresses = found
        departure = Departure(
            cluster=self.cluster,
            node=self.remade.node.name,
            server=self.remade.node.server,
            addresses=[str(address) for address in addresses],
            seconds=float(drain_seconds),
            kubeconfig=str(kubeconfig),
        )
        if anew:
            machine = await self.remade.found()
            remaking = Remaking(departure, self.servers, str(version), self.where, settle_seconds=self.settle_seconds)
            await asyncio.to_thread(make_anew, remaking, machine, pulumi.log.info)
        else:
            staging, shells = await self.stagings.of(str(version))
            shell = shells[self.remade.node.name]
            step = Upgrade(
                departure,
                self.servers,
                str(version),
                shell,
                staging,
                self.remade.settings,
                settle_seconds=self.settle_seconds,
                lays=self.remade.laid is not None,
            )
            await asyncio.to_thread(upgrade, step, pulumi.log.info)
