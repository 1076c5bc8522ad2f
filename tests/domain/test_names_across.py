"""Names of two clusters by the real CoreDNS, from what a pod asks to the peer's answer: CoreDNS, relay, relay, CoreDNS,
in a network of their own. Of Kubernetes' API there is what CoreDNS reads: lists of namespaces, services and endpoints.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest

from domain.corefile import LinkedZone, PeerZone, custom_zones, relay_corefile
from domain.settings.installed import DnsSettings, FallbackSettings
from lab.verify import pod_agent
from tests.domain.test_corefile_runs import ask
from tests.engine.netbird_program import own_network
from toolchain import ensure

pytestmark = pytest.mark.engine

START_SECONDS: Final = 60.0
LOOPBACK: Final = IPv4Network("127.0.0.0/8")
COREDNS: Final = {"de": "127.0.1.1", "mn": "127.0.2.1", "us": "127.0.4.1"}
RELAY: Final = "127.0.1.2"
PEERS_RELAY: Final = {"mn": "127.0.2.2", "us": "127.0.4.2"}
LINKED: Final = {
    "mn": LinkedZone("mn", "mn.internal", (IPv4Network("10.52.0.0/16"), IPv4Network("10.53.0.0/16"))),
    "us": LinkedZone("us", "us.internal", (IPv4Network("10.62.0.0/16"), IPv4Network("10.63.0.0/16"))),
}


def service(name: str, address: str, pods: Mapping[str, str], *, port: str = "http") -> list[dict[str, Any]]:
    """A service (headless where ``address`` is None) and the slice of its pods, by name."""
    metadata = {"name": name, "namespace": "shop"}
    ports = [{"name": port, "port": 80, "protocol": "TCP"}]
    return [
        {
            "kind": "Service",
            "metadata": metadata,
            "spec": {"clusterIP": address, "clusterIPs": [address], "ports": ports},
        },
        {
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": [
                {"addresses": [pod], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": of}}
                for of, pod in pods.items()
            ],
        },
    ]


OBJECTS: Final = {
    "de": [
        *service("both", "10.43.0.20", {"both-a": "10.42.0.20"}),
        *service("empty", "10.43.0.21", {}),
        *service("ours", "10.43.0.22", {"ours-a": "10.42.0.22"}),
    ],
    "mn": [
        *service("both", "10.53.0.20", {"both-x": "10.52.0.20"}),
        *service("empty", "10.53.0.21", {"empty-x": "10.52.0.21"}),
        *service("theirs", "10.53.0.22", {"theirs-x": "10.52.0.22"}),
        *service("set", "None", {"set-0": "10.52.0.30", "set-1": "10.52.0.31"}),
    ],
    "us": [
        *service("theirs", "10.63.0.22", {"theirs-y": "10.62.0.22"}),
        *service("far", "10.63.0.23", {"far-y": "10.62.0.23"}),
    ],
}
KINDS: Final = {"namespaces": "Namespace", "services": "Service", "endpointslices": "EndpointSlice"}


@contextlib.contextmanager
def api(objects: Sequence[Mapping[str, Any]], address: str) -> Iterator[str]:
    """The lists of these objects, of which none ever changes: an older API server, which sends no list in a watch."""
    done = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            kind, query = KINDS[parts.path.rpartition("/")[2]], parse_qs(parts.query)
            if "sendInitialEvents" in query:
                self._answer(422, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Invalid"})
            elif "watch" in query:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                done.wait()
                self.close_connection = True
            else:
                version = "discovery.k8s.io/v1" if kind == "EndpointSlice" else "v1"
                namespaces = [{"kind": "Namespace", "metadata": {"name": "shop"}}]
                items = [item for item in [*namespaces, *objects] if item["kind"] == kind]
                meta = {"resourceVersion": "1"}
                self._answer(200, {"kind": f"{kind}List", "apiVersion": version, "metadata": meta, "items": items})

        def _answer(self, code: int, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((address, 8080), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{address}:8080"
        done.set()
        server.shutdown()


@contextlib.contextmanager
def running(
    corefile: str, directory: Path, asked: tuple[str, int], known: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    """A CoreDNS, once it answers there, and knows that name. It listens for TCP some time before it does for UDP, and
    when it has not read the API's lists within 5 s it serves without them (startup_timeout of its kubernetes plugin).
    """
    directory.mkdir(parents=True)
    (directory / "Corefile").write_text(corefile, encoding="utf-8")
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [ensure(["coredns"])["coredns"] / "coredns", "-conf", directory / "Corefile"],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"HOST_IP": RELAY},
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while (answer := ask(*asked, known or "not.served.here", 0.2)) is None or (known and answer[0] != 0):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def cluster_corefile(name: str, dns: DnsSettings, linked: Sequence[LinkedZone], url: str) -> str:
    """What the program puts into a cluster's CoreDNS, with addresses of this network."""
    zones = custom_zones(f"{name}.internal", linked, IPv4Address(RELAY), dns)
    text = "".join(zones.values()).replace(":53 {", f":53 {{\n    bind {COREDNS[name]}")
    text = text.replace(f"forward . {RELAY} {{", f"forward . {RELAY}:1053 {{")
    return text.replace("endpoint_pod_names", f"endpoint {url}\n        endpoint_pod_names")


def relay_of(zone: str, cluster: str, peers: Sequence[PeerZone]) -> str:
    return relay_corefile(
        zone=zone, cluster_dns=IPv4Address(COREDNS[cluster]), pod_cidr=LOOPBACK, node_cidr=LOOPBACK, peers=peers
    )


