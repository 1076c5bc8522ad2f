"""A node leaves its cluster: cordoned, its pods evicted, its Node deleted, by whichever server answers.

It owns the requests and the waits. What is evicted, what an answer means and what is said is ``domain/leaving.py``'s.
All of it may end at any moment and be begun again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from components.kubernetes_client import KubernetesClient, KubernetesError, UnsupportedKubeconfigError
from components.reachability import why_unreachable
from domain import leaving
from domain.kubeconfig import KubeconfigError, rewrite
from domain.leaving import LEAVES_ANNOTATION, LEAVING, Pod, Purpose, Refusal
from domain.names import API_PORT

ANSWER_SECONDS: Final = 60.0
"""For a cluster of which no server answers: outlasts a server that leads no more, not a person's network."""
GONE_SECONDS: Final = 120.0
"""From the deletion of a Node: k3s takes a server's member out of etcd before it lets go of it."""
LOOK_SECONDS: Final = 2.0
TELL_SECONDS: Final = 10.0
_MERGE: Final = "application/merge-patch+json"


class NotLeftError(Exception):
    """The node stays, and with it its machine."""


@dataclass(frozen=True)
class Departure:
    """Who leaves. ``kubeconfig`` as k3s writes it, ``addresses`` are those of the servers: the first that answers is
    asked. ``server`` if it runs the API itself.
    """

    cluster: str
    node: str
    server: bool
    addresses: Sequence[str]
    seconds: float
    kubeconfig: str = field(repr=False)


