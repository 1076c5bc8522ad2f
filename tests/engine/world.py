"""A whole stack that the engine raises in seconds: mn on a cluster that exists, linked with de; or on machines that
``machines.py`` plays.

Real are the engine, its providers, the Kubernetes API and its controllers, Helm; the lab's stand-in for NetBird's
operator works in it. Played are the node, its pods (``kubelet.py``) and NetBird's server
(``tests/components/netbird_server.py``). Cilium is a chart with what the program looks for: a DaemonSet, the
definitions of its policies, and CiliumNodes that have the labels of their Nodes some seconds later.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import yaml

from lab.mirror import pack_chart
from tests.components.netbird_server import Netbird, running
from tests.domain.samples import DE, GIVEN, MN, changed
from tests.engine.api_server import free_port
from tests.engine.kube_api import Json, KubeApi, Refused
from tests.engine.kubelet import Kubelet
from tests.engine.project import REPOSITORY, SECRETS, Engine, Project, Result, steps
from tests.held_port import held_port
from tests.recorded import data
from toolchain import ensure

STACK: Final = "mn"
NODE: Final = "worker-b"
DEADLINE_SECONDS: Final = 600.0
"""Of a whole `up` or `destroy`; 27 and 12 s were measured."""
TUNNEL_SECONDS: Final = 2.0
"""From an agent's route to the peer, which is there at once, until its tunnel carries something."""
OPERATOR_CHART: Final = REPOSITORY / "lab" / "standins" / "netbird_operator" / "chart"
CILIUM_KINDS: Final = (
    ("CiliumClusterwideNetworkPolicy", "Cluster"),
    ("CiliumEgressGatewayPolicy", "Cluster"),
    ("CiliumNode", "Cluster"),
)
CILIUM_NODES: Final = "/apis/cilium.io/v2/ciliumnodes"
CILIUM_NODE: Final = {"apiVersion": "cilium.io/v2", "kind": "CiliumNode", "spec": {}}
LABEL_SECONDS: Final = 12.0
"""From a Node's label to that of its CiliumNode. Real agents took 12 to 57 s while the API server started anew."""


@dataclass(frozen=True)
class Site:
    """What a stack is raised on, and its peer. ``settings`` are those of its stack file, given the address of the
    mirror; ``nodes`` are name -> address, ``labels`` those that nobody but their k3s sets, by node. ``services`` is
    the range of the API server.
    """

    stack: str
    peer: str
    settings: Callable[[str], Mapping[str, Any]]
    nodes: Mapping[str, str]
    services: str
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


EXISTING: Final = Site(STACK, "de", lambda _: GIVEN, {NODE: "192.168.7.12"}, "10.53.0.0/16")


