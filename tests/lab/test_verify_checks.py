"""The list of checks: every direction and placement is there, and no id twice."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

from lab.commands import wait_until
from lab.topology import DEFAULT
from lab.verify.checks import all_checks
from lab.verify.sessions import AGENT
from lab.verify.workload import UDP_SERVER, manifests


def test_every_direction_and_placement_is_checked() -> None:
    ids = [check.id for check in all_checks(DEFAULT)]
    assert len(set(ids)) == len(ids)
    expected = {f"{site}.{kind}" for site in ("de", "mn") for kind in ("egress-policy", "own-zone")}
    for way in ("de-mn", "mn-de"):
        for source in ("router", "other"):
            expected |= {f"{way}.{source}.{kind}" for kind in ("service-name", "service-refused", "session-affinity")}
            for backend in ("router", "other", "host"):
                expected |= {
                    f"{way}.{source}-{backend}.{kind}" for kind in ("cluster-ip", "cluster-ip-udp", "cluster-ip-name")
                }
            for target in ("router", "other"):
                expected |= {f"{way}.{source}-{target}.{kind}" for kind in ("icmp", "tcp", "http", "pod-name", "mtu")}
        expected.add(f"{way}.throughput")
    assert set(ids) == expected


def test_pods_are_pinned_and_have_names_of_their_own() -> None:
    namespace, service, *others = manifests({"router": "de-worker-1", "other": "de-server-1"})
    pods = [item for item in others if item["kind"] == "Pod" and "hostNetwork" not in item["spec"]]
    assert namespace["metadata"]["name"] == service["metadata"]["namespace"] == "isthmus-verify"
    assert service["spec"]["clusterIP"] == "None"
    assert [
        (pod["spec"]["hostname"], pod["spec"]["subdomain"], pod["spec"]["nodeSelector"]["kubernetes.io/hostname"])
        for pod in pods
    ] == [("probe-router", "probe", "de-worker-1"), ("probe-other", "probe", "de-server-1")]


def test_each_service_has_the_backend_that_its_name_says() -> None:
    objects = manifests({"router": "de-worker-1", "other": "de-server-1"})
    pods = [item for item in objects if item["kind"] == "Pod"]
    services = {item["metadata"]["name"]: item["spec"] for item in objects if item["kind"] == "Service"}
    behind = {
        name: [pod["metadata"]["name"] for pod in pods if spec["selector"].items() <= pod["metadata"]["labels"].items()]
        for name, spec in services.items()
    }
    assert behind == {
        "probe": ["probe-router", "probe-other"],
        "on-router": ["probe-router"],
        "on-other": ["probe-other"],
        "on-host": ["probe-host"],
        "nobody": [],
        "sticky": ["probe-router", "probe-other"],
    }
    # Within Kubernetes' three hours a client of the run before would still be remembered.
    assert services["sticky"]["sessionAffinity"] == "ClientIP"
    assert services["sticky"]["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 5}}
    (host,) = [pod for pod in pods if pod["metadata"]["name"] == "probe-host"]
    assert host["spec"]["hostNetwork"]
    for name, spec in services.items():
        if name != "probe":
            ports = {port["targetPort"] for port in spec["ports"]}
            assert ports == ({18080} if name == "on-host" else {8080})
            assert {(port["protocol"], port["port"]) for port in spec["ports"]} == {("TCP", 80), ("UDP", 80)}


def test_the_udp_server_says_its_name() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    request = {"id": 1, "do": "udp", "host": "127.0.0.1", "port": port, "seconds": 5}
    refused = ask(request)[1]
    assert str(refused["error"]).startswith("ConnectionRefusedError")
    server = subprocess.Popen([sys.executable, "-c", UDP_SERVER], env={"PORT": str(port)})
    try:
        wait_until(lambda: f":{port:04X} " in Path("/proc/net/udp").read_text(), what="it listens", deadline_seconds=10)
        answer = ask(request)[1]
        assert float(str(answer.pop("ms"))) < 5000
        assert answer == {"ok": True, "body": socket.gethostname(), "address": "127.0.0.1"}
    finally:
        server.kill()
        server.wait()


def ask(*requests: dict[str, object]) -> dict[object, dict[str, object]]:
    """The agent's answers by the requests' ids, as a pod's Python would give them."""
    done = subprocess.run(
        [sys.executable, "-c", AGENT.read_text()],
        input="".join(f"{json.dumps(request)}\n" for request in requests),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(requests)
    return {answer.pop("id"): answer for answer in answers}


def test_the_agent_answers_every_request() -> None:
    answers = ask(
        {"id": 1, "do": "tcp", "address": "127.0.0.1", "port": 1, "seconds": 1},
        {"id": 2, "do": "nonsense"},
        {"id": 3, "do": "resolve", "name": "localhost"},
    )
    assert answers[1]["ok"] is False
    assert str(answers[1]["error"]).startswith("ConnectionRefusedError")
    assert answers[2].pop("ms", None) is not None
    assert answers[2] == {"ok": False, "error": "KeyError: 'nonsense'"}
    assert answers[3]["addresses"] == ["127.0.0.1"]


def test_a_slow_request_keeps_no_other_waiting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", AGENT.read_text()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with process, process.stdin, process.stdout:
            slow = {"do": "http", "host": "127.0.0.1", "port": silent.getsockname()[1], "path": "/", "seconds": 2}
            for number, request in enumerate((slow, {"do": "resolve", "name": "localhost"})):
                process.stdin.write(f"{json.dumps({**request, 'id': number})}\n")
            process.stdin.flush()
            first, second = (json.loads(process.stdout.readline()) for _ in range(2))
    assert (first["id"], first["ok"]) == (1, True)
    assert (second["id"], second["ok"]) == (0, False)