@dataclass(frozen=True)
class Clock:
    """Time as it passes."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class NobodyAnswers(Exception):
    """None of the servers; the text has each with its reason."""


class Servers:
    """The API of a cluster by the first of its servers that answers, and by another when that goes."""

    def __init__(self, departure: Departure) -> None:
        self._departure = departure
        self._found: KubernetesClient | None = None

    def get(self, path: str) -> dict[str, Any] | None:
        """One object, None when there is none. Raises as :meth:`request`."""
        try:
            return self.request("GET", path)
        except KubernetesError as error:
            if error.status == 404:
                return None
            raise

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Raises KubernetesError for a refusal, NobodyAnswers where no server took the request."""
        if self._found is not None:
            try:
                return self._ask(self._found, method, path, body)
            except KubernetesError as error:
                if error.status is not None:
                    raise
                self._found = None
        reasons = []
        for address in self._departure.addresses:
            if (reason := why_unreachable(address, API_PORT)) is not None:
                reasons.append(f"{address}: {reason}")
                continue
            try:
                client = KubernetesClient(rewrite(self._departure.kubeconfig, address, self._departure.cluster))
                answer = self._ask(client, method, path, body)
            except KubernetesError as error:
                if error.status is not None and error.status < 500:
                    self._found = client
                    raise
                reasons.append(f"{address}: {error}")
            except (UnsupportedKubeconfigError, KubeconfigError) as error:
                reasons.append(f"{address}: {error}")
            else:
                self._found = client
                return answer
        raise NobodyAnswers("; ".join(reasons) or "no server is known")

    @staticmethod
    def _ask(client: KubernetesClient, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        return client.request(method, path, body=body, content_type=_MERGE if method == "PATCH" else "application/json")


def leave(departure: Departure, say: Callable[[str], None], clock: Clock | None = None) -> None:
    """Returns once the Node is gone. Raises :class:`NotLeftError` where the node stays.

    An agent of a cluster that does not answer has left: nothing of it is to be had there. A server has not.
    """
    _Leave(departure, say, Servers(departure), clock or Clock()).run()


def forget(departure: Departure, say: Callable[[str], None], clock: Clock | None = None) -> None:
    """Returns once there is no Node of a machine that is switched off. Raises as :func:`leave`."""
    _Leave(departure, say, Servers(departure), clock or Clock()).forget()


def empty(
    departure: Departure,
    node: Mapping[str, Any],
    say: Callable[[str], None],
    clock: Clock,
    api: Servers,
    *,
    mark: str,
    purpose: Purpose,
) -> None:
    """Returns once the node is closed, with that mark of ours, and its pods have gone. Raises :class:`NotLeftError`
    where they stay; it is as schedulable as before then.
    """
    _Leave(departure, say, api, clock, mark, purpose).empty(node)


def close(api: Servers, node: Mapping[str, Any], mark: str) -> None:
    """Makes the node unschedulable, with that mark of ours. Raises as :meth:`Servers.request`."""
    if (patch := leaving.closing(node, mark)) is not None:
        api.request("PATCH", f"/api/v1/nodes/{node['metadata']['name']}", patch)


def open_again(api: Servers, node: Mapping[str, Any], mark: str) -> None:
    """Takes that back, where the node has the mark. Raises as :meth:`Servers.request`."""
    if (patch := leaving.opening(node, mark)) is not None:
        api.request("PATCH", f"/api/v1/nodes/{node['metadata']['name']}", patch)


class _Leave:
    def __init__(
        self,
        departure: Departure,
        say: Callable[[str], None],
        api: Servers,
        clock: Clock,
        mark: str = LEAVES_ANNOTATION,
        purpose: Purpose = LEAVING,
    ) -> None:
        self._departure = departure
        self._mark = mark
        self._purpose = purpose
        self._say = say
        self._api = api
        self._clock = clock
        self._path = f"/api/v1/nodes/{departure.node}"
        self._told = ""
        self._told_at = clock.now()

    def run(self) -> None:
        of = self._departure
        try:
            node = self._first_look()
        except NobodyAnswers as nobody:
            if of.server:
                raise NotLeftError(leaving.server_stays(of.cluster, of.node, str(nobody))) from None
            return self._say(f"warning: {leaving.nobody_answers(of.cluster, of.node, str(nobody))}")
        if node is None:
            return None
        if "deletionTimestamp" not in node["metadata"]:
            if (since := leaving.is_away(node)) is not None:
                self._say(f"{of.cluster}: node {of.node} is away {since}; its pods are not evicted, none can end there")
            else:
                self.empty(node)
        self._delete(str(node["metadata"]["uid"]))
        self._say(f"{of.cluster}: node {of.node} has left")
        return None

    def empty(self, node: Mapping[str, Any]) -> None:
        """Its pods go."""
        of = self._departure
        try:
            self._drain(node)
        except (NobodyAnswers, KubernetesError) as error:
            raise NotLeftError(leaving.not_begun(of.cluster, of.node, str(error), self._purpose)) from None

    def forget(self) -> None:
        """Without looking at its pods: none can end there."""
        of = self._departure
        try:
            node = self._first_look()
        except NobodyAnswers as nobody:
            raise NotLeftError(leaving.not_begun(of.cluster, of.node, str(nobody))) from None
        if node is not None:
            self._delete(str(node["metadata"]["uid"]))

    def _first_look(self) -> dict[str, Any] | None:
        end = self._clock.now() + ANSWER_SECONDS
        while True:
            try:
                return self._api.get(self._path)
            except (NobodyAnswers, KubernetesError) as error:
                refused = isinstance(error, KubernetesError) and not error.worth_retrying
                if refused or self._clock.now() >= end:
                    raise NobodyAnswers(str(error)) from None
                self._tell(f"no server answers ({error})", ANSWER_SECONDS, end)
            self._clock.sleep(LOOK_SECONDS)

    def _drain(self, node: Mapping[str, Any]) -> None:
        of = self._departure
        pods = leaving.pods_of_node(self._pods())
        if pods.alone:
            raise NotLeftError(leaving.nobody_makes_them_anew(of.cluster, of.node, pods.alone, self._purpose))
        if (patch := leaving.closing(node, self._mark)) is not None:
            node = self._api.request("PATCH", self._path, patch)
        refused: dict[Pod, Refusal] = {}
        end = self._clock.now() + of.seconds
        while True:
            try:
                pods = leaving.pods_of_node(self._pods())
                if not pods.go:
                    return
                refused = self._evict(pods.go)
                state = f"{len(pods.go)} of its pods are there: {leaving.still_there(pods.go, refused)}"
                final = any(not refusal.again for refusal in refused.values())
            except (NobodyAnswers, KubernetesError) as error:
                state, final = str(error), False
            if final or self._clock.now() >= end:
                passed = of.seconds - max(0.0, end - self._clock.now())
                reopened = self._open(node)
                raise NotLeftError(
                    leaving.not_evicted(
                        of.cluster, of.node, passed, pods.go, refused, reopened=reopened, purpose=self._purpose
                    )
                )
            self._tell(state, of.seconds, end)
            self._clock.sleep(LOOK_SECONDS)

    def _pods(self) -> dict[str, Any]:
        return self._api.request("GET", f"/api/v1/pods?fieldSelector=spec.nodeName%3D{self._departure.node}")

    def _evict(self, pods: Sequence[Pod]) -> dict[Pod, Refusal]:
        """Asks for each that does not end yet; gives those that were refused."""
        refused = {}
        for pod in pods:
            if pod.ends:
                continue
            path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/eviction"
            try:
                self._api.request("POST", path, leaving.eviction(pod))
            except KubernetesError as error:
                if (refusal := leaving.refusal(error.status, str(error), error.causes)) is not None:
                    refused[pod] = refusal
        return refused

    def _open(self, node: Mapping[str, Any]) -> bool:
        """Takes back that it is unschedulable, where that was our doing. False where it stays so."""
        patch = leaving.opening(node, self._mark)
        if patch is None:
            return False
        try:
            self._api.request("PATCH", self._path, patch)
        except (NobodyAnswers, KubernetesError) as error:
            of = self._departure
            self._say(f"warning: {of.cluster}: `kubectl uncordon {of.node}` is left to do: {error}")
            return False
        return True

    def _delete(self, uid: str) -> None:
        """Asks again while it is there: a server that leads no more has not noted it."""
        of, end = self._departure, self._clock.now() + GONE_SECONDS
        while True:
            try:
                node = self._api.get(self._path)
                if node is None or node["metadata"]["uid"] != uid:
                    return
                if "deletionTimestamp" not in node["metadata"]:
                    self._api.request("DELETE", self._path, {"preconditions": {"uid": uid}})
                state = "its Node is being deleted"
            except (NobodyAnswers, KubernetesError) as error:
                state = str(error)
            if self._clock.now() >= end:
                raise NotLeftError(leaving.node_stays(of.cluster, of.node, GONE_SECONDS))
            self._tell(state, GONE_SECONDS, end)
            self._clock.sleep(LOOK_SECONDS)

    def _tell(self, state: str, seconds: float, end: float) -> None:
        of, now = self._departure, self._clock.now()
        if state != self._told or now - self._told_at >= TELL_SECONDS:
            passed = seconds - (end - now)
            self._say(
                f"{of.cluster}: node {of.node} {self._purpose.meanwhile} ({passed:.0f} of {seconds:.0f} s): {state}"
            )
            self._told, self._told_at = state, now