class World:
    """Cluster, NetBird, project. Nothing is raised yet. ``others`` are nodes besides those of the site, name ->
    address.
    """

    def __init__(
        self,
        engine: Engine,
        directory: Path,
        stack: ExitStack,
        others: Mapping[str, str] | None = None,
        site: Site = EXISTING,
    ) -> None:
        self.stack = site.stack
        self._peer_stack = site.peer
        self._operators_program = ensure(["netbird-operator"])["netbird-operator"] / "netbird-operator"
        # One port for as long as the world lasts: no other server answers there while this one is away.
        url = f"http://127.0.0.1:{held_port(stack)}"
        self.netbird = Netbird(url, token=SECRETS["isthmus:netbirdApiToken"])
        self._serving: ExitStack | None = None
        stack.callback(self.netbird_away)
        self.netbird_back()
        self.api = KubeApi(directory / "kubernetes", services=site.services)
        stack.callback(self.api.stop)
        self.api.wait()
        self.persons_kubeconfig = self.api.kubeconfig_file
        """What a person's kubectl gets."""
        self.kubelet = Kubelet(
            self.api, {**site.nodes, **(others or {})},
            {
                "isthmus-netbird-operator-": self._operator, f"networkrouter-isthmus-{site.stack}-": self._router,
                "cilium-": self._cilium,
            },
            {"isthmus-guard-": self._guard, "isthmus-keeper-": self._keeper},
            site.labels,
        )  # fmt: skip
        stack.callback(self.kubelet.stop)
        self.kubelet.start()
        _cluster_dns(self.api)
        charts = stack.enter_context(chart_mirror(directory / "charts"))
        self.project = Project(engine, directory / "isthmus")
        self._first = {f"isthmus-{site.peer}-pods", f"isthmus-{site.peer}-routers"}
        """What is in the account before anything is raised."""
        for name in sorted(self._first):
            self.netbird.group(name)
        given = {"netbird.management_url": self.netbird.url, "mirrors.charts": charts}
        self._identities: dict[str, str] = {}
        """The ids of the peers whose keys lie on the nodes, by node."""
        self._enrolled = 0
        """How many peers have been given an address."""
        self._agents: dict[str, int] = {}
        """How many agents run on each node."""
        self._at_the_door: dict[str, Callable[[], None]] = {}
        """Agents that have not enrolled yet, by node: what each of them does again and again."""
        self._changes = 0
        self.router_generation = 0
        """Of the router object, when a test last looked."""
        self.enrols = True
        """Whether the router's agent finds its way to NetBird."""
        self.keeper_says = ""
        """Why the link does not carry, in the keeper's words."""
        self.routed = True
        """Whether routers have a route to the peer."""
        self.unrouted: set[str] = set()
        self._agent_since: dict[str, float] = {}
        """Nodes whose router has none."""
        self.project.write(site.stack, changed(site.settings(charts), given))
        peer = {"de": DE, "mn": MN}[site.peer]
        self.project.write(site.peer, changed(peer, {"netbird.management_url": self.netbird.url}))
        self.project.init(site.stack)
        self.project.init(site.peer)
        if site is EXISTING:
            kubeconfig = ("config", "set", "--secret", "kubeconfig", "-s", site.stack, "--", self.api.kubeconfig)
            self.project.run(*kubeconfig).expect(0)
        self._raise_peer(directory / "peer.json")

    def netbird_away(self) -> None:
        """The management server goes; what it knows stays."""
        self.netbird.goes_at = None
        if self._serving is not None:
            self._serving.close()
            self._serving = None

    def netbird_back(self) -> None:
        """It serves (again), under the same address."""
        self.netbird.goes_at, self.netbird.away = None, False
        if self._serving is None:
            self._serving = ExitStack()
            self._serving.enter_context(running(self.netbird))

    def change(self) -> None:
        """The settings ask for something else, which an `up` has to bring to the operator's release, the router, the
        guard and the relay.
        """
        self._changes += 1
        file = self.project.directory / f"Pulumi.{self.stack}.yaml"
        written = yaml.safe_load(file.read_text(encoding="utf-8"))
        image = f"registry.example/netbirdio/netbird:0.77.{self._changes}"
        written["config"]["isthmus:netbird"]["agent_image"] = image
        self.project.write_text(self.stack, yaml.safe_dump(written))

    def change_back(self) -> None:
        """The settings are what they were before :meth:`change`."""
        self._changes -= 2
        self.change()

    @property
    def _peers_stack(self) -> Path:
        return self.project.backend / ".pulumi" / "stacks" / "isthmus" / f"{self._peer_stack}.json"

    def peer_away(self) -> None:
        """The peer's stack is gone from the backend."""
        self._peers_stack.rename(self._peers_stack.with_suffix(".away"))

    def peer_back(self) -> None:
        """It is there again."""
        away = self._peers_stack.with_suffix(".away")
        if away.exists():
            away.rename(self._peers_stack)

    def up(self, *arguments: str, code: int = 0) -> Result:
        """`pulumi up` of the stack."""
        command = ("up", "-s", self.stack, "--yes", "--skip-preview", *arguments)
        return self.project.run(*command, deadline_seconds=DEADLINE_SECONDS).expect(code)

    def refresh(self) -> Result:
        """`pulumi refresh` of the stack."""
        return self.project.run("refresh", "-s", self.stack, "--yes", "--skip-preview").expect(0)

    def destroy(self, *arguments: str, code: int = 0, environment: dict[str, str] | None = None) -> Result:
        """`pulumi destroy` of the stack."""
        command = ("destroy", "-s", self.stack, "--yes", "--skip-preview", *arguments)
        return self.project.run(*command, deadline_seconds=DEADLINE_SECONDS, environment=environment).expect(code)

    def drifted(self) -> set[tuple[str, str]]:
        """What a preview that looks at the world would do, as operation and resource."""
        preview = self.project.preview(self.stack, "--refresh")
        return {
            (step.op, f"{step.type.rpartition(':')[2]} {step.name}")
            for step in steps(preview)
            if step.op not in ("same", "read", "refresh")
        }

    def in_netbird(self) -> dict[str, list[str]]:
        """The names of all that is in the account, without what was there first."""
        found = {}
        with self.netbird.lock:
            for path, items in self.netbird.objects.items():
                names = {str(item.get("name", item["id"])) for item in items} - self._first
                if names:
                    found[path] = sorted(names)
        return found

    def _raise_peer(self, file: Path) -> None:
        peer = self._peer_stack
        stack = {
            "urn": f"urn:pulumi:{peer}::isthmus::pulumi:pulumi:Stack::isthmus-{peer}", "type": "pulumi:pulumi:Stack",
            "custom": False,
            "outputs": {"link": data.outputs(peer)["link"], "links": {self.stack: {"status": "linked", "message": ""}}},
        }  # fmt: skip
        file.write_text(
            json.dumps({"version": 3, "deployment": {"manifest": {}, "resources": [stack]}}), encoding="utf-8"
        )
        self.project.run("stack", "import", "-s", peer, "--file", str(file)).expect(0)

    def _operator(self, pod: Json) -> Callable[[], None]:
        """The operator's pod: the lab's stand-in as a process, with the arguments and files of the container."""
        directory = self.api.kubeconfig_file.parent
        secrets = "/api/v1/namespaces/netbird/secrets"
        container = pod["spec"]["containers"][0]
        variables = {}
        for entry in container["env"]:
            source = entry.get("valueFrom", {})
            if "secretKeyRef" in source:
                secret = self.api.get(f"{secrets}/{source['secretKeyRef']['name']}")["data"]
                variables[entry["name"]] = base64.b64decode(secret[source["secretKeyRef"]["key"]]).decode()
            elif "fieldRef" in source:
                variables[entry["name"]] = pod["metadata"]["namespace"]
            else:
                variables[entry["name"]] = entry["value"]
        arguments = [_filled(argument, variables) for argument in container["args"]]
        # One node for all worlds of this machine, and its ports are those of others.
        arguments += ["--health-probe-bind-address=127.0.0.1:0", "--metrics-bind-address=0"]
        arguments += [f"--webhook-port={free_port()}"]
        paths = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        for volume in pod["spec"]["volumes"]:
            if volume["name"] in paths and "secret" in volume:
                files = directory / volume["name"]
                files.mkdir(mode=0o700, exist_ok=True)
                for name, content in self.api.get(f"{secrets}/{volume['secret']['secretName']}")["data"].items():
                    (files / name).write_bytes(base64.b64decode(content))
                arguments = [argument.replace(paths[volume["name"]], str(files)) for argument in arguments]
        environment = {
            **variables, "PATH": os.defpath, "KUBECONFIG": str(self.api.kubeconfig_file), "HOME": str(directory),
        }  # fmt: skip
        ended = threading.Event()

        def keep_running() -> None:
            """It ends by itself when the API server is away for as long as it may hold its lease."""
            while not ended.is_set():
                with (directory / "netbird-operator.log").open("ab") as log:
                    process = subprocess.Popen(
                        [str(self._operators_program), *arguments], env=environment,
                        stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    )  # fmt: skip
                while process.poll() is None and not ended.wait(0.05):
                    pass
                process.terminate()
                process.wait()

        thread = threading.Thread(target=keep_running, name="netbird-operator")
        thread.start()

        def end() -> None:
            ended.set()
            thread.join()

        return end

    def _router(self, pod: Json) -> Callable[[], None]:
        """A router's pod: its agent enrols, with the identity that lies on the node."""
        node = pod["spec"]["nodeName"]
        container = next(candidate for candidate in pod["spec"]["containers"] if candidate["name"] == "netbird")
        variables: dict[str, str] = {}
        for variable in container["env"]:
            source = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
            # As the kubelet does it: what stands before an entry is put into it.
            variables[variable["name"]] = (
                node if source == "spec.nodeName" else _filled(variable.get("value", ""), variables)
            )
        # Whether agents find their way is the test's to change, and its thread lets those in that wait at the door.
        with self.netbird.lock:
            if self._peer(node) is None:
                self._at_the_door[node] = partial(self._enrol, node, variables["NB_HOSTNAME"], container)
                if self.enrols:
                    self._at_the_door.pop(node)()
            if not self._agents.get(node):
                self._agent_since[node] = time.monotonic()
            self._agents[node] = self._agents.get(node, 0) + 1
            self._connect(node)

        def end() -> None:
            with self.netbird.lock:
                self._agents[node] -= 1
                self._connect(node)

        return end

    def _cilium(self, pod: Json) -> Callable[[], None]:
        """Cilium's pod: it brings the labels of its Node to its CiliumNode, late."""
        node = pod["spec"]["nodeName"]
        ended = threading.Event()

        def work() -> None:
            brought: Mapping[str, str] | None = None
            seen: list[tuple[float, Mapping[str, str]]] = []
            while not ended.wait(0.3):
                with suppress(OSError, Refused, http.client.HTTPException):
                    labels = self.api.get(f"/api/v1/nodes/{node}")["metadata"].get("labels") or {}
                    if not seen or seen[-1][1] != labels:
                        seen.append((time.monotonic(), labels))
                    wanted = next((its for at, its in reversed(seen) if time.monotonic() - at >= LABEL_SECONDS), labels)
                    if brought is None:
                        self.api.post(CILIUM_NODES, {**CILIUM_NODE, "metadata": {"name": node, "labels": labels}})
                        brought = self.api.get(f"{CILIUM_NODES}/{node}")["metadata"]["labels"]
                    elif wanted != brought:
                        change = {**dict.fromkeys(brought), **wanted}
                        self.api.edit(f"{CILIUM_NODES}/{node}", {"metadata": {"labels": change}}, manager="cilium")
                        brought = wanted

        thread = threading.Thread(target=work, name=f"cilium on {node}")
        thread.start()

        def end() -> None:
            ended.set()
            thread.join()

        return end

    @property
    def known_to_cilium(self) -> set[str]:
        """Nodes that other nodes' Cilium takes for routers."""
        return {
            node["metadata"]["name"]
            for node in self.api.items(CILIUM_NODES)
            if node["metadata"]["labels"].get("isthmus.dev/router") == "true"
        }

    def agents_find_their_way(self) -> None:
        """NetBird is reached (again) by the agents, which try for as long as they run."""
        with self.netbird.lock:
            self.enrols = True
            for node in [node for node, agents in self._agents.items() if agents]:
                if node in self._at_the_door:
                    self._at_the_door.pop(node)()
                self._connect(node)

    def _enrol(self, node: str, name: str, container: Json) -> None:
        # The operator may have made two of a name; the agent has the one that is in its Secret.
        secret = next(
            variable["valueFrom"]["secretKeyRef"] for variable in container["env"] if variable["name"] == "NB_SETUP_KEY"
        )
        content = self.api.get(f"/api/v1/namespaces/netbird/secrets/{secret['name']}")["data"][secret["key"]]
        given = base64.b64decode(content).decode()
        # A peer is in its groups from its first moment on, or there is none: nobody sees it in between.
        with self.netbird.lock:
            found = [setup_key for setup_key in self.netbird.all("/setup-keys") if setup_key["key"] == given]
            if not found:
                raise Refused(404, "the setup key was deleted, and its Secret goes as well")
            (key,) = found
            self._enrolled += 1
            ip = f"100.92.0.{8 + self._enrolled}"
            peer = self.netbird.add("/peers", name=name, hostname=node, ip=ip, connected=True)
            self._identities[node] = peer["id"]
            for group in self.netbird.all("/groups"):
                if group["id"] in key["auto_groups"]:
                    group["peers"].append(peer["id"])

    def _peer(self, node: str) -> Json | None:
        id_ = self._identities.get(node)
        return next((peer for peer in self.netbird.all("/peers") if peer["id"] == id_), None)

    def _connect(self, node: str) -> None:
        peer = self._peer(node)
        if peer is not None:
            peer["connected"] = self.enrols and self._agents[node] > 0

    @property
    def tunnels(self) -> set[str]:
        """Nodes whose agent has a tunnel to the peer: later than NetBird's route."""
        now = time.monotonic()
        return {
            node
            for node, since in [*self._agent_since.items()]
            if self._agents.get(node) and now - since >= TUNNEL_SECONDS
        }

    def _guard(self, pod: Json) -> str:
        """The guard's pod: what it says where every range has its tunnel while the node's router is connected."""
        environment = {variable["name"]: variable["value"] for variable in pod["spec"]["containers"][0]["env"]}
        peer = self._peer(pod["spec"]["nodeName"])
        address = peer["ip"] if peer and peer["connected"] else ""
        routed = address and self.routed and pod["spec"]["nodeName"] not in self.unrouted
        ways = [f"{range_}={'tunnel' if routed else 'none'}" for range_ in environment["RANGES"].split()]
        return f"STATE address={address} {' '.join(ways)}\n"

    def _keeper(self, pod: Json) -> str:
        """The keeper's pod: that the link carries, or what a test lets it say."""
        assert pod["spec"]["containers"][0]["command"][0] == "python3"
        node = pod["spec"]["nodeName"]
        said = {"good": not self.keeper_says, "reason": self.keeper_says, "tunnel": node in self.tunnels}
        here = {"self_ok": True} if node in self.tunnels else {"self_ok": False, "self_reasons": ["no new wt0 yet"]}
        return f"STATUS {json.dumps({**here, 'peers': {self._peer_stack: said}})}\n"


