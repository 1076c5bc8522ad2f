"""A node goes on to another k3s where it is: the binary lies on all machines first, then this node is closed to new
pods, emptied for a minor release, brought up to date over SSH, waited for, and opened. Or it takes other settings of
its k3s, likewise and without being emptied.

It owns the requests and the waits. What stands against it and what is said is ``domain/upgrading.py``'s, how its pods
leave ``node_leaving.py``'s. All of it may end at any moment and be begun again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol

from components.kubernetes_client import KubernetesError
from components.node_leaving import Clock, Departure, NobodyAnswers, NotLeftError, Servers, close, empty, open_again
from domain import leaving
from domain import upgrading as rules
from domain.generation import kubelet
from domain.k3s_upgrades import is_of

BACK_SECONDS: Final = 300.0
"""From the end of the installation, which waits for k3s itself, to a node that is ready with it."""
LOOK_SECONDS: Final = 2.0
TELL_SECONDS: Final = 10.0
AT_ONCE: Final = 10
"""As many machines get the binary beside each other."""


class NotUpgradedError(Exception):
    """A node runs as before, or is not back."""


class UnaskedError(NotUpgradedError):
    """Nobody says what a node runs: no server answers, there is no such node, or nobody can log in to its machine;
    ``reason`` says which.
    """

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


class MachineError(Exception):
    """What was to be done on a machine has not come to its end; the text has its last words."""


class Shell(Protocol):
    """A machine to work on. All raise :class:`MachineError`."""

    def settings(self) -> str:
        """With which settings its k3s was last started, as of :func:`domain.node_files.settings_digest`, or another
        word where their files were changed since.
        """

    def stage(self, say: Callable[[str], None]) -> None:
        """The binary is there, beside the one that runs."""

    def install(self, say: Callable[[str], None]) -> None:
        """k3s runs as the settings say."""


class Staging:
    """The binary on all machines that are to run it, once in an ``up`` and before the first of them is touched."""

    def __init__(self, cluster: str, version: str, shells: Mapping[str, Shell]) -> None:
        self._cluster = cluster
        self._version = version
        self._shells = shells
        self._lock = threading.Lock()
        self._there: set[str] = set()

    @property
    def nodes(self) -> Collection[str]:
        """Whose machines these are."""
        return self._shells

    def done(self, nodes: Collection[str], say: Callable[[str], None]) -> None:
        """Returns once it is on the machines of these nodes. Raises :class:`NotUpgradedError` with all that failed."""
        with self._lock:
            wanted = sorted({*nodes} & {*self._shells} - self._there)
            if not wanted:
                return
            say(f"{self._cluster}: k3s {self._version} is brought to {', '.join(wanted)}; none of them is touched yet")
            with ThreadPoolExecutor(AT_ONCE) as pool:
                failed = dict(
                    zip(wanted, pool.map(lambda node: self._try(self._shells[node], say), wanted), strict=True)
                )
            reasons = {node: reason for node, reason in failed.items() if reason is not None}
            if reasons:
                raise NotUpgradedError(rules.not_staged(self._cluster, self._version, reasons))
            self._there.update(wanted)

    @staticmethod
    def _try(shell: Shell, say: Callable[[str], None]) -> str | None:
        try:
            shell.stage(say)
        except MachineError as error:
            return str(error)
        return None


@dataclass(frozen=True)
class Upgrade:
    """A node and the k3s that it is to run. ``servers`` are the names of all servers, ``shell`` leads to its machine,
    ``settings`` are those that it is to have, empty where they are not compared. ``settle_seconds``: how long it may
    take to join, and other servers to be ready, where the machines were looked after just before. ``lays``: its files
    are laid also where it has its k3s and the settings already. ``departure`` as of :mod:`components.node_leaving`.
    """

    departure: Departure
    servers: Sequence[str]
    version: str
    shell: Shell
    staging: Staging
    settings: str = ""
    back_seconds: float = BACK_SECONDS
    settle_seconds: float = 0.0
    lays: bool = False


def upgrade(task: Upgrade, say: Callable[[str], None], clock: Clock | None = None) -> None:
    """Returns once the node is ready with its k3s and the settings of it, or was so already. Raises
    :class:`NotUpgradedError`, and :class:`components.node_leaving.NotLeftError` where its pods stay.
    """
    _Upgrade(task, say, clock or Clock()).run()


class _Upgrade:
    def __init__(self, task: Upgrade, say: Callable[[str], None], clock: Clock) -> None:
        self._task = task
        self._say = say
        self._clock = clock
        self._api = Servers(task.departure)
        self._to_version = rules.to_version(task.version)

    def run(self) -> None:
        of, version = self._task.departure, self._task.version
        try:
            listed = self._settled()
        except (NobodyAnswers, KubernetesError) as error:
            if isinstance(error, NobodyAnswers) and [*self._task.servers] == [of.node] and self._has_others():
                self._say(rules.restarted_all_the_same(of.cluster, of.node, str(error)))
                self._install(rules.SETTINGS)
                return
            raise self._unasked(self._to_version, str(error)) from None
        node = next((item for item in listed.get("items") or [] if item["metadata"]["name"] == of.node), None)
        if node is None and not self._task.lays:
            raise self._unasked(self._to_version, "it has not joined the cluster")
        if node is None:
            # Nobody's pods have to be spared, and k3s makes the Node that somebody has deleted when it is started anew.
            self._may_begin(self._to_version, listed)
            self._install(self._to_version)
            return
        if not is_of(kubelet(node), version):
            self._may_begin(self._to_version, listed)
            self._task.staging.done(rules.behind(listed, self._task.staging.nodes, version), self._say)
            self._say(f"{of.cluster}: node {of.node} goes on from k3s {kubelet(node)} to {version}")
            if rules.drains(node, version):
                mark, purpose = self._to_version.mark, rules.purpose(version)
                empty(of, node, self._say, self._clock, self._api, mark=mark, purpose=purpose)
            else:
                self._close(self._to_version, node)
            self._install(self._to_version)
        elif self._has_others():
            self._may_begin(rules.SETTINGS, listed)
            self._say(f"{of.cluster}: node {of.node} takes its settings of k3s, which is started anew")
            self._close(rules.SETTINGS, node)
            self._install(rules.SETTINGS)
        else:
            if self._task.lays:
                self._lay(rules.SETTINGS)
            # An `up` that did not come to its end may have closed it.
            for change in (self._to_version, rules.SETTINGS):
                if leaving.opening(node, change.mark) is not None:
                    self._wait(change)
            self._open()

    def _settled(self) -> Mapping[str, Any]:
        """The Nodes, once this one has joined and no other server is away, or as they are when the time is over."""
        of, seconds, begun = self._task.departure, self._task.settle_seconds, self._clock.now()
        told_at: float | None = None
        while True:
            listed = self._api.request("GET", "/api/v1/nodes")
            names = [item["metadata"]["name"] for item in listed.get("items") or []]
            away = rules.servers_away(listed, of.node, server=of.server, servers=self._task.servers)
            passed = self._clock.now() - begun
            if (of.node in names and not away) or passed >= seconds:
                return listed
            if told_at is None or self._clock.now() - told_at >= TELL_SECONDS:
                self._say(rules.not_settled(of.cluster, of.node, away, passed, seconds))
                told_at = self._clock.now()
            self._clock.sleep(LOOK_SECONDS)

    def _has_others(self) -> bool:
        """Whether its k3s runs with other settings."""
        if not self._task.settings:
            return False
        try:
            return self._task.shell.settings() != self._task.settings
        except MachineError as error:
            raise self._unasked(rules.SETTINGS, str(error)) from None

    def _may_begin(self, change: rules.Change, listed: Mapping[str, Any]) -> None:
        of, servers, version = self._task.departure, self._task.servers, self._task.version
        against = rules.why_not_now(listed, of.node, server=of.server, servers=servers, version=version)
        if against is not None:
            raise NotUpgradedError(rules.not_begun(of.cluster, of.node, change, against))

    def _unasked(self, change: rules.Change, reason: str) -> UnaskedError:
        of = self._task.departure
        return UnaskedError(rules.not_begun(of.cluster, of.node, change, reason), reason)

    def _close(self, change: rules.Change, node: Mapping[str, Any]) -> None:
        of = self._task.departure
        try:
            close(self._api, node, change.mark)
        except (NobodyAnswers, KubernetesError) as error:
            raise NotUpgradedError(rules.not_begun(of.cluster, of.node, change, str(error))) from None

    def _install(self, change: rules.Change) -> None:
        self._lay(change)
        self._wait(change)
        self._open()

    def _lay(self, change: rules.Change) -> None:
        of = self._task.departure
        try:
            self._task.shell.install(self._say)
        except MachineError as error:
            raise NotUpgradedError(rules.not_installed(of.cluster, of.node, change, str(error))) from None

    def _wait(self, change: rules.Change) -> None:
        of, version, begun = self._task.departure, self._task.version, self._clock.now()
        told, told_at = "", begun
        while True:
            try:
                done, state = rules.has_gone_on(self._api.get(f"/api/v1/nodes/{of.node}"), version)
            except (NobodyAnswers, KubernetesError) as error:
                done, state = False, str(error)
            passed = self._clock.now() - begun
            if done:
                self._say(f"{of.cluster}: node {of.node} has {change.done}")
                return
            if passed >= self._task.back_seconds:
                seconds = self._task.back_seconds
                raise NotUpgradedError(rules.not_there(of.cluster, of.node, change, seconds, state))
            if state != told or self._clock.now() - told_at >= TELL_SECONDS:
                self._say(f"{of.cluster}: node {of.node} ({passed:.0f} of {self._task.back_seconds:.0f} s): {state}")
                told, told_at = state, self._clock.now()
            self._clock.sleep(LOOK_SECONDS)

    def _open(self) -> None:
        """Where it was this program that closed it, also in an ``up`` that did not come to its end."""
        of = self._task.departure
        try:
            node = self._api.get(f"/api/v1/nodes/{of.node}")
            if node is not None:
                for change in (self._to_version, rules.SETTINGS):
                    open_again(self._api, node, change.mark)
        except (NobodyAnswers, KubernetesError) as error:
            raise NotLeftError(f"{of.cluster}: `kubectl uncordon {of.node}` is left to do: {error}") from None
