"""The list of checks: every direction and placement is there, and no id twice."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

from lab.topology import DEFAULT
from lab.verify.checks import all_checks
from lab.verify.sessions import AGENT
from lab.verify.workload import manifests


def test_every_direction_and_placement_is_checked() -> None:
    ids = [check.id for check in all_checks(DEFAULT)]
    assert len(set(ids)) == len(ids)
    expected = {f"{site}.{kind}" for site in ("de", "mn") for kind in ("egress-policy", "own-zone")}
    for way in ("de-mn", "mn-de"):
        for source in ("router", "other"):
            expected.add(f"{way}.{source}.service-name")
            for target in ("router", "other"):
                expected |= {f"{way}.{source}-{target}.{kind}" for kind in ("icmp", "tcp", "http", "pod-name", "mtu")}
        expected.add(f"{way}.throughput")
    assert set(ids) == expected


def test_pods_are_pinned_and_have_names_of_their_own() -> None:
    namespace, service, *pods = manifests({"router": "de-worker-1", "other": "de-server-1"})
    assert namespace["metadata"]["name"] == service["metadata"]["namespace"] == "isthmus-verify"
    assert service["spec"]["clusterIP"] == "None"
    assert [
        (pod["spec"]["hostname"], pod["spec"]["subdomain"], pod["spec"]["nodeSelector"]["kubernetes.io/hostname"])
        for pod in pods
    ] == [("probe-router", "probe", "de-worker-1"), ("probe-other", "probe", "de-server-1")]


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