def _filled(argument: str, variables: dict[str, str]) -> str:
    for name, value in variables.items():
        argument = argument.replace(f"$({name})", value)
    return argument


def _cluster_dns(api: KubeApi) -> None:
    """What k3s brings along and the program changes."""
    labels = {"k8s-app": "kube-dns"}
    container = {"name": "coredns", "image": "coredns/coredns:1.14.7"}
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    }
    api.post("/apis/apps/v1/namespaces/kube-system/deployments", {"metadata": {"name": "coredns"}, "spec": spec})


@contextmanager
def chart_mirror(directory: Path) -> Iterator[str]:
    """A mirror with the charts; gives its address."""
    cilium = directory / "source"
    labels = {"k8s-app": "cilium"}
    agents = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "cilium", "namespace": "kube-system"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "cilium-agent", "image": "quay.io/cilium/cilium:v1.19.6"}]},
            },
        },
    }
    files = {
        "Chart.yaml": {"apiVersion": "v2", "name": "cilium", "version": "1.19.6"},
        "templates/agents.yaml": agents,
        **{f"crds/{kind}.yaml": _definition(kind, scope) for kind, scope in CILIUM_KINDS},
    }
    for name, content in files.items():
        path = cilium / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
    for chart in (cilium, OPERATOR_CHART):
        name, packed = pack_chart(chart)
        (directory / name).write_bytes(packed)

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _definition(kind: str, scope: str) -> Json:
    singular = kind.lower()
    plural = f"{singular.removesuffix('y')}ies" if singular.endswith("y") else f"{singular}s"
    anything: Json = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = anything
    if kind == "CiliumEgressGatewayPolicy":
        # As Cilium's own kind (1.19) has it: whoever applies a selector applies the whole of it.
        gateway = {**anything, "properties": {"nodeSelector": {**anything, "x-kubernetes-map-type": "atomic"}}}
        schema = {**anything, "properties": {"spec": {**anything, "properties": {"egressGateway": gateway}}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.cilium.io"},
        "spec": {
            "group": "cilium.io",
            "names": {"kind": kind, "plural": plural, "singular": singular, "listKind": f"{kind}List"},
            "scope": scope,
            "versions": [{"name": "v2", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