def first_of(name: str) -> str:
    """The name of a cluster's first service."""
    return f"{OBJECTS[name][0]['metadata']['name']}.shop.svc.{name}.internal"


class Names:
    """What is asked of de's CoreDNS."""

    def __init__(self, peers: Mapping[str, subprocess.Popen[bytes]]) -> None:
        self.peers = peers

    def ask(self, name: str, kind: str = "A", **more: Any) -> tuple[int, list[str]]:
        """The response code and the records, in their order."""
        answer = pod_agent.dns({"name": name, "type": kind, "seconds": 10, **more})
        assert answer["ok"], answer
        return answer["rcode"], sorted(answer["records"])


@contextlib.contextmanager
def clusters(directory: Path, monkeypatch: pytest.MonkeyPatch, peers: Sequence[str]) -> Iterator[Names]:
    """de, linked with these, with fallback names in ``any.internal``."""
    monkeypatch.setattr(pod_agent, "_server", lambda: COREDNS["de"])
    askers = (IPv4Address("127.0.0.1"),)
    processes = {}
    with own_network(), contextlib.ExitStack() as stack:
        for number, name in enumerate(peers):
            url = stack.enter_context(api(OBJECTS[name], f"127.0.3.{number + 2}"))
            corefile = cluster_corefile(name, DnsSettings(), [], url)
            stack.enter_context(running(corefile, directory / name, (COREDNS[name], 53), first_of(name)))
            relay = relay_of(f"{name}.internal", name, [PeerZone("de.internal", askers)]).partition("}\n}\n")[0]
            relay = relay.replace("bind wt0", f"bind {PEERS_RELAY[name]}") + "}\n}\n"
            at = (PEERS_RELAY[name], 1053)
            processes[name] = stack.enter_context(running(relay, directory / f"{name}-relay", at))
        url = stack.enter_context(api(OBJECTS["de"], "127.0.3.1"))
        routers = [PeerZone(f"{name}.internal", (IPv4Address(PEERS_RELAY[name]),)) for name in peers]
        relay = relay_of("de.internal", "de", routers).partition("}\n}\n")[2]
        stack.enter_context(running(relay, directory / "de-relay", (RELAY, 1053)))
        dns = DnsSettings(fallback=FallbackSettings(zone="any.internal"))
        corefile = cluster_corefile("de", dns, [LINKED[name] for name in peers], url)
        stack.enter_context(running(corefile, directory / "de", (COREDNS["de"], 53), first_of("de")))
        yield Names(processes)


def test_one_peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with clusters(tmp_path, monkeypatch, ["mn"]) as names:
        # The own cluster first, the peer where it has none, or none with a pod; each under the name that was asked for.
        assert names.ask("both.shop.svc.any.internal") == (0, ["10.43.0.20"])
        assert names.ask("theirs.shop.svc.any.internal") == (0, ["10.53.0.22"])
        assert names.ask("theirs.shop.svc.any.internal", tcp=True) == (0, ["10.53.0.22"])
        assert names.ask("empty.shop.svc.any.internal") == (0, ["10.53.0.21"])
        assert names.ask("set.shop.svc.any.internal") == (0, ["10.52.0.30", "10.52.0.31"])
        assert names.ask("nobody.shop.svc.any.internal") == (3, [])
        assert names.ask("theirs.shop.svc.any.internal", "AAAA") == (0, [])
        assert names.ask("_http._tcp.set.shop.svc.any.internal", "SRV") == (
            0,
            ["set-0.set.shop.svc.any.internal:80", "set-1.set.shop.svc.any.internal:80"],
        )
        assert names.ask("set-1.set.shop.svc.any.internal") == (0, ["10.52.0.31"])
        # One cluster's name is that cluster's alone, as before.
        assert names.ask("empty.shop.svc.de.internal") == (0, ["10.43.0.21"])
        assert names.ask("theirs.shop.svc.de.internal") == (3, [])
        assert names.ask("theirs.shop.svc.mn.internal") == (0, ["10.53.0.22"])

        # Names of the peer's addresses are those that lead back to them.
        assert names.ask("22.0.53.10.in-addr.arpa", "PTR") == (0, ["theirs.shop.svc.mn.internal"])
        assert names.ask("31.0.52.10.in-addr.arpa", "PTR") == (0, ["set-1.set.shop.svc.mn.internal"])
        assert names.ask("set-1.set.shop.svc.mn.internal") == (0, ["10.52.0.31"])
        assert names.ask("99.0.52.10.in-addr.arpa", "PTR") == (3, [])

        names.peers["mn"].kill()
        names.peers["mn"].wait()
        assert names.ask("both.shop.svc.any.internal") == (0, ["10.43.0.20"])
        assert names.ask("ours.shop.svc.any.internal") == (0, ["10.43.0.22"])
        # Nobody can say whether the peer has it: an error and no denial. What was known is served for a while.
        assert names.ask("unknown.shop.svc.any.internal") == (2, [])
        assert names.ask("theirs.shop.svc.any.internal") == (0, ["10.53.0.22"])


def test_two_peers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with clusters(tmp_path, monkeypatch, ["mn", "us"]) as names:
        assert names.ask("theirs.shop.svc.any.internal") == (0, ["10.53.0.22"])
        assert names.ask("far.shop.svc.any.internal") == (0, ["10.63.0.23"])
        assert names.ask("nobody.shop.svc.any.internal") == (3, [])

        names.peers["mn"].kill()
        names.peers["mn"].wait()
        # The first that can be asked and has it answers; a name is denied only where everybody denies it.
        assert names.ask("far.shop.svc.any.internal") == (0, ["10.63.0.23"])
        assert names.ask("unknown.shop.svc.any.internal") == (2, [])
