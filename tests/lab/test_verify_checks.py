"""The list of checks: every direction and placement is there, and no id twice."""

from __future__ import annotations

import json
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


def ask(*requests: dict[str, object]) -> list[dict[str, object]]:
    """The agent's answers, as a pod's Python would give them."""
    done = subprocess.run(
        [sys.executable, "-c", AGENT.read_text()],
        input="".join(f"{json.dumps(request)}\n" for request in requests),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_agent_answers_every_request_in_its_order() -> None:
    refused, unknown, name = ask(
        {"do": "tcp", "address": "127.0.0.1", "port": 1, "seconds": 1},
        {"do": "nonsense"},
        {"do": "resolve", "name": "localhost"},
    )
    assert refused["ok"] is False
    assert str(refused["error"]).startswith("ConnectionRefusedError")
    assert unknown == {"ok": False, "error": "KeyError: 'nonsense'"}
    assert name["addresses"] == ["127.0.0.1"]
