"""Who plays the nodes of :class:`tests.engine.kube_api.KubeApi`: a scheduler and kubelets that run no containers.

Every pod is bound to a node that its node selector, pod anti-affinity and DaemonSet allow, and is ready at once.
What a pod would do can be given to it: a program that runs as long as the pod is there, or a deed; and what it would
write. Not here: images, probes, networks, and pods that fail.
"""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime

from tests.engine.kube_api import Json, KubeApi, Refused
from tests.engine.kubelet_logs import LogPort

POLL_SECONDS = 0.25
Start = Callable[[Json], Callable[[], None]]
"""What a pod does when it starts: gets the pod, and gives what ends it."""


class Kubelet:
    """Nodes, while it runs: ``addresses`` by name, ``labels`` by name as well. ``programs`` are {start of a pod's name:
    what it does}, ``logs`` what it writes.
    """

    def __init__(
        self,
        api: KubeApi,
        addresses: Mapping[str, str],
        programs: dict[str, Start],
        logs: dict[str, Callable[[Json], str]],
        labels: Mapping[str, Mapping[str, str]],
    ) -> None:
        self._api = api
        self._addresses = addresses
        self._labels = labels
        self._programs = programs
        self._logs = logs
        self._log_port = LogPort(self._log)
        self._stack = ExitStack()
        self._running: dict[str, Callable[[], None]] = {}
        self._held: set[str] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="kubelet")

    def start(self) -> None:
        """Registers the nodes and goes to work."""
        for node, address in self._addresses.items():
            self._register(node, address)
        self._log_port.start(self._stack)
        self._thread.start()

    def join(self, node: str) -> None:
        """One that has left registers anew."""
        self._register(node, self._addresses[node])

    def _register(self, node: str, address: str) -> None:
        api = self._api
        labels = {"kubernetes.io/hostname": node, **self._labels.get(node, {})}
        api.post("/api/v1/nodes", {"metadata": {"name": node, "labels": labels}})
        status = {
            "addresses": [
                {"type": "InternalIP", "address": address},
                # Where the API server asks for logs.
                {"type": "Hostname", "address": "127.0.0.1"},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._log_port.port}},
            "allocatable": {"cpu": "8", "memory": "32Gi", "pods": "200"},
            "capacity": {"cpu": "8", "memory": "32Gi", "pods": "200"},
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "KubeletReady", **_since("lastTransitionTime")}
            ],
        }
        api.edit(f"/api/v1/nodes/{node}/status", {"status": status}, manager="kubelet")
        # As the node lifecycle controller does once it is ready: a new one is tainted, and DaemonSets pass it by.
        api.edit(f"/api/v1/nodes/{node}", {"spec": {"taints": None}}, manager="kube-controller-manager")

    def boot_again(self, node: str) -> None:
        """Its machine was off: all containers there were started anew."""
        for pod in self._api.items("/api/v1/pods"):
            if pod["spec"].get("nodeName") != node or not pod["status"].get("containerStatuses"):
                continue
            containers = [
                {**container, "restartCount": container["restartCount"] + 1, "state": {"running": _since("startedAt")}}
                for container in pod["status"]["containerStatuses"]
            ]
            path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}/status"
            self._api.edit(path, {"status": {"containerStatuses": containers}}, manager="kubelet")

    def hold(self, start: str) -> None:
        """The containers of pods whose names start so end, and no new ones come: their image is gone."""
        self._held.add(start)

    def let_go(self) -> None:
        """All run again."""
        self._held.clear()

    def stop(self) -> None:
        """Ends it and what its pods do."""
        self._ended.set()
        self._thread.join()
        self._stack.close()
        for end in self._running.values():
            end()

    def _work(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            # An API server that is away.
            with contextlib.suppress(OSError, Refused, http.client.HTTPException):
                self._look()

    def _look(self) -> None:
        pods = self._api.items("/api/v1/pods")
        for pod in pods:
            # An object that another one has changed or deleted meanwhile, or that is not there yet: the next time.
            with contextlib.suppress(OSError, Refused, http.client.HTTPException):
                self._keep(pod, pods)
        for uid in self._running.keys() - {pod["metadata"]["uid"] for pod in pods}:
            self._end(uid)

    def _keep(self, pod: Json, pods: list[Json]) -> None:
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        if "deletionTimestamp" in metadata:
            # As a kubelet: whoever sees that the pod is gone knows that its containers are.
            self._end(metadata["uid"])
            self._api.delete(path, now=True)
        elif "nodeName" not in pod["spec"]:
            node = self._node_for(pod, pods)
            if node is not None:
                target = {"apiVersion": "v1", "kind": "Node", "name": node}
                self._api.post(f"{path}/binding", {"metadata": {"name": metadata["name"]}, "target": target})
                pod["spec"]["nodeName"] = node
        elif metadata["name"].startswith(tuple(self._held)):
            self._keep_down(pod, path)
        elif pod["status"].get("phase") == "Pending":
            self._run(pod)
            self._api.edit(f"{path}/status", {"status": self._status(pod)}, manager="kubelet")

    def _node_for(self, pod: Json, pods: list[Json]) -> str | None:
        """The first node by name where the pod may run; none keeps it waiting."""
        affinity = pod["spec"].get("affinity") or {}
        apart = (affinity.get("podAntiAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or []
        named = (affinity.get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or {}
        # How a DaemonSet's controller says for which node a pod is.
        fields = [field for term in named.get("nodeSelectorTerms") or [] for field in term.get("matchFields") or []]
        for node in sorted(self._api.items("/api/v1/nodes"), key=lambda item: str(item["metadata"]["name"])):
            name, labels = node["metadata"]["name"], node["metadata"].get("labels") or {}
            here = [other for other in pods if other["spec"].get("nodeName") == name and other is not pod]
            if node["spec"].get("unschedulable") and not fields:
                continue  # DaemonSets tolerate it.
            if (
                (pod["spec"].get("nodeSelector") or {}).items() <= labels.items()
                and all(name in field["values"] for field in fields)
                and not any(_has(other, term["labelSelector"]["matchLabels"]) for term in apart for other in here)
            ):
                return str(name)
        return None

    def _end(self, uid: str) -> None:
        end = self._running.pop(uid, None)
        if end is not None:
            end()

    def _keep_down(self, pod: Json, path: str) -> None:
        self._end(pod["metadata"]["uid"])
        status = self._status(pod)
        if pod["status"].get("phase") != "Pending" or not pod["status"].get("containerStatuses"):
            for container_status in status["containerStatuses"]:
                container_status.update(ready=False, started=False, state={"waiting": {"reason": "ImagePullBackOff"}})
            for condition in status["conditions"]:
                if condition["type"].endswith("Ready"):
                    condition["status"] = "False"
            self._api.edit(f"{path}/status", {"status": {**status, "phase": "Pending"}}, manager="kubelet")

    def _run(self, pod: Json) -> None:
        for start, program in self._programs.items():
            if pod["metadata"]["name"].startswith(start) and pod["metadata"]["uid"] not in self._running:
                self._running[pod["metadata"]["uid"]] = program(pod)

    def _log(self, namespace: str, name: str) -> str | None:
        with contextlib.suppress(OSError, Refused, http.client.HTTPException):
            pod = self._api.get(f"/api/v1/namespaces/{namespace}/pods/{name}")
            return next((log(pod) for start, log in self._logs.items() if name.startswith(start)), "")
        return None

    def _status(self, pod: Json) -> Json:
        job = pod["spec"].get("restartPolicy") == "Never"
        address = self._addresses[pod["spec"]["nodeName"]]
        now = _since("startedAt")
        state = {"terminated": {"exitCode": 0, "reason": "Completed", **now, "finishedAt": now["startedAt"]}}
        containers = [
            {"name": container["name"], "image": container["image"], "imageID": container["image"], "restartCount": 0,
             "ready": not job, "started": not job, "state": state if job else {"running": now}}
            for container in pod["spec"]["containers"]
        ]  # fmt: skip
        kinds = ("PodScheduled", "Initialized", *(() if job else ("ContainersReady", "Ready")))
        return {
            "phase": "Succeeded" if job else "Running",
            "hostIP": address,
            "podIP": address,
            "podIPs": [{"ip": address}],
            "startTime": now["startedAt"],
            "conditions": [{"type": kind, "status": "True", **_since("lastTransitionTime")} for kind in kinds],
            "containerStatuses": containers,
        }


def _has(pod: Json, labels: Mapping[str, str]) -> bool:
    return labels.items() <= (pod["metadata"].get("labels") or {}).items()


def _since(name: str) -> dict[str, str]:
    return {name: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
