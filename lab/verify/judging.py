"""From facts to verdicts. Pure: no cluster, no clock, no printing. Every number in a text comes from what
is compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network
from statistics import median
from typing import Any, Final

from domain.overlay import NETBIRD_RANGE
from lab.verify.results import Verdict

IP_ICMP_HEADERS: Final = 28
"""Bytes of an IPv4 and an ICMP header: what `ping -s` does not count."""

THROUGHPUT_RATIO: Final = 0.9
BEYOND_DOUBT_RATIO: Final = 0.3
"""Below it no second look is taken: what else a machine does hits runs that are made in turns alike."""

_LINK_FIX: Final = (
    "kubectl --context {source} -n kube-system exec ds/cilium -c cilium-agent -- cilium-dbg monitor --type drop (what "
    "is dropped, and why, while this check is made again)"
)


def judge_ping(answer: Mapping[str, Any], *, address: str, count: int, source: str) -> Verdict:
    """Every echo request has its reply."""
    received = int(answer.get("received", 0))
    return Verdict(
        status="pass" if received == count else "fail",
        observed=f"{received} of {count} replies from {address}{_why(answer) if received < count else ''}",
        expected=f"{count} of {count} replies",
        fix=_LINK_FIX.format(source=source),
    )


def judge_tcp(answer: Mapping[str, Any], *, address: str, port: int, source: str) -> Verdict:
    """The connection is accepted."""
    good = bool(answer.get("ok"))
    return Verdict(
        status="pass" if good else "fail",
        observed=f"connected to {address}:{port} in {answer['ms']:.1f} ms"
        if good
        else f"{address}:{port}{_why(answer)}",
        expected="a connection",
        fix=_LINK_FIX.format(source=source),
    )


def judge_http(answer: Mapping[str, Any], *, host: str, pods: Sequence[str], source: str, fix: str = "") -> Verdict:
    """The answer is 200 and comes from one of the expected pods, by the name that the pod itself says."""
    body = str(answer.get("body", "")).strip()
    good = bool(answer.get("ok")) and body in pods
    if answer.get("ok"):
        observed = f"{answer['status']} from pod {body or '(none)'} at {answer.get('address', '?')}"
    else:
        observed = f"http://{host}{_why(answer)}"
    return Verdict(
        status="pass" if good else "fail",
        observed=observed,
        expected=f"200 from {' or '.join(pods)}",
        fix=fix or _LINK_FIX.format(source=source),
    )


def judge_service(
    answer: Mapping[str, Any], *, host: str, kind: str, pods: Sequence[str], source: str, fix: str = ""
) -> Verdict:
    """A service answers, over UDP (``kind`` udp) or HTTP, by one of the expected pods."""
    if kind != "udp":
        return judge_http(answer, host=host, pods=pods, source=source, fix=fix)
    body = str(answer.get("body", "")).strip()
    good = bool(answer.get("ok")) and body in pods
    return Verdict(
        status="pass" if good else "fail",
        observed=f"answer of {body} at {answer.get('address', '?')}" if answer.get("ok") else f"{host}{_why(answer)}",
        expected=f"an answer of {' or '.join(pods)}",
        fix=fix or _LINK_FIX.format(source=source),
    )


REFUSED_MS: Final = 1500
"""A refusal has to be there by then: with the second SYN at the latest, which comes after one second."""


def judge_refused(answer: Mapping[str, Any], *, host: str, why: str) -> Verdict:
    """The connection is refused, at once. A wait until the client gives up is no refusal."""
    error = str(answer.get("error", ""))
    milliseconds = float(answer.get("ms", 0))
    refused = not answer.get("ok") and any(word in error for word in _REFUSALS)
    observed = f"{host} answered" if answer.get("ok") else f"{host}: {error} after {milliseconds:.0f} ms"
    return Verdict(
        status="pass" if refused and milliseconds <= REFUSED_MS else "fail",
        observed=observed,
        expected=f"a refusal within {REFUSED_MS} ms ({why})",
        fix="kubectl get services,endpointslices -n isthmus-verify -o wide ; pulumi stack output links",
    )


_REFUSALS: Final = ("Connection refused", "No route to host", "Network is unreachable", "Permission denied")


def judge_sticky(answers: Sequence[Mapping[str, Any]], *, host: str, pods: Sequence[str]) -> Verdict:
    """All requests of a client are answered, by one pod."""
    seen = [str(answer.get("body", "")).strip() if answer.get("ok") else "" for answer in answers]
    good = bool(seen) and set(seen) <= set(pods) and len(set(seen)) == 1
    failed = [answer for answer in answers if not answer.get("ok")]
    said = f"{len(failed)} of {len(answers)} requests failed{_why(failed[0])}" if failed else ""
    counted = ", ".join(f"{seen.count(pod)} by {pod}" for pod in sorted(set(seen) - {""}))
    return Verdict(
        status="pass" if good else "fail",
        observed=f"{host}: {'; '.join(filter(None, [counted, said]))}",
        expected=f"{len(answers)} answers by one of {' and '.join(pods)}",
        fix="kubectl get service sticky -n isthmus-verify -o yaml",
    )


def judge_resolution(answer: Mapping[str, Any], *, name: str, addresses: Sequence[str], fix: str) -> Verdict:
    """The name has exactly the expected addresses."""
    found = sorted(answer.get("addresses", []))
    return Verdict(
        status="pass" if answer.get("ok") and found == sorted(addresses) else "fail",
        observed=f"{name} is {', '.join(found)}" if answer.get("ok") else f"{name}{_why(answer)}",
        expected=", ".join(sorted(addresses)),
        fix=fix,
    )


def judge_mtu(fitting: Mapping[str, Any], larger: Mapping[str, Any], *, planned: int, count: int) -> Verdict:
    """Packets of exactly the planned size pass unfragmented, and those of one byte more do not."""
    passed, too_large = int(fitting.get("received", 0)), int(larger.get("received", 0))
    good = passed == count and too_large == 0 and "error" not in larger
    return Verdict(
        status="pass" if good else "fail",
        observed=(
            f"{passed} of {count} packets of {planned} bytes came back{_why(fitting) if passed < count else ''}, "
            f"{too_large} of {count} of {planned + 1}"
        ),
        expected=f"all of {planned} bytes, none of {planned + 1}",
        fix="Compare `cilium.mtu` and `netbird.mtu` of the stack files with `ip link show wt0` on the routers and "
        "`ip route` in a pod.",
    )


def judge_egress(
    policies: Sequence[Mapping[str, Any]],
    maps: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    peers: Sequence[IPv4Network],
    router_node: str,
    router_address: str,
) -> Verdict:
    """The policies lead exactly to the peers' pods, on every node, by the router's present NetBird address.

    ``policies`` are the CiliumEgressGatewayPolicy objects, ``maps`` what each node's agent has in its data path
    (`cilium-dbg bpf egress list -o json`). NetBird's own range must be in neither: replies would go round in a circle.
    """
    wanted = {str(network) for network in peers}
    declared = {str(cidr) for policy in policies for cidr in policy.get("spec", {}).get("destinationCIDRs", [])}
    faults = []
    if declared != wanted:
        faults.append(f"policies lead to {_list(declared)}")
    faults += [f"a policy for {cidr} covers NetBird's {NETBIRD_RANGE}" for cidr in sorted(declared) if _overlaps(cidr)]
    if not maps:
        faults.append("no agent told its data path")
    for node, entries in sorted(maps.items()):
        found = {str(entry.get("DestCIDR", "")) for entry in entries}
        if found != wanted:
            faults.append(f"{node} has entries for {_list(found)}")
        faults += [
            f"{node} leads {cidr}, part of NetBird's {NETBIRD_RANGE}, to the gateway"
            for cidr in sorted(found)
            if _overlaps(cidr)
        ]
        gateways = {str(entry.get("GatewayIP", "")) for entry in entries}
        faults += [f"{node}: the gateway is {text!r}" for text in sorted(gateways) if not _is_address(text)]
        if node == router_node:
            sources = {str(entry.get("EgressIP", "")) for entry in entries} - {router_address}
            faults += [f"{node} sends from {text}, wt0 has {router_address}" for text in sorted(sources)]
    return Verdict(
        status="fail" if faults else "pass",
        observed="; ".join(faults) or f"{_list(declared)} on {len(maps)} nodes, nothing in {NETBIRD_RANGE}",
        expected=f"{_list(wanted)} on every node, nothing in {NETBIRD_RANGE}",
        fix="kubectl get ciliumegressgatewaypolicies -o yaml (remove what the program did not make), then pulumi up "
        "--refresh",
    )


def judge_throughput(
    pod: Sequence[float], tunnel: Sequence[float], *, errors: Sequence[str] = (), relayed: bool = False
) -> Verdict:
    """The median of the pod-to-pod runs is at least :data:`THROUGHPUT_RATIO` of that of the bare tunnel's.

    Of a link by the relay it is only asked that it carries: there TCP runs within TCP, at less than a tenth of a
    direct link's rate, and the two directions gave ratios of 0.78 and 1.09 in one run of the lab.
    """
    least = 0.0 if relayed else THROUGHPUT_RATIO
    expected = "some throughput, by the relay" if relayed else f"a ratio of at least {THROUGHPUT_RATIO:g}"
    fix = (
        "Is the machine busy with something else? Then repeat it; else compare MTUs and look for drops "
        "(`cilium-dbg monitor -t drop`)."
    )
    if errors or not pod or not tunnel:
        return Verdict(status="fail", observed="; ".join(errors) or "nothing was measured", expected=expected, fix=fix)
    if not median(pod) or not median(tunnel):
        return Verdict(status="fail", observed="nothing came through", expected=expected, fix=fix)
    ratio = median(pod) / median(tunnel)
    return Verdict(
        status="pass" if ratio >= least else "fail",
        observed=(
            f"{ratio:.2f}: pod to pod {_gigabits(median(pod))}, bare tunnel {_gigabits(median(tunnel))} "
            f"(medians of {len(pod)} and {len(tunnel)} runs)"
        ),
        expected=expected,
        fix=fix,
    )


def more_runs_may_pass(pod: Sequence[float], tunnel: Sequence[float], *, errors: Sequence[str] = ()) -> bool:
    """Whether a throughput that failed may have been the machine's other work, and as many runs more may tell."""
    if errors or not pod or not tunnel or not median(tunnel):
        return False
    return median(pod) / median(tunnel) >= BEYOND_DOUBT_RATIO


def _gigabits(bits_per_second: float) -> str:
    return f"{bits_per_second / 1e9:.2f} Gbit/s"


def _why(answer: Mapping[str, Any]) -> str:
    """The reason in an answer, if it has one."""
    text = str(answer.get("error") or answer.get("text") or "").strip()
    last = text.splitlines()[-1] if text else ""
    return f": {last}" if last else ""


def _list(values: set[str]) -> str:
    return ", ".join(sorted(values)) or "nothing"


def _overlaps(cidr: str) -> bool:
    try:
        return IPv4Network(cidr).overlaps(NETBIRD_RANGE)
    except ValueError:
        return False


def _is_address(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 4 and all(part.isdigit() for part in parts)
