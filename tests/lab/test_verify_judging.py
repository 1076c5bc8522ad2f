"""Every judge of `lab verify`: what passes, and each way to fail with what is said of it."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

import pytest

from lab.verify import judging
from lab.verify.results import CheckResult, Verdict, exit_code, result
from lab.verify.throughput import Throughput

MN_PODS = IPv4Network("10.52.0.0/16")
ROUTER_ADDRESS = "100.77.1.2"


def test_ping_passes_with_every_reply() -> None:
    verdict = judging.judge_ping({"received": 3}, address="10.52.0.9", count=3, source="de")
    assert (verdict.status, verdict.observed) == ("pass", "3 of 3 replies from 10.52.0.9")


@pytest.mark.parametrize(
    ("answer", "observed"),
    [
        ({"received": 2, "text": ""}, "2 of 3 replies from 10.52.0.9"),
        (
            {"received": 0, "text": "ping: sendmsg\n3 errors, 100% loss"},
            "0 of 3 replies from 10.52.0.9: 3 errors, 100% loss",
        ),
        ({"ok": False, "error": "no session"}, "0 of 3 replies from 10.52.0.9: no session"),
    ],
)
def test_a_lost_reply_fails(answer: dict[str, Any], observed: str) -> None:
    verdict = judging.judge_ping(answer, address="10.52.0.9", count=3, source="de")
    assert (verdict.status, verdict.observed) == ("fail", observed)
    assert verdict.fix.startswith("kubectl --context de -n kube-system exec ds/cilium")
    assert "lab status" not in verdict.fix


def test_tcp() -> None:
    good = judging.judge_tcp({"ok": True, "ms": 1.26}, address="10.52.0.9", port=8080, source="de")
    assert (good.status, good.observed) == ("pass", "connected to 10.52.0.9:8080 in 1.3 ms")
    bad = judging.judge_tcp({"ok": False, "error": "timed out"}, address="10.52.0.9", port=8080, source="de")
    assert (bad.status, bad.observed) == ("fail", "10.52.0.9:8080: timed out")


def test_http_wants_the_very_pod() -> None:
    answer = {"ok": True, "status": 200, "body": "probe-router\n", "address": "10.52.0.9"}
    good = judging.judge_http(answer, host="h", pods=["probe-router"], source="de")
    assert (good.status, good.observed) == ("pass", "200 from pod probe-router at 10.52.0.9")
    bad = judging.judge_http(answer, host="h", pods=["probe-other"], source="de", fix="look at DNS")
    assert (bad.status, bad.expected, bad.fix) == ("fail", "200 from probe-other", "look at DNS")
    none = judging.judge_http({"ok": False, "error": "gaierror"}, host="name:8080", pods=["probe-other"], source="de")
    assert (none.status, none.observed) == ("fail", "http://name:8080: gaierror")


def test_a_service_over_udp_wants_the_very_pod() -> None:
    answer = {"ok": True, "body": "probe-other", "address": "10.53.0.9"}
    good = judging.judge_service(answer, host="10.53.0.9", kind="udp", pods=["probe-other"], source="de")
    assert (good.status, good.observed) == ("pass", "answer of probe-other at 10.53.0.9")
    bad = judging.judge_service(answer, host="10.53.0.9", kind="udp", pods=["mn-1"], source="de")
    assert (bad.status, bad.expected) == ("fail", "an answer of mn-1")
    none = judging.judge_service(
        {"ok": False, "error": "TimeoutError: timed out"}, host="10.53.0.9", kind="udp", pods=["mn-1"], source="de"
    )
    assert (none.status, none.observed) == ("fail", "10.53.0.9: TimeoutError: timed out")


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"ok": False, "error": "ConnectionRefusedError: [Errno 111] Connection refused", "ms": 3.2}, "pass"),
        ({"ok": False, "error": "ConnectionRefusedError: [Errno 111] Connection refused", "ms": 2400.0}, "fail"),
        ({"ok": False, "error": "TimeoutError: timed out", "ms": 900.0}, "fail"),
        ({"ok": False, "error": "no session"}, "fail"),
        ({"ok": True, "ms": 3.2}, "fail"),
    ],
)
def test_a_refusal_is_one_at_once(answer: dict[str, Any], status: str) -> None:
    verdict = judging.judge_refused(answer, host="10.53.0.9", why="it has no endpoints")
    assert verdict.status == status
    assert verdict.expected == "a refusal within 1500 ms (it has no endpoints)"


@pytest.mark.parametrize(
    ("bodies", "status", "observed"),
    [
        (["a", "a", "a"], "pass", "h: 3 by a"),
        (["a", "b", "a"], "fail", "h: 2 by a, 1 by b"),
        (["a", None, "a"], "fail", "h: 2 by a; 1 of 3 requests failed: timed out"),
        (["c", "c"], "fail", "h: 2 by c"),
        ([], "fail", "h: "),
    ],
)
def test_a_client_stays_with_its_pod(bodies: list[str | None], status: str, observed: str) -> None:
    answers = [{"ok": True, "body": body} if body else {"ok": False, "error": "timed out"} for body in bodies]
    verdict = judging.judge_sticky(answers, host="h", pods=["a", "b"])
    assert (verdict.status, verdict.observed) == (status, observed)


def test_resolution_wants_exactly_the_addresses() -> None:
    def judged(answer: dict[str, Any]) -> Verdict:
        return judging.judge_resolution(answer, name="n", addresses=["10.42.0.2", "10.42.1.2"], fix="f")

    assert judged({"ok": True, "addresses": ["10.42.1.2", "10.42.0.2"]}).status == "pass"
    assert judged({"ok": True, "addresses": ["10.42.1.2"]}).observed == "n is 10.42.1.2"
    assert judged({"ok": True, "addresses": ["10.42.1.2"]}).status == "fail"
    assert judged({"ok": False, "error": "gaierror"}).observed == "n: gaierror"


@pytest.mark.parametrize(
    ("fitting", "larger", "status", "observed"),
    [
        ({"received": 3}, {"received": 0}, "pass", "3 of 3 packets of 1230 bytes came back, 0 of 3 of 1231"),
        ({"received": 2}, {"received": 0}, "fail", "2 of 3 packets of 1230 bytes came back, 0 of 3 of 1231"),
        ({"received": 3}, {"received": 3}, "fail", "3 of 3 packets of 1230 bytes came back, 3 of 3 of 1231"),
        ({"received": 3}, {"received": 1}, "fail", "3 of 3 packets of 1230 bytes came back, 1 of 3 of 1231"),
    ],
)
def test_mtu_has_two_sides(fitting: dict[str, Any], larger: dict[str, Any], status: str, observed: str) -> None:
    verdict = judging.judge_mtu(fitting, larger, planned=1230, count=3)
    assert (verdict.status, verdict.observed) == (status, observed)
    assert verdict.expected == "all of 1230 bytes, none of 1231"


def test_a_probe_that_gives_no_answer_is_no_proof_that_large_packets_are_refused() -> None:
    assert judging.judge_mtu({"received": 3}, {"ok": False, "error": "ended"}, planned=1230, count=3).status == "fail"


def policy(*cidrs: str) -> dict[str, Any]:
    return {"spec": {"destinationCIDRs": list(cidrs)}}


def entry(cidr: str = "10.52.0.0/16", egress: str = ROUTER_ADDRESS, gateway: str = "10.0.1.31") -> dict[str, str]:
    return {"SourceIP": "10.42.0.5", "DestCIDR": cidr, "EgressIP": egress, "GatewayIP": gateway}


def egress(policies: list[dict[str, Any]], maps: dict[str, list[dict[str, str]]]) -> Verdict:
    return judging.judge_egress(policies, maps, peers=[MN_PODS], router_node="router", router_address=ROUTER_ADDRESS)


def test_egress_passes_when_policy_and_maps_lead_to_the_peers_pods() -> None:
    verdict = egress([policy("10.52.0.0/16")], {"router": [entry()], "other": [entry(egress="0.0.0.0")]})
    assert (verdict.status, verdict.observed) == ("pass", "10.52.0.0/16 on 2 nodes, nothing in 100.64.0.0/10")


@pytest.mark.parametrize(
    ("policies", "maps", "said"),
    [
        ([], {"router": []}, "policies lead to nothing; router has entries for nothing"),
        ([policy("10.52.0.0/16")], {}, "no agent told its data path"),
        (
            [policy("10.52.0.0/16"), policy("100.77.0.0/16")],
            {"router": [entry(), entry("100.77.0.0/16")]},
            (
                "policies lead to 10.52.0.0/16, 100.77.0.0/16; "
                "a policy for 100.77.0.0/16 covers NetBird's 100.64.0.0/10; "
                "router has entries for 10.52.0.0/16, 100.77.0.0/16; "
                "router leads 100.77.0.0/16, part of NetBird's 100.64.0.0/10, to the gateway"
            ),
        ),
        ([policy("10.52.0.0/16")], {"router": [entry(gateway="Not Found")]}, "router: the gateway is 'Not Found'"),
        (
            [policy("10.52.0.0/16")],
            {"router": [entry(egress="0.0.0.0")]},
            f"router sends from 0.0.0.0, wt0 has {ROUTER_ADDRESS}",
        ),
    ],
)
def test_egress_fails_with_every_fault(
    policies: list[dict[str, Any]], maps: dict[str, list[dict[str, str]]], said: str
) -> None:
    verdict = egress(policies, maps)
    assert (verdict.status, verdict.observed) == ("fail", said)


def test_throughput_compares_medians() -> None:
    good = judging.judge_throughput([1.8e9, 1.9e9, 0.1e9], [2.0e9, 2.0e9, 9.9e9])
    assert good.status == "pass"
    assert good.observed == "0.90: pod to pod 1.80 Gbit/s, bare tunnel 2.00 Gbit/s (medians of 3 and 3 runs)"
    bad = judging.judge_throughput([1.79e9], [2.0e9])
    assert (bad.status, bad.expected) == ("fail", "a ratio of at least 0.9")
    assert judging.judge_throughput([], []).observed == "nothing was measured"
    assert judging.judge_throughput([2e9], [2e9], errors=["bare tunnel: refused"]).status == "fail"


@pytest.mark.parametrize(
    ("pod", "tunnel", "errors", "may"),
    [
        ([1.7e9], [2.0e9], (), True),
        ([0.6e9], [2.0e9], (), True),
        ([0.59e9], [2.0e9], (), False),
        ([1.7e9], [2.0e9], ("bare tunnel: refused",), False),
        ([], [], (), False),
        ([1.7e9], [0.0], (), False),
    ],
)
def test_a_second_measurement_is_made_where_it_may_tell_more(
    pod: list[float], tunnel: list[float], errors: tuple[str, ...], may: bool
) -> None:
    assert judging.judge_throughput(pod, tunnel, errors=errors).status == "fail"
    assert judging.more_runs_may_pass(pod, tunnel, errors=errors) is may


def test_runs_are_joined() -> None:
    measured = Throughput(pod=(1.0,), tunnel=(2.0,), errors=("a",))
    assert measured.with_more(Throughput(pod=(3.0,), tunnel=(4.0,))) == Throughput(
        pod=(1.0, 3.0), tunnel=(2.0, 4.0), errors=("a",)
    )


def test_throughput_by_the_relay_only_has_to_be_there() -> None:
    slow = judging.judge_throughput([0.04e9], [0.05e9], relayed=True)
    assert (slow.status, slow.expected) == ("pass", "some throughput, by the relay")
    assert judging.judge_throughput([0.04e9], [0.05e9]).status == "fail"
    for pod, tunnel in (([0.0], [0.05e9]), ([0.04e9], [0.0]), ([], [])):
        assert judging.judge_throughput(pod, tunnel, relayed=True).status == "fail"
    assert judging.judge_throughput([1e9], [1e9], errors=["pod to pod: refused"], relayed=True).status == "fail"


def made(status: str) -> CheckResult:
    return result("id", "title", Verdict(status=status, observed="o", expected="e", fix="f"), 0.12345)  # type: ignore[arg-type]


def test_results_decide_the_exit_code() -> None:
    assert exit_code([made("pass")]) == 0
    assert exit_code([made("pass"), made("fail")]) == 1
    assert exit_code([made("pass"), made("skip")]) == 1
    assert exit_code([]) == 1


def test_a_result_as_json() -> None:
    assert made("fail").as_json() == {
        "id": "id",
        "title": "title",
        "status": "fail",
        "observed": "o",
        "expected": "e",
        "fix": "f",
        "seconds": 0.123,
        "cause": "",
    }
    assert made("pass").fix == ""
