"""The probers in the pods' networks: started on the pods' machines, told what to do, read as they go."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab import machines
from lab.commands import wait_until
from lab.errors import LabError
from lab.failover.gaps import KINDS, Kind, is_calm
from lab.failover.pods import Pod
from lab.piped import Piped

PROBER: Final = Path(__file__).with_name("pod_prober.py")
_ENTER: Final = (
    "for network in /run/netns/cni-*; do "
    'nsenter --net="$network" ip -4 -oneline address show dev eth0 2>/dev/null | grep -qwF "inet $1" || continue; '
    'exec nsenter --net="$network" python3 -S -E -u -c "$2"; done; echo "no pod has the address $1" >&2; exit 1'
)
"""Into the pod's network, by its address: what is asked for there is the same, however the pod was started."""
START_DEADLINE_SECONDS: Final = 30.0
END_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Flow:
    """Who asks whom, all the time and in every kind."""

    source: Pod
    target: Pod

    @property
    def name(self) -> str:
        """In the prober's words."""
        return f"{self.source.node}>{self.target.node}"


class Prober:
    """The prober in a pod's network; a context manager. It ends with the block, or with its machine."""

    def __init__(self, pod: Pod) -> None:
        self.pod = pod
        self.now = 0.0
        """Up to when it has told everything; 0 before its first word."""
        self._answers: dict[str, list[float]] = {}
        self._failures: list[tuple[str, float, str]] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Prober:
        """Starts it, and returns when it answers others."""
        command = ["sh", "-c", _ENTER, "prober", self.pod.address, PROBER.read_text(encoding="utf-8")]
        self._process = Piped(machines.exec_command(self.pod.node, command), self._read)
        try:
            wait_until(
                lambda: self.now > 0 or self._process.has_ended(),
                what=f"the prober on {self.pod.node} starts",
                deadline_seconds=START_DEADLINE_SECONDS,
            )
            if self._process.has_ended():
                raise LabError(f"the prober on {self.pod.node} ended: {self._process.complaint(500)}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it."""
        self._process.end(END_SECONDS)

    def _read(self, line: str) -> None:
        told = json.loads(line)
        with self._lock:
            for key, times in told["answers"].items():
                self._answers.setdefault(key, []).extend(times)
            self._failures += map(tuple, told["events"])
            self.now = told["now"]

    def _order(self, **order: object) -> None:
        # One whose machine has lost its power hears nothing more.
        with contextlib.suppress(BrokenPipeError):
            self._process.tell(json.dumps(order))

    def start(self, flows: Mapping[str, str]) -> None:
        """Asks these addresses, by the flows' names."""
        self._order(start=flows)

    def stop(self) -> None:
        """Asks nobody any more."""
        self._order(stop=True)

    def answers(self, flow: Flow, kind: Kind) -> list[float]:
        """When answers came, seconds of CLOCK_MONOTONIC."""
        with self._lock:
            return list(self._answers.get(f"{flow.name} {kind}", ()))

    def failures(self, flow: Flow, kind: Kind, since: float) -> list[tuple[float, str]]:
        """New connections that were not made since then, or when the one that stays broke: (seconds after, reason)."""
        with self._lock:
            return [
                (moment - since, reason)
                for key, moment, reason in self._failures
                if key == f"{flow.name} {kind}" and moment >= since
            ]


class Probing:
    """The probers of all pods of two clusters."""

    def __init__(self, probers: Mapping[Pod, Prober]) -> None:
        self._probers = probers

    def of(self, flow: Flow) -> Prober:
        """The one that asks."""
        return self._probers[flow.source]

    def start(self, flows: Iterable[Flow]) -> None:
        """Lets these flows begin."""
        by_source: dict[Pod, dict[str, str]] = {}
        for flow in flows:
            by_source.setdefault(flow.source, {})[flow.name] = flow.target.address
        for source, wanted in by_source.items():
            self._probers[source].start(wanted)

    def stop(self) -> None:
        """Ends all flows."""
        for prober in self._probers.values():
            prober.stop()

    def calm(self, flows: Iterable[Flow], *, seconds: float) -> bool:
        """Whether all flows have had answers in every kind for so long, without a pause."""
        now = time.monotonic()
        return all(
            # What it has not told yet can't be asked for; one that is silent is not calm.
            now - (prober := self.of(flow)).now < 1.0
            and all(is_calm(prober.answers(flow, kind), now=prober.now, seconds=seconds) for kind in KINDS)
            for flow in flows
        )

    def silent(self, flows: Iterable[Flow], *, seconds: float) -> list[str]:
        """The flows and kinds that are not calm, for a message."""
        return [
            f"{flow.name} {kind}"
            for flow in flows
            for kind in KINDS
            if not is_calm(self.of(flow).answers(flow, kind), now=self.of(flow).now, seconds=seconds)
        ]


@contextlib.contextmanager
def probing(pods: Iterable[Pod]) -> Iterator[Probing]:
    """A prober in the network of each pod, for the block."""
    with contextlib.ExitStack() as stack:
        yield Probing({pod: stack.enter_context(Prober(pod)) for pod in pods})
